"""smoke.json: what counts as the recorded answer; written next to a published model, read strictly."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import evaluation as evaluation_of
from tests.trainer.made_smoke import smoke
from trainer.coco.agreement import Detections
from trainer.promotion.smoke import Smoke, compare, read_smoke, write_smoke
from trainer.registry.digest import SMOKE_FILE, model_digest

Change = Callable[[Detections], Any]


def shifted(name: str, by: float) -> Change:
    return lambda found: found.update({name: found[name] + by})


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        (lambda found: None, True),
        (shifted("scores", 0.009), True),
        (shifted("scores", 0.02), False),
        (shifted("boxes", 6.0), True),  # 1.9 pixels of the input, which is 64 / 200 of the image
        (shifted("boxes", 6.5), False),
        (shifted("boxes", 40.0), False),
        (shifted("categories", 1), False),
        (shifted("scores", float("nan")), False),
        (lambda found: found.update({name: found[name][:1] for name in found}), False),
        (lambda found: found.update({name: found[name][:2] for name in found}), True),  # the third is not compared
        (lambda found: found.update({name: found[name][:0] for name in found}), False),
    ],
)
def test_what_counts_as_the_recorded_answer(change: Change, agrees: bool) -> None:
    recorded = smoke()
    answers = [image.detections() for image in recorded.images]
    change(answers[1])
    found = compare(recorded, answers)
    assert (not found.failures) == agrees, found
    if not agrees:
        assert "in 1.jpg" in found.failures[0]


def test_nothing_to_compare_is_not_agreement() -> None:
    empty = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "categories": np.zeros(0, int)}
    image = replace(smoke().images[0], boxes=(), scores=(), categories=())
    assert compare(smoke(images=(image,)), [empty]).failures == ("nothing was compared: neither side has a detection",)


def evaluated(folder: Path, content: Smoke) -> str:
    """An evaluation.json next to its smoke.json; returns its path."""
    folder.mkdir(exist_ok=True)
    text = content.to_json()
    (folder / "smoke.json").write_text(text)
    files = {"smoke.json": hashlib.sha256(text.encode()).hexdigest()}
    (folder / "evaluation.json").write_text(replace(evaluation_of(), files=files).to_json())
    return str(folder / "evaluation.json")


def test_written_and_read_outside_the_digest(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    before = model_digest(str(model))
    line = write_smoke(f"{model}/", evaluated(tmp_path / "e", smoke()))
    assert line == "smoke.json: 3 images, to test a deployment with"
    assert read_smoke(str(model), "m" * 64) == smoke()
    assert model_digest(str(model)) == before
    with pytest.raises(InputError, match="recorded with another model"):
        read_smoke(str(model), "n" * 64)


@pytest.mark.parametrize("problem", ["changed", "absent", "no evaluation"])
def test_what_is_not_written(tmp_path: Path, problem: str) -> None:
    uri = evaluated(tmp_path / "e", smoke())
    if problem == "changed":
        (tmp_path / "e" / "smoke.json").write_text("{}")
    if problem == "absent":
        (tmp_path / "e" / "evaluation.json").write_text(evaluation_of().to_json())
    line = write_smoke(str(tmp_path), "" if problem == "no evaluation" else uri)
    assert line.startswith("smoke.json: not written (")
    assert line.endswith("a deployment of this version can't be tested")
    assert not (tmp_path / SMOKE_FILE).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "images: is empty"),
        ({"schema_version": 9}, "schema_version"),
        ({"max_box_delta": float("nan")}, "out of range"),
        ({"images": [{**json.loads(smoke().to_json())["images"][0], "image_bytes": "%"}]}, "0.jpg: not an image"),
        ({"images": [{**json.loads(smoke().to_json())["images"][0], "scores": []}]}, "differ in number"),
    ],
)
def test_a_damaged_file(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / SMOKE_FILE).write_text(json.dumps(json.loads(smoke().to_json()) | change))
    with pytest.raises(InputError, match=message):
        read_smoke(str(tmp_path), "")


def test_a_model_without_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file, so a deployment can't be tested; evaluate the model again"):
        read_smoke(str(tmp_path), "")
