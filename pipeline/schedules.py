"""Schedules with one display name each, whatever service keeps them.

No service can change what a schedule runs. So a changed pipeline is a new schedule; the old one is paused before the
new one is made and deleted after it, so that no moment has two of them at work, and none is lost when making the new
one fails.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beam_preprocess.errors import InputError
from pipeline.cron import Cron
from pipeline.submission import ActsAs, Submission


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView:
    """One schedule as a person sees it."""

    schedule_id: str
    name: str
    state: str
    """ACTIVE, PAUSED, or another word of the service's."""
    cron: str
    """In the service's dialect."""
    next_run: str
    max_concurrent_runs: int
    started_runs: int | None
    """None where the service doesn't count them."""
    content: str
    """Start of the digest of what it runs."""
    details: dict[str, Any]
    """All of it, for `show`."""


class Schedules(ABC):
    """The schedules of one place."""

    where: str
    """The place, for messages."""

    @abstractmethod
    def list(self, name: str = "") -> "list[ScheduleView]":
        """All schedules of pipelines, or those of one display name."""

    @abstractmethod
    def dialect(self, cron: Cron) -> str:
        """A cron expression as this service writes it."""

    @abstractmethod
    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
        """Changes when it fires; what it runs stays."""

    @abstractmethod
    def _create(
        self, name: str, cron: Cron, submission: Submission, runs_as: Any, max_concurrent_runs: int, *, active: bool
    ) -> ScheduleView: ...

    @abstractmethod
    def _switch(self, view: ScheduleView, *, on: bool) -> None: ...

    @abstractmethod
    def _delete(self, view: ScheduleView) -> None: ...

    def ensure(
        self, name: str, cron: Cron, submission: Submission, runs_as: ActsAs, *, max_concurrent_runs: int
    ) -> tuple[str, ScheduleView]:
        """Makes the schedule of this name run exactly this.

        Returns:
          What was done ("created", "unchanged", "updated", "replaced"), and the schedule.

        Raises:
          InputError: several schedules have the name, or the service rejects it.
          CloudError: a call failed.
        """
        content = content_of(submission, runs_as)
        self._finish_replacement(name, content, cron, max_concurrent_runs)
        existing = self.find(name)
        if existing is None:
            return "created", self._create(name, cron, submission, runs_as, max_concurrent_runs, active=True)
        if existing.content == content:
            if (existing.cron, existing.max_concurrent_runs) == (self.dialect(cron), max_concurrent_runs):
                return "unchanged", existing
            return "updated", self.update(name, cron=cron, max_concurrent_runs=max_concurrent_runs)
        return "replaced", self._replace(
            existing,
            lambda active: self._create(name, cron, submission, runs_as, max_concurrent_runs, active=active),
        )

    def find(self, name: str) -> ScheduleView | None:
        """The schedule of a display name, or None.

        Raises:
          InputError: several have it.
        """
        found = self.list(name)
        if len(found) > 1:
            ids = ", ".join(view.schedule_id for view in found)
            raise InputError(
                f"--name {name}: {len(found)} schedules have it ({ids}); delete all but one in the console"
            )
        return found[0] if found else None

    def existing(self, name: str) -> ScheduleView:
        """The schedule of a display name.

        Raises:
          InputError: there is none, or several.
        """
        view = self.find(name)
        if view is None:
            known = ", ".join(sorted(view.name for view in self.list())) or "none"
            raise InputError(f"--name {name}: no such schedule at {self.where}; there are: {known}")
        return view

    def pause(self, name: str) -> ScheduleView:
        """No new runs; those at work go on."""
        view = self.existing(name)
        if view.state == "ACTIVE":
            self._switch(view, on=False)
        return self.existing(name)

    def resume(self, name: str) -> ScheduleView:
        """New runs again; what was missed meanwhile is not made up for."""
        view = self.existing(name)
        if view.state == "PAUSED":
            self._switch(view, on=True)
        return self.existing(name)

    def delete(self, name: str) -> ScheduleView:
        """Ends it; runs that it started go on."""
        view = self.existing(name)
        self._delete(view)
        return view

    def _replace(self, existing: ScheduleView, create: Callable[[bool], ScheduleView]) -> ScheduleView:
        """A new schedule for an old one. One that somebody paused stays paused: a change is no reason to start again.

        Args:
          existing: the old one.
          create: makes the new one, given whether it is to be active.
        """
        active = existing.state == "ACTIVE"
        if active:
            self._switch(existing, on=False)
        try:
            created = create(active)
        except Exception:
            if active:
                self._switch(existing, on=True)
            raise
        self._delete(existing)
        return created

    def _finish_replacement(self, name: str, content: str, cron: Cron, max_concurrent_runs: int) -> None:
        """Deletes what a replacement left that was interrupted after the new schedule was made, if it can be told from
        the new one: by what it runs, or by when."""
        found = self.list(name)
        if len(found) < 2:
            return
        runs_this = [view for view in found if view.content == content]
        when = (self.dialect(cron), max_concurrent_runs)
        exactly = [view for view in runs_this if (view.cron, view.max_concurrent_runs) == when]
        for wanted in (exactly, runs_this):
            if len(wanted) == 1:
                for view in found:
                    if view != wanted[0]:
                        self._delete(view)
                return


def content_of(submission: Submission, runs_as: ActsAs) -> str:
    """What tells a schedule that runs this from one that runs something else."""
    return submission.digest(**runs_as.context())[:16]
