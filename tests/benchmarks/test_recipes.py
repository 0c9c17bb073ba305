"""How the benchmark of recipes keeps, reads and shows runs. What it runs here only writes a run's folder."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import recipes

FAKE = """
import argparse, json, pathlib, time

made = argparse.ArgumentParser()
for name in ("config", "seed", "runs-dir", "registry", "coco-dir", "demo-data-dir"):
    made.add_argument(f"--{name}")
made.add_argument("--set", action="append", default=[])
made.add_argument("--no-cache", action="store_true")
flags = made.parse_args()
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as file:
    file.write(json.dumps(vars(flags)) + chr(10))
if (here / "fails").exists() and flags.seed == "2":
    raise SystemExit("no memory")
while time.process_time() < 0.2:
    pass
folder = pathlib.Path(flags.runs_dir)
(folder / "20261126-050000").mkdir(parents=True)
(folder / "latest").symlink_to("20261126-050000")
ap = {"0": 0.5, "1": 0.75, "2": 0.625}[flags.seed] - 0.1 * len(flags.set)
summary = {"ap": ap, "ap50": 0.9, "ap75": 0.7, "seconds": {"train": 1.0, "total": 2.0}, "more": "unused"}
(folder / "latest" / "summary.json").write_text(json.dumps(summary))
raise SystemExit(3 if flags.seed == "1" else 0)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(recipes, "RUN", (sys.executable, str(tmp_path / "fake.py")))
    return tmp_path


def call(place: Path, *arguments: str) -> int:
    flags = ["--coco-dir", str(place / "cards"), "--state", str(place / "state.json"), "--only", "custom-cpu"]
    return recipes.main([*flags, *arguments])


def calls(place: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (place / "calls").read_text().splitlines()]


def test_an_interrupted_benchmark_resumes_and_prints_medians(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "fails").touch()
    assert call(place) == 1
    error = capsys.readouterr().err
    assert "custom-cpu, seed 2: exit code 1; see " in error
    log = next((place / "state.runs").glob("*/log"))  # only the failed run's folder is left
    assert log.read_text() == "no memory\n"
    assert [run["seed"] for run in calls(place)] == ["0", "1", "2"]

    (place / "fails").unlink()
    assert call(place) == 0
    assert [run["seed"] for run in calls(place)] == ["0", "1", "2", "2"], "what is finished isn't measured again"
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "| recipe | data | seeds | AP | AP50 | AP75 | CPU s | wall s |"
    name, data, seeds, ap, ap50, *_ = (cell.strip() for cell in table[2].strip("|").split("|"))
    assert (name, data, seeds) == ("custom-cpu", "cards", "3")
    assert (ap, ap50) == ("0.625 (0.500 to 0.750)", "0.900 (0.900 to 0.900)")
    assert "cores, 20" in table[4] and "load average" in table[4]
    assert len(table) == 5
    assert list((place / "state.runs").iterdir()) == []


def test_a_row_has_what_the_run_wrote_and_used(place: Path) -> None:
    assert call(place, "--seeds", "1", "--keep") == 0, "held by the gate: measured all the same"
    (row,) = json.loads((place / "state.json").read_text()).values()
    assert (row["recipe"], row["data"], row["seed"]) == ("custom-cpu", "cards", 1)
    assert (row["ap"], row["ap50"], row["ap75"], row["seconds"]["total"]) == (0.75, 0.9, 0.7, 2.0)
    assert row["cpu"] >= 0.2, "of the run's process"
    assert row["wall"] >= 0.2
    assert len(row["load"]) == 2
    (run,) = calls(place)
    assert (run["config"], run["seed"], run["no_cache"]) == ("custom-cpu", "1", True)
    assert run["coco_dir"] == str(place / "cards")
    assert Path(run["registry"]).is_relative_to(place / "state.runs"), "no champion of another run"
    assert (place / "state.runs").glob("*/runs/latest/summary.json")


def test_a_change_is_a_row_of_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(place, "--seeds", "0") == 0
    assert call(place, "--seeds", "0", "--set", "task.losses.detection.scale_weight=0.4") == 0
    assert [run["set"] for run in calls(place)] == [[], ["task.losses.detection.scale_weight=0.4"]]
    capsys.readouterr()
    assert call(place, "--seeds", "0", "--list") == 0
    assert "| custom-cpu | cards | 1 | 0.500 |" in capsys.readouterr().out
    assert recipes.main(["--list", "--state", str(place / "other.json")]) == 0
    listed = capsys.readouterr().out
    assert "| custom-cpu, from scratch | generated data | 0 | not measured |" in listed
    assert len(calls(place)) == 2


def test_every_change_is_one_of_its_configuration() -> None:
    keys = [recipes.key_of(recipe, "cards", 0) for recipe in (*recipes.SHIPPED, *recipes.ABLATIONS)]
    assert len(set(keys)) == len(keys)


def test_an_unknown_recipe(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipes.main(["--only", "custom-cup"]) == 2
    assert "--only custom-cup: not a recipe; use 'custom-cpu', 'custom-small', 'demo'" in capsys.readouterr().err
