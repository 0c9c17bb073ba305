"""The manifest's text form, and what reading it refuses."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import DIGEST, Category, Manifest, Shard, content_digest

MANIFEST = Manifest(
    schema_version=1,
    split="train",
    data_digest="d",
    records_digest="r",
    images=2,
    views=1,
    objects=3,
    crowds=0,
    num_classes=1,
    categories=(Category(index=0, id=7, name="seven"),),
    shards=(Shard(name="a", shard=0, view=0, records=2, bytes=9, sha256="s"),),
    max_cells=5,
    max_objects=2,
    rejects={"not_finite": 1},
    class_histogram={"seven": 3},
    size_histogram={"small": 3},
    parameters=json.loads(json.dumps({**dataclasses.asdict(PreprocessConfig()), "seed": 0, "num_shards": 1})),
)
VALUES: dict[str, Any] = json.loads(MANIFEST.to_json())
del VALUES[DIGEST]


def signed(values: dict[str, Any]) -> str:
    """The text of a manifest with these values and the digest of exactly these, as a program would write it."""
    return json.dumps({**values, DIGEST: content_digest(values)})


def test_a_manifest_equals_itself_after_reading() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), "here") == MANIFEST


def test_older_manifests_lack_parameters_that_decoding_does_not_need() -> None:
    parameters = {"image_size": [64, 64], "stride": 4, "heatmap_cutoff": 1e-3, "gaussian_iou": 0.7}
    text = signed({**VALUES, "parameters": parameters})
    assert Manifest.from_json(text, "here").parameters == parameters


def with_value(values: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of the values with another one at this path."""
    content: dict[str, Any] = copy.deepcopy(values)
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


def changed(*path: Any, value: Any) -> str:
    """The text of a manifest that was written with another value at this path."""
    return signed(with_value(VALUES, path, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "is a list, not an object"),
        ("{}", "schema_version is None, this code reads 1; run the preprocessing again"),
        (changed("schema_version", value=0), "schema_version is 0, this code reads 1; run the preprocessing again"),
        (changed("schema_version", value="1"), "schema_version is '1'"),
        (changed("schema_version", value=True), "schema_version is True"),
        (changed("extra", value=1), "unknown key 'extra'"),
        (signed({key: value for key, value in VALUES.items() if key != "views"}), "lacks views"),
        (json.dumps(VALUES), "lacks manifest_digest; run the preprocessing again"),
        (json.dumps({**VALUES, DIGEST: None}), "changed after it was written; run the preprocessing again"),
        (changed("images", value="2"), "images: is '2', a text; a whole number is needed"),
        (changed("rejects", "not_finite", value=1.5), "rejects.not_finite: is 1.5"),
        (changed("categories", 0, value=3), "categories\\[0\\]: is a whole number, not an object"),
        (changed("shards", 0, "shard", value=None), "shards\\[0\\]: shard: is None, null"),
        (changed("shards", 0, "name", value="../a"), "'../a' is not the name of a shard file"),
        (changed("parameters", value={}), "parameters: lacks image_size, stride, heatmap_cutoff, gaussian_iou"),
        (changed("parameters", "image_size", value=[64]), "parameters: image_size: \\[64\\] has 1 entries"),
        (changed("parameters", "stride", value=0), "parameters: preprocess.image_size: .* is not a multiple"),
        (changed("parameters", "gaussian_iou", value=2), "parameters: preprocess.gaussian_iou: 2.0 is out of range"),
        (changed("parameters", "seed", value="x"), "parameters: seed: is 'x', a text"),
        (changed("parameters", "sead", value=1), "parameters: unknown key 'sead'"),
    ],
)
def test_what_is_not_a_manifest_is_an_input_error_of_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Manifest.from_json(text, "folder/manifest.json")
    assert str(error.value).startswith("folder/manifest.json: ")
    assert "\n" not in str(error.value)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values within a JSON value, containers included."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from paths(entry, (*path, key))


def read(text: str) -> Manifest | None:
    """The manifest, or None after an error of one line."""
    try:
        return Manifest.from_json(text, "manifest.json")
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError("more than one line") from error
        return None


def types(value: Any) -> Any:
    """The types within a dataclass, list or mapping; parameters that are whole numbers may stand for floats."""
    if dataclasses.is_dataclass(value):
        return {field.name: types(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return type(value), {json.dumps(types(entry), default=str) for entry in value}
    return type(value)


FLOATS = {field.name for field in dataclasses.fields(PreprocessConfig) if field.type is float}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(list(paths(VALUES))), JSON)
def test_any_mutation_is_an_input_error_or_has_the_types_of_a_manifest(path: tuple[Any, ...], value: Any) -> None:
    found = read(changed(*path, value=value))
    if found is None:
        return
    for field in dataclasses.fields(Manifest):
        name = field.name
        if name in ("rejects", "class_histogram", "size_histogram"):
            assert {type(entry) for entry in getattr(found, name).values()} <= {int}
        elif name == "parameters":
            for key, entry in found.parameters.items():
                assert type(entry) is type(MANIFEST.parameters[key]) or (key in FLOATS and type(entry) is int), key
        elif getattr(found, name):
            assert types(getattr(found, name)) == types(getattr(MANIFEST, name)), name
    assert {type(entry) for entry in found.parameters["image_size"]} == {int}


@given(st.sampled_from(list(paths(VALUES))))
def test_a_manifest_that_lacks_a_value_is_an_input_error_or_still_decodes(path: tuple[Any, ...]) -> None:
    content = copy.deepcopy(VALUES)
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    found = read(signed(content))
    if found is None:
        return
    # Only entries of lists and histograms, and parameters that decoding does not need, may be missing.
    assert path[0] in ("categories", "shards", "rejects", "class_histogram", "size_histogram", "parameters")
    assert found.parameters["image_size"] and found.parameters["stride"]


WRITTEN: dict[str, Any] = json.loads(MANIFEST.to_json())


@given(st.sampled_from(list(paths(WRITTEN))), JSON)
def test_no_edit_of_one_value_goes_unnoticed(path: tuple[Any, ...], value: Any) -> None:
    edited = json.dumps(with_value(WRITTEN, path, value))
    same = json.dumps(json.loads(edited), sort_keys=True) == json.dumps(WRITTEN, sort_keys=True)
    assert (read(edited) is not None) == same


def test_no_value_can_be_removed() -> None:
    for path in paths(WRITTEN):
        content: Any = json.loads(MANIFEST.to_json())
        place = content
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        assert read(json.dumps(content)) is None, path


def test_another_layout_is_the_same_manifest() -> None:
    assert Manifest.from_json(json.dumps(dict(sorted(WRITTEN.items()))), "here") == MANIFEST


@given(st.integers(0, len(MANIFEST.to_json()) - 1), st.characters())
def test_any_changed_character_is_an_input_error_or_reads_the_same(position: int, character: str) -> None:
    text = MANIFEST.to_json()
    assert read(text[:position] + character + text[position + 1 :]) in (None, MANIFEST)
