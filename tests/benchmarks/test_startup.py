"""How the benchmark of start-up starts and reads runs. What it runs here only writes a run's events and log."""

import sys
from pathlib import Path

import pytest

from benchmarks import startup

FAKE = """
import json, os, pathlib, sys, time

flags = dict(zip(sys.argv[3::2], sys.argv[4::2]))
name = pathlib.Path(flags["--registry"]).name
(pathlib.Path(__file__).parent / "calls").open("a").write(name + chr(10))
folder = pathlib.Path(flags["--runs-dir"]) / name
(folder / "stages").mkdir(parents=True)
(folder / "logs").mkdir()
(folder.parent / "latest").unlink(missing_ok=True)
(folder.parent / "latest").symlink_to(name)
log = (folder / "logs" / "pipeline.log").open("w")
if (pathlib.Path(__file__).parent / "fails").exists():
    raise SystemExit("no memory")

def event(kind, stage):
    line = json.dumps({"kind": kind, "stage": stage, "time": time.time()})
    (folder / "stages" / "events.jsonl").open("a").write(line + chr(10))
    print("    " + kind + ": " + stage, file=log, flush=True)

def imports(seconds):
    if "PYTHONPROFILEIMPORTTIME" in os.environ:
        print("    import time: %9d |   9999999 | a.module" % (seconds * 1e6), file=log)

time.sleep(0.2)
event("start", "check the data")
if name == "registry-new":
    time.sleep(60)
event("end", "check the data")
imports(1000)
time.sleep(0.1)
event("start", "train")
imports(1000)
time.sleep(0.3)
event("end", "train")
raise SystemExit(3)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(startup, "RUN", (sys.executable, str(tmp_path / "fake.py"), "run"))
    return tmp_path


def test_the_table_divides_each_stage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert startup.main(["--coco-dir", str(place / "cards")]) == 0
    assert (place / "calls").read_text().split() == ["registry-new", "registry-plain", "registry-timed"]
    printed = capsys.readouterr().out
    cells = {line.split(" | ")[0].strip("| "): line.strip(" |").split(" | ")[1:] for line in printed.splitlines()}
    assert float(cells["check the data"][2]) > 0, "a driver that imports nothing"
    _, own, graph = map(float, cells["train"])
    assert own == graph == 0, "Python's clock saw only imports"
    assert printed.splitlines()[-1].startswith("up to the first stage's own work, with a configuration that")


def test_a_run_that_fails_is_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "fails").touch()
    assert startup.main(["--coco-dir", str(place / "cards")]) == 1
    assert "no memory" in capsys.readouterr().err
