"""The list of published weights: what it says, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from trainer.init_weights import main
from trainer.weights import catalogue
from trainer.weights.coco_classes import channels_of

LITE = {"backbone": {"type": "efficientnet", "efficientnet": {"model_id": "b0"}}}


def entry(name: str) -> catalogue.Entry:
    found = catalogue.find(name)
    assert found is not None
    return found


def test_every_entry_says_what_a_user_must_know() -> None:
    names = [entry.name for entry in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    for item in map(catalogue.as_dict, catalogue.CATALOGUE):
        assert all(item[key] for key in ("name", "backbone", "trained_on", "licence", "source", "available", "files"))
        assert item["name"] in catalogue.listing() and item["source"] in catalogue.listing()
        assert all(len(file["sha256"]) == 64 or file["sha256"] == "not pinned" for file in item["files"])
        if item["config"]:
            assert (Path("trainer/configs") / f"{item['config']}.yaml").is_file()


def test_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "od-api:hg104" in capsys.readouterr().out
    assert main(["--list", "--json"]) == 0
    assert {item["coco_ap"] for item in json.loads(capsys.readouterr().out)} == {None, 41.9}


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ("", "from scratch"),
        ("runs/latest", "runs/latest"),
        ("gs://bucket/ckpt-1", "gs://bucket/ckpt-1"),
        ("od-api:hg104", "od-api:hg104 (COCO train2017 at 512 px; Object Detection API, 20200711/"),
    ],
)
def test_a_start_is_described(value: str, described: str) -> None:
    assert catalogue.describe(value).startswith(described)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("efficientnet-lite", "did you mean efficientnet-lite0?"),
        ("hg104", "did you mean od-api:hg104?"),
        ("zzz", "use one of efficientnet-lite0, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(value: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"task.init_checkpoint: {value}: no such weights") as caught:
        catalogue.find(value)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "model", "wrong"),
    [
        ("efficientnet-lite0", LITE, ""),
        (
            "efficientnet-lite0",
            {},
            "and task.model.backbone.type is hourglass; give "
            "--config custom-cpu, or set task.model.backbone.type: efficientnet",
        ),
        (
            "efficientnet-lite0",
            {"backbone": {"type": "efficientnet", "efficientnet": {"model_id": "b1"}}},
            "task.model.backbone.efficientnet.model_id is b1; give "
            "--config custom-cpu, or set task.model.backbone.efficientnet.model_id: b0",
        ),
        ("od-api:hg104", {}, "num_hourglasses is 1; give --config coco-centernet-hourglass-published, or set"),
        ("od-api:hg104", {"backbone": {"hourglass": {"num_hourglasses": 2}}}, ""),
    ],
)
def test_another_backbone_is_refused(name: str, model: dict[str, Any], wrong: str) -> None:
    if not wrong:
        catalogue.check_fits(entry(name), model)
        return
    with pytest.raises(InputError) as caught:
        catalogue.check_fits(entry(name), model)
    assert wrong in str(caught.value)


def test_coco_s_classes_have_their_channels() -> None:
    assert channels_of(["person", "toothbrush", "traffic light"]) == [0, 89, 9]
    assert channels_of(["person", "ace of spades"]) is None
    assert channels_of([]) is None
