"""Which runs pruning removes: never one that something else still needs."""

import json
import os
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.local.prune import PRUNED, plan, remove, sweep

OLD = 1_000_000.0


def make_run(runs: Path, name: str, *, when: float, done: bool = True, uses: str = "", registry: str = "") -> Path:
    """A run's folder; `uses` is the run whose model it reused."""
    folder = runs / name
    for part in ("stages/export-model", "logs"):
        (folder / part).mkdir(parents=True)
    (folder / "stages/export-model/saved_model.pb").write_bytes(b"x" * 1000)
    (folder / "config.yaml").write_text("")
    (folder / "run.json").write_text(json.dumps({"arguments": {"registry": registry or str(runs / "registry")}}))
    (folder / "logs/pipeline.log").write_text("noise\n")
    model = runs / (uses or name) / "stages/export-model"
    if done:
        (folder / "summary.json").write_text(json.dumps({"paths": {"model": str(model)}}))
        (folder / "saved_model").symlink_to(os.path.relpath(model, folder))
    for path in (folder / "run.json", folder / "logs/pipeline.log", folder):
        os.utime(path, (when, when))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Five finished runs, a to e; latest is e."""
    for i, name in enumerate("abcde"):
        make_run(tmp_path, name, when=OLD + i)
    (tmp_path / "latest").symlink_to("e")
    (tmp_path / "notes").mkdir()
    return tmp_path


def stays(runs: Path, keep: int) -> dict[str, str]:
    return {entry.path.name: entry.kept for entry in plan(runs, keep=keep)}


def test_the_newest_stay(runs: Path) -> None:
    assert stays(runs, 2) == {"a": "", "b": "", "c": "", "d": "newest 2", "e": "latest"}
    assert all(entry.size > 1000 for entry in plan(runs, keep=2))
    assert all(stays(runs, 9).values())


def test_the_latest_stays_though_it_is_old(runs: Path) -> None:
    (runs / "latest").unlink()
    (runs / "latest").symlink_to("b")  # resumed
    assert [name for name, kept in stays(runs, 1).items() if kept] == ["b", "e"]


def test_a_run_whose_results_a_kept_run_uses_stays_and_so_on(runs: Path) -> None:
    make_run(runs, "f", when=OLD + 9, uses="b")
    (runs / "b" / "checkpoint").symlink_to("../a/stages")
    assert stays(runs, 1) == {
        "a": "b uses its results",
        "b": "f uses its results",
        "c": "",
        "d": "",
        "e": "latest",
        "f": "newest 1",
    }


def test_what_an_unfinished_run_reused_stays(runs: Path) -> None:
    folder = make_run(runs, "f", when=OLD + 9, done=False)
    (folder / "logs/pipeline.log").write_text("reused: preprocess train from runs/c/stages/preprocess-train\n")
    assert stays(runs, 1)["c"] == "f uses its results"


def test_a_damaged_summary_keeps_what_it_names(runs: Path) -> None:
    (runs / "e/summary.json").write_text(f'{{"paths": "{runs}/a/stages" ')
    assert stays(runs, 1)["a"] == "e uses its results"


def test_a_run_that_may_be_running_stays(runs: Path) -> None:
    folder = make_run(runs, "f", when=OLD - 1, done=False)
    assert stays(runs, 1)["f"] == ""
    os.utime(folder / "logs/pipeline.log")
    assert stays(runs, 1)["f"] == "may still be running"


def test_a_link_in_a_registry_keeps_a_run(runs: Path) -> None:
    versions = runs / "registry" / "versions" / "v0001"
    versions.mkdir(parents=True)
    (versions / "variables").symlink_to(runs / "c/stages/export-model")
    assert stays(runs, 1)["c"].startswith("link ")


def test_removal(runs: Path) -> None:
    remove(runs / "a")
    assert not (runs / "a").exists()
    (runs / "b").rename(runs / f"{PRUNED}b")  # a removal that was killed
    assert "b" not in stays(runs, 1)
    assert sweep(runs) == 1
    assert sorted(path.name for path in runs.iterdir()) == ["c", "d", "e", "latest", "notes"]


@pytest.mark.parametrize(("keep", "name", "message"), [(0, ".", "--keep 0"), (1, "none", "no such folder")])
def test_bad_input(tmp_path: Path, keep: int, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(tmp_path / name, keep=keep)
