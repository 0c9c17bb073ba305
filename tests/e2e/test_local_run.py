"""The whole pipeline on tiny data, by the command that users give, through kfp's local runner.

In a few seconds the model learns almost nothing. The tests check that every stage runs, what the run leaves, and what
the next run finds. They share one first run, so xdist keeps them in one process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.support.events import read_events
from pipeline.local import cache as local_cache
from tests.e2e.tiny_run import CONFIG, REPOSITORY, Ran, link_environment, make_data, pipeline, stage_lines
from tests.loopback.webhook_server import WebhookServer
from trainer.profile.profile import read_profile
from trainer.registry.digest import model_digest

pytestmark = pytest.mark.xdist_group("local_run")

STAGES = [
    "check the data",
    "check for changes",
    "preprocess train",
    "compare the splits",
    "train",
    "export",
    "evaluate candidate",
    "find champion",
    "evaluate champion",
    "find best",
    "evaluate best",
    "gate",
]
METRICS = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]
METRICS += ["ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"]


def in_order(stages: list[str]) -> list[str]:
    """Champion and best are independent of each other: kfp may start either one first."""
    for name in ("champion", "best"):
        assert stages.index(f"find {name}") < stages.index(f"evaluate {name}")
    compared = sorted(stages[7:11], key=STAGES.index)
    return [*stages[:7], *compared, *stages[11:]]


def test_one_line_per_stage_then_the_table(first: Ran) -> None:
    output = first.process.stdout
    assert in_order(stage_lines(output)) == [*STAGES, "promote", "report", "remember the run"]
    for text in (
        "candidate",
        "min_ap",
        "min_delta",
        "skipped  No champion; rule skipped.",
        "decision  promoted: v0001",
        "report.html",
        "summary.json",
    ):
        assert text in output
    assert re.search(r"^  train: train step \d+: validation loss \S+, AP ", output, re.MULTILINE), "interim AP"


def test_what_a_run_leaves(first: Ran) -> None:
    summary: dict[str, Any] = json.loads((first.latest / "summary.json").read_text())
    assert set(METRICS) < set(summary)
    assert in_order(list(summary["seconds"])) == [*STAGES, "promote", "report", "remember the run", "total"]
    assert summary["decision"]["outcome"] == "promoted"
    assert summary["decision"]["new_version"] == "v0001"
    assert summary["champion"]["status"] == "none"
    assert len(summary["per_class"]) == 6
    assert {"kfp", "tensorflow", "apache-beam", "python"} < set(summary["versions"])
    assert yaml.safe_load(summary["config"]) == yaml.safe_load(CONFIG)
    assert summary["data"]["train"]["data_digest"] != summary["data"]["val"]["data_digest"] == summary["data_digest"]
    assert "<html" in (first.latest / "report.html").read_text()
    assert isinstance(json.loads((first.latest / "predictions.json").read_text()), list)
    assert {"findings", "images"} <= set(json.loads((first.latest / "label_errors.json").read_text()))
    assert summary["run"] == first.latest.resolve().name
    assert summary["created"]
    assert "serving.json: " in (first.latest / "logs" / "pipeline.log").read_text()
    assert (first.latest / "saved_model" / "saved_model.pb").is_file()
    assert (first.latest / "checkpoint" / "train.json").is_file()
    log = (first.latest / "logs" / "pipeline.log").read_text()
    assert "Executing task" in log
    assert "progress: " in log, "the log keeps the lines that became events"
    assert "\x1b" not in log
    events, _ = read_events(first.latest / "stages" / "events.jsonl")
    ended = [event.stage for event in events if event.kind == "end"]
    assert in_order(ended) == [*STAGES, "promote", "report", "remember the run"]
    assert (first.folder / "registry" / "aliases.json").is_file()
    version = first.folder / "registry" / "versions" / "v0001"
    profile = read_profile(str(version / "profile.npz"))
    assert profile.model_digest == model_digest(str(version))
    assert len(profile.rows) == summary["data"]["val"]["images"]
    assert profile.rows.features.shape[1] > 0
    completed = json.loads((first.folder / "registry" / "last_completed.json").read_text())
    assert completed["run"]["image"].endswith(local_cache.code_digest()), "other code counts as a change"


@pytest.mark.slow
def test_the_committed_yaml_runs_locally_finds_the_champion_and_holds(first: Ran) -> None:
    """Reuses what the first run's stages wrote: only evaluation, gate and report do their work again."""
    arguments = json.loads((first.latest / "run.json").read_text())["arguments"]
    work_dir = first.folder / "again"
    shutil.copytree(arguments["work_dir"], work_dir)
    config = CONFIG.replace("min_ap: 0.0", "min_ap: 0.99")
    arguments = {**arguments, "config": config, "work_dir": str(work_dir), "run_id": "second", "runtime": ""}
    program = (
        "import json, sys\n"
        "sys.executable = 'python3'\n"  # kfp pastes it into shell text, where a space in its path breaks the command
        "from kfp import components, local\n"
        "local.init(local.SubprocessRunner(use_venv=False), pipeline_root='kfp')\n"
        "run = components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[2]))\n"
        "print('outcome:', run.outputs['Output'])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, str(REPOSITORY / "pipeline.yaml"), json.dumps(arguments)],
        cwd=first.folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert "outcome: held: min_ap" in process.stdout
    assert "'promote'" not in process.stdout, "only one branch runs"
    assert process.stdout.count("reused") >= 3, "records, training and export"
    summary = json.loads((work_dir / "report" / "summary.json").read_text())
    assert summary["decision"]["outcome"] == "held"
    assert summary["champion"]["status"] == "scored"
    assert summary["champion"]["version"] == "v0001"
    assert summary["champion"]["data_digest"] == summary["data_digest"]
    assert json.loads((first.folder / "registry" / "aliases.json").read_text())["champion"] == "v0001"


def test_a_run_on_the_same_ends_after_the_data_check(first: Ran) -> None:
    flags = ["run", "--coco-dir", "coco", "--config", "tiny.yaml", "--only-if-changed", "--notify", "me@example.org"]
    # Its own registry as the first run left it, and its own runs: the other tests look at the first run's.
    first.share_valid_configurations(first.folder / "other-runs")
    process = pipeline(first.folder, *flags, "--registry", "registry-of-first", "--runs-dir", "other-runs")
    assert process.returncode == 0, process.stdout + process.stderr
    assert stage_lines(process.stdout) == ["check the data", "check for changes", "nothing new"]
    assert "nothing new: data, configuration and image" in process.stdout
    assert "notify    me@example.org: nothing new" in process.stdout


@pytest.mark.slow
def test_a_second_run_on_the_same_takes_the_results_of_the_first(first: Ran) -> None:
    """Records, weights, model and evaluation are reused; data, champion and decision are not."""
    made = first.latest
    flags = ["run", "--coco-dir", "coco", "--config", "tiny.yaml", "--registry", "registry-again"]
    process = pipeline(first.folder, *flags)
    assert process.returncode == 0, process.stdout + process.stderr
    lines = {line[:20].strip(): line for line in process.stdout.splitlines() if re.search(r" \d+\.\d s\b", line)}
    stages = {"preprocess train": "preprocess-train", "train": "train"}
    stages |= {"export": "export", "evaluate candidate": "evaluate-candidate"}
    for stage in in_order(stage_lines(process.stdout)):
        where = f"reused from {(made / 'stages').relative_to(first.folder)}/{stages.get(stage)}"
        assert lines[stage].endswith(where) is (stage in stages), lines[stage]
    assert "decision  promoted: v0001" in process.stdout
    assert first.latest != made
    assert (first.latest / "saved_model").resolve() == made / "stages" / "export"
    assert (first.latest / "predictions.json").read_bytes() == (made / "predictions.json").read_bytes()
    process = pipeline(first.folder, *flags, "--no-cache")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "reused" not in process.stdout
    assert (first.latest / "saved_model").resolve() == first.latest / "stages" / "export"


@pytest.mark.slow
def test_a_second_run_rescores_the_champion(first: Ran) -> None:
    process = pipeline(first.folder, "run", "--coco-dir", "coco", "--config", "tiny.yaml", "--seed", "1")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "v0001" in next(line for line in process.stdout.splitlines() if line.startswith("champion"))
    summary = json.loads((first.latest / "summary.json").read_text())
    assert summary["champion"]["status"] == "scored"
    assert summary["decision"]["champion_version"] == "v0001"


@pytest.mark.slow
def test_a_run_that_asks_for_approval(first: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends well, the alert and the report say what it waits for, and a person's command promotes."""
    server = WebhookServer()
    monkeypatch.setenv("MY_WEBHOOK", server.address)
    at = ["--registry", "registry-approval"]
    flags = ["run", "--coco-dir", "coco", "--config", "tiny.yaml", "--set", "gate.approval=required", *at]
    process = pipeline(first.folder, *flags, "--webhook-secret", "MY_WEBHOOK")
    server.stop()
    assert process.returncode == 0, process.stdout + process.stderr
    assert in_order(stage_lines(process.stdout)) == [*STAGES, "promote", "report", "remember the run"]
    assert "decision  pending approval: v0001 (no champion yet)" in process.stdout
    assert "approve   centernet approve v0001 --registry registry-approval" in process.stdout
    assert [posted["outcome"] for posted in server.posted] == ["pending approval"]
    assert "Pending approval: v0001 passed" in (first.latest / "report.html").read_text()
    summary = json.loads((first.latest / "summary.json").read_text())
    assert (summary["decision"]["outcome"], summary["decision"]["new_version"]) == ("pending approval", "v0001")
    assert list((first.folder / "registry-approval" / "versions").iterdir())
    listed = pipeline(first.folder, "approve", "--list", *at)
    assert listed.stdout.rstrip().endswith(str(first.latest / "stages" / "report" / "report.html"))
    assert pipeline(first.folder, "approve", "v0001", *at).returncode == 0
    aliases = json.loads((first.folder / "registry-approval" / "aliases.json").read_text())
    assert aliases == {"best": "v0001", "champion": "v0001"}


@pytest.mark.slow
def test_a_held_run_is_judged_again_without_training(tmp_path: Path) -> None:
    make_data(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CONFIG.replace("min_ap: 0.0", "min_ap: 0.99"))
    process = pipeline(tmp_path, "run", "--coco-dir", "coco", "--config", "tiny.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "decision  held: min_ap" in process.stdout
    run = (tmp_path / "runs" / "latest").resolve()
    trained = {path: path.stat().st_mtime_ns for path in (run / "stages" / "train").rglob("*") if path.is_file()}
    process = pipeline(tmp_path, "run", "--resume", "runs/latest", "--set", "gate.min_ap=0.0")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "decision  promoted: v0001" in process.stdout
    for stage in ("preprocess train", "train", "export", "evaluate candidate"):
        (line,) = (line for line in process.stdout.splitlines() if line.startswith(f"{stage:<20}"))
        assert "reused" in line, line
    assert trained == {path: path.stat().st_mtime_ns for path in trained}, "nothing was trained"
    assert "min_ap: 0.0" in (run / "config.yaml").read_text()
    assert json.loads((run / "summary.json").read_text())["decision"]["outcome"] == "promoted"
    # It has promoted: a further judgement could only contradict that.
    process = pipeline(tmp_path, "run", "--resume", "runs/latest", "--set", "gate.min_ap=0.99")
    assert process.returncode == 2
    assert "the run has promoted v0001" in process.stderr


@pytest.mark.slow
def test_any_folder_and_any_path_of_the_interpreter(tmp_path: Path) -> None:
    """kfp pastes the interpreter's path into shell text, and replaces "python3" in every argument."""
    folder = tmp_path / "naïve café" / "a b" / "python3"
    make_data(folder)
    link_environment(folder / "an env")
    # Training refuses this configuration: the stages before it are enough.
    (folder / "tiny.yaml").write_text(CONFIG + "runtime: {num_gpus: 64}\n")
    flags = ["run", "--coco-dir", "coco", "--config", "tiny.yaml"]
    process = pipeline(folder, *flags, python=folder / "an env" / "bin" / "python")
    assert process.returncode == 2, process.stdout + process.stderr
    assert "failed: train\nerror: runtime.num_gpus: 64" in process.stderr
    assert "preprocess train" in stage_lines(process.stdout)
