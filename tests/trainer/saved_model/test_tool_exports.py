"""Data sets as annotation tools export them, through check, evaluate and gate: the same objects, or refused by all.

tests/cases/test_reading.py has the same table through `centernet check` alone.
"""

from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import check_data
from beam_preprocess.format.config import PreprocessConfig
from tests.cases.exports import valid_export
from tests.cases.test_reading import BAD, GOOD, Change
from trainer.config.gate_config import GateConfig
from trainer.promotion.judge import judge
from trainer.saved_model import accuracy
from trainer.saved_model.inference import load_model

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

ONLY_CHECKED = {"a PNG cut in its last chunk"}
"""TensorFlow reads more than preprocessing does."""


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    """Once for all."""
    return load_model(str(exported))


@pytest.fixture
def evaluated(exported: Path, loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Scores images and annotations; returns the evaluation and its file."""
    monkeypatch.setattr(accuracy, "load_model", lambda _: loaded)

    def run(images: str, annotations: str, digest: str = "") -> tuple[Any, str]:
        model, output = str(exported), str(tmp_path / "evaluation")
        data = {"images": images, "annotations": annotations, "data_digest": digest}
        return accuracy.evaluate(model=model, output=output, latency_calls=0, **data), f"{output}/evaluation.json"

    return run


@pytest.mark.parametrize("name", GOOD)
def test_what_check_accepts_is_scored_and_judged(name: str, evaluated: Any, tmp_path: Path) -> None:
    export = valid_export()
    GOOD[name][0](export)
    places = {
        f"{split}_{what}": path
        for split, part in (("train", export.train), ("val", export.val))
        for what, path in zip(("images", "annotations"), part.write(tmp_path / split), strict=True)
    }
    checked = check_data(**places, config=PreprocessConfig(image_size=(64, 64), train_views=1))["val"]
    scored, file = evaluated(places["val_images"], places["val_annotations"], checked["data_digest"])
    assert (scored.objects, scored.images_scored) == (checked["objects"], checked["images"]) == (6, 3)
    rules = {rule.name: rule for rule in judge(file, None, GateConfig(), expected_objects=checked["objects"]).rules}
    for rule in ("complete", "objects", "evidence"):
        assert rules[rule].status == "pass", rules[rule]


@pytest.mark.parametrize("name", [name for name in BAD if name not in ONLY_CHECKED])
def test_what_check_refuses_is_not_scored(name: str, evaluated: Any, tmp_path: Path) -> None:
    change: Change = BAD[name][0]
    export = valid_export()
    change(export)
    broken = export.train if export.train.raw is not None else export.val
    with pytest.raises(InputError) as error:
        evaluated(*broken.write(tmp_path / "data"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "evaluation" / "evaluation.json").exists()
