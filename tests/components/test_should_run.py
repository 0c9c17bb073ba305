"""Changes since the last completed run: `should_run`, `remember` and `unchanged`."""

from pathlib import Path
from typing import Any

import pytest

from components.remember import remember
from components.should_run import should_run
from components.unchanged import unchanged

RUN: dict[str, Any] = {
    "train_digest": "t",
    "val_digest": "v",
    **{f"{stage}_config": "{}" for stage in ("preprocess", "train", "export", "gate")},
    "seed": 0,
    "image": "i",
    "pipeline_root": "gs://none",
}


@pytest.mark.parametrize(
    ("asked", "changes", "runs", "words"),
    [
        (True, {}, False, "nothing changed since the last completed run"),
        (True, {"val_digest": "other"}, True, "changed, running"),
        (True, {"seed": 1}, True, "changed, running"),
        (True, {"image": "other"}, True, "changed, running"),
        (True, {"train_config": "runtime: {num_gpus: 1}"}, True, "changed, running"),
        (True, {"gate_config": "gate: {min_ap: 0.4}"}, True, "changed, running"),
        (False, {}, True, "not asked for, running"),
    ],
)
def test_a_run_after_a_completed_one(
    asked: bool, changes: dict[str, Any], runs: bool, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = {**RUN, "registry": str(tmp_path)}
    assert should_run(only_if_changed=True, **run), "no run is complete"
    assert remember(outcome="held: min_ap", report="", job="", **run) == "held: min_ap"
    capsys.readouterr()
    assert should_run(only_if_changed=asked, **{**run, **changes}) is runs
    assert capsys.readouterr().out == f"result: {words}\n"


def test_an_unchanged_run_reports_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert unchanged("gs://none", job="").startswith("unchanged: ")
    assert capsys.readouterr().out == "result: nothing changed, no model was trained\n"
