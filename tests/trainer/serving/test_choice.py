import json
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_report import analysis
from trainer.promotion.serving import recommend
from trainer.registry.local import LocalRegistry
from trainer.saved_model.layout import LABEL_MAP, SAVED_MODEL
from trainer.serving.choice import choose

LABELS = {
    "categories": [{"index": 0, "id": 1, "name": "cat"}, {"index": 1, "id": 9, "name": "dog"}],
    "score_threshold": 0.3,
}


def write_model(folder: Path, label_map: object = LABELS) -> Path:
    """What a command looks at in an exported model's folder."""
    (folder / LABEL_MAP).parent.mkdir(parents=True)
    (folder / LABEL_MAP).write_text(json.dumps(label_map))
    (folder / SAVED_MODEL).write_bytes(b"graph")
    return folder


def registry_of(tmp_path: Path, *, champion: bool) -> str:
    store = LocalRegistry(str(tmp_path / "registry"))
    for key in ("first", "second"):
        store.publish(str(write_model(tmp_path / key)), {}, key=key)
    if champion:
        store.swap_alias("champion", "v0002", None)
    return str(store.root)


def test_a_folder_with_the_exports_threshold_and_with_those_of_serving_json(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    found = choose(f"{folder}/", "nowhere")
    assert (found.model, found.version, found.threshold_source) == (str(folder), "", "the export")
    assert [(c.category_id, c.name, c.score_threshold) for c in found.classes] == [(1, "cat", 0.3), (9, "dog", 0.3)]
    serving = recommend(analysis())
    assert serving is not None
    (folder / "serving.json").write_text(serving.to_json())
    found = choose(str(folder), "nowhere")
    assert found.threshold_source == "serving.json"
    assert [c.score_threshold for c in found.classes] == [0.42, 0.42], "a class that it lacks takes the one of all"


@pytest.mark.parametrize(("name", "version"), [("champion", "v0002"), ("v0001", "v0001")])
def test_an_alias_and_a_version_of_the_registry(tmp_path: Path, name: str, version: str) -> None:
    found = choose(name, registry_of(tmp_path, champion=True))
    assert (found.version, Path(found.model).name) == (version, version)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("champion", r"--model champion: .*registry has no champion yet; promote a model, or give --model DIR"),
        ("v0007", r"--model v0007: .*v0007.*; `centernet registry list` shows the versions"),
        ("no/such/folder", r"--model no/such/folder: not a SavedModel with assets/label_map.json; export one"),
    ],
)
def test_no_such_model(tmp_path: Path, model: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        choose(model, registry_of(tmp_path, champion=False))
    assert "\n" not in str(caught.value)


def test_no_registry(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder, so no champion; promote a model with `centernet run`"):
        choose("champion", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists(), "nothing changed"


def test_a_saved_model_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / SAVED_MODEL).write_bytes(b"graph")
    with pytest.raises(InputError, match=r"not a SavedModel with assets/label_map\.json"):
        choose(str(tmp_path), "registry")


@pytest.mark.parametrize(
    "label_map", [{}, [], {**LABELS, "categories": []}, {**LABELS, "categories": [{"id": 1}]}, {"categories": [1]}]
)
def test_a_label_map_of_somebody_else(tmp_path: Path, label_map: object) -> None:
    write_model(tmp_path / "model", label_map)
    with pytest.raises(InputError, match=r"label_map\.json: .*export the model again"):
        choose(str(tmp_path / "model"), "registry")
