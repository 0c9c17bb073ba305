"""Outcome and exit code of a run, and its table."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.service.run_view import FAILED, HELD, PROMOTED, RunView, TaskView, run_table
from tests.loopback.invocations import spec_of

pytestmark = pytest.mark.usefixtures("one_compilation_per_target")


def view(state: str, *tasks: TaskView, error: str = "") -> RunView:
    return RunView(run_id="run-1", state=state, created="2026-11-24", link="https://x/run-1", tasks=tasks, error=error)


def test_each_end_of_the_graph_has_an_outcome() -> None:
    """By the task's name, and by its display name, which is all that a Kubeflow endpoint returns."""
    spec = spec_of("vertex-gpu")
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    names = {name: task["taskInfo"]["name"] for dag in dags for name, task in dag["tasks"].items()}
    for name, code in (("promote", PROMOTED), ("hold", HELD), ("unchanged", PROMOTED), ("promote-2", HELD)):
        for shown in (name, names[name]):
            if shown == "promote-2":
                continue  # both services return its display name
            task = TaskView(task=shown, name=shown, state="SUCCEEDED")
            assert view("SUCCEEDED", task).outcome()[0] == code, shown


@pytest.mark.parametrize(
    ("found", "code", "sentence"),
    [
        (view("SUCCEEDED", TaskView(task="hold", name="hold", state="SUCCEEDED", output="held: x")), HELD, "held: x"),
        (
            view("SUCCEEDED", TaskView(task="promote", name="promote", state="SKIPPED")),
            FAILED,
            "succeeded, but",
        ),
        (
            view("SUCCEEDED", TaskView(task="promote-2", name="request approval", state="SUCCEEDED")),
            HELD,
            "pending approval; the report says why, centernet approve --list shows the version",
        ),
        (view("FAILED", TaskView(task="t", name="train", state="FAILED", error="oom")), FAILED, "failed in train: oom"),
        (view("CANCELLED"), FAILED, "cancelled"),
        (view("FAILED", error="no quota"), FAILED, "failed: no quota"),
    ],
)
def test_outcomes(found: RunView, code: int, sentence: str) -> None:
    got, text = found.outcome()
    assert got == code
    assert text.startswith(sentence)


def test_tasks_by_either_name() -> None:
    run = view("RUNNING", TaskView(task="data-check", name="check the data", state="RUNNING"))
    assert run.chosen("data-check") == run.chosen("check the data") == run.chosen("") == run.tasks
    with pytest.raises(InputError, match="--task tarin: run-1 has no such task; it has check the data"):
        run.chosen("tarin")


def test_the_table_shows_errors_and_the_outcome() -> None:
    task = TaskView(task="train", name="train", state="FAILED", seconds=61.4, error="out of memory")
    lines = run_table(view("FAILED", task)).splitlines()
    assert lines[1].split() == ["train", "FAILED", "61", "s"]
    assert lines[2].strip() == "out of memory"
    assert lines[3] == "outcome   failed in train: out of memory"
