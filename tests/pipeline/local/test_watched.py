"""A local watch: what it prints at its end, and that there is one at a time."""

from pathlib import Path

import pytest

from beam_preprocess.base.errors import Failure
from pipeline.local import run_folder, watched
from pipeline.local.run_folder import RunFolder
from trainer.promotion.due import Due, Watched, write_due

LABEL = "but no new labels since the last completed run: label to_label.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    made = run_folder.create(tmp_path / "runs", {"config": "gate: {}", "seed": 0}, pipeline="watch")
    for name in ("watch", "training-due"):
        (made.stages / name).mkdir()
    (made.stages / "watch" / "watch.html").write_text("<html>")
    said = Watched(verdict="drifted", said="drifted: darker, p 0.0001", page="p", to_label="elsewhere/to_label.json")
    write_due(Due(train=False, why=LABEL, watched=said), str(made.stages / "training-due" / "due.json"))
    return made


@pytest.mark.parametrize(
    ("why", "outcome", "last"),
    [
        (LABEL, "", f"training  none: {LABEL.removeprefix('but ')}"),
        ("new labels", "held: min_ap", "training  new labels -> held: min_ap"),
    ],
)
def test_the_last_lines_are_verdict_place_and_what_follows(
    why: str, outcome: str, last: str, folder: RunFolder
) -> None:
    due = watched.finish(folder)
    assert (folder.path / "watch.html").read_text() == "<html>"
    found = watched.lines(folder, Due(train=bool(outcome), why=why, watched=due.watched), outcome).splitlines()
    assert found == [
        "watch     drifted: darker, p 0.0001",
        f"page      runs/{folder.path.name}/watch.html",
        "label     elsewhere/to_label.json",
        last,
    ]


def test_one_watch_at_a_time(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    with watched.alone(registry), pytest.raises(Failure, match="another watch is at work"), watched.alone(registry):
        pass
    with watched.alone(registry):
        pass
