"""The manifest's text form."""

import dataclasses
import json

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Category, Manifest, Shard

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
    parameters={"image_size": [64, 64]},
)


def test_a_manifest_comes_back() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), "here") == MANIFEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "schema_version None"),
        (dataclasses.replace(MANIFEST, schema_version=0).to_json(), "schema_version 0"),
        (json.dumps({**json.loads(MANIFEST.to_json()), "extra": 1}), "extra"),
        (json.dumps({k: v for k, v in json.loads(MANIFEST.to_json()).items() if k != "views"}), "views"),
    ],
)
def test_what_is_no_manifest_is_an_input_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Manifest.from_json(text, "folder/manifest.json")
    assert "folder/manifest.json" in str(error.value)
