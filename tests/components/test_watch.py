"""The stage `watch` without a look at an image: no champion, one that can't be used, nothing new."""

import os
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from beam_preprocess.base.errors import Failure
from components.support.run_options import read_options
from components.watch import watch
from tests.components.examples import saved_model
from trainer.promotion.due import read_watched
from trainer.registry.local import LocalRegistry


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    registry = LocalRegistry(str(tmp_path / "registry"))
    registry.publish(saved_model(tmp_path / "model"), {}, key="run-1")
    old = tmp_path / "new" / "1.jpg"
    old.parent.mkdir()
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    return {
        "images": str(tmp_path / "new"),
        "since": "1d",
        "val_images": "",
        "val_annotations": "",
        "registry": str(registry.root),
        "version": "v0001",
        "status": "ready",
        "reason": "",
        "work_dir": str(tmp_path / "work"),
        "preprocess_on": "step",
        "dataflow": "{}",
        "beam_args": "",
        "run_id": "7",
        "strict": False,
        "watched": dsl.Artifact(uri=str(tmp_path / "7" / "watch" / "watched")),
        "page": dsl.Artifact(uri=str(tmp_path / "7" / "watch" / "page")),
    }


@pytest.mark.parametrize(
    ("changes", "verdict", "sentence"),
    [
        ({"version": "", "status": "none", "reason": "no champion yet"}, "no champion", "no champion yet"),
        ({}, "too-few-images", "none of the 1 images"),
    ],
)
def test_nothing_to_see(
    changes: dict[str, str], verdict: str, sentence: str, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    place = given["watched"].uri
    assert watch(**{**given, **changes}) == verdict
    assert given["watched"].uri == f"{given['work_dir']}/watch/watched.json"
    found = read_watched(given["watched"].uri)
    assert (found.verdict, sentence in found.said) == (verdict, True)
    assert found.page == given["page"].uri
    assert sentence in Path(found.page).read_text()
    assert f"result: {found.said}" in capsys.readouterr().out
    assert read_options(place).work_dir == given["work_dir"], "this stage comes before the data check"


def test_a_champion_that_cannot_be_used(given: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="champion v0001: can't watch: it is gone"):
        watch(**{**given, "status": "failed", "reason": "it is gone"})
