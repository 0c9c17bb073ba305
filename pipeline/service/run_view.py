"""A pipeline run on any service: its state, its tasks, its outcome and exit code."""

from dataclasses import dataclass, field

from beam_preprocess.base.errors import InputError

PIPELINE = "centernet-training"
"""Name of the pipeline, by which services find its runs. The graph, which has it too, needs kfp."""
PROMOTED, FAILED, HELD = 0, 1, 3
_UNCHANGED = "nothing new: the run ended after the data check without training a model"
_OUTCOMES = (
    ("request approval", HELD, "pending approval; the report says why, centernet approve --list shows the version"),
    ("promote", PROMOTED, "promoted; the report says why"),
    ("hold", HELD, "held; the report says why"),
    ("unchanged", PROMOTED, _UNCHANGED),
    ("nothing new", PROMOTED, _UNCHANGED),  # the display name, where the service returns no other
)
RUNNING_STATES = frozenset({"QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED", "UNSPECIFIED"})


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskView:
    """One task of a run."""

    task: str
    """Name in the compiled pipeline."""
    name: str
    """Display name in the graph."""
    state: str
    seconds: float | None = None
    error: str = ""
    output: str = ""
    """The task's unnamed text output, where the service returns it."""
    jobs: tuple[str, ...] = ()
    """Resource names of the jobs that ran it, to find their logs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """One run."""

    run_id: str
    state: str
    """SUCCEEDED, FAILED, CANCELLED, or one of RUNNING_STATES."""
    created: str
    link: str
    error: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    name: str = ""
    """Display name; "" where it is the id."""
    tasks: tuple[TaskView, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state not in RUNNING_STATES

    def chosen(self, task: str) -> tuple[TaskView, ...]:
        """The tasks with that name or display name; all for "".

        Raises:
          InputError: there is no such task.
        """
        found = tuple(one for one in self.tasks if task in ("", one.name, one.task))
        if task and not found:
            known = ", ".join(one.name for one in self.tasks) or "none yet"
            raise InputError(f"--task {task}: {self.run_id} has no such task; it has {known}")
        return found

    def outcome(self) -> tuple[int, str]:
        """Exit code and sentence of a finished run: promoted or nothing to do (0), held or pending approval (3), failed
        (1)."""
        if self.state != "SUCCEEDED":
            failed = next((task for task in self.tasks if task.state == "FAILED"), None)
            why = f" in {failed.name}: {failed.error or self.error}" if failed else f": {self.error}"
            return FAILED, f"{self.state.lower()}{why}".rstrip(": ")
        # These tasks are never cached, so only one that ran counts. SKIPPED is Vertex AI's word for a cache hit and
        # Kubeflow's for a branch that was not taken.
        succeeded = {name: task for task in self.tasks if task.state == "SUCCEEDED" for name in (task.task, task.name)}
        for name, code, sentence in _OUTCOMES:
            if name in succeeded:
                return code, succeeded[name].output or sentence
        return FAILED, "succeeded, but neither promoted nor held a model; is this a run of this pipeline?"


def run_table(view: RunView) -> str:
    """The run and its tasks, one per line, each with its error below it."""
    lines = [f"{view.run_id}  {view.state}  created {view.created}"]
    width = max((len(task.name) for task in view.tasks), default=0)
    for task in view.tasks:
        seconds = f"{task.seconds:9.0f} s" if task.seconds is not None else ""
        lines.append(f"  {task.name:<{width}}  {task.state:<14}{seconds}".rstrip())
        if task.error:
            lines.append(f"      {task.error}")
    if view.error:
        lines.append(f"error     {view.error}")
    if view.finished:
        lines.append(f"outcome   {view.outcome()[1]}")
    lines.append(f"link      {view.link}")
    return "\n".join(lines)
