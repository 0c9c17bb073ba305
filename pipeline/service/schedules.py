"""Schedules with one display name each, whatever service keeps them.

No service can change what a schedule runs. So a changed pipeline is a new schedule; the old one is paused before the
new one is made and deleted after it, so that no moment has two of them at work, and none is lost when making the new
one fails. A process that is killed between the two leaves the old one paused: the same command then makes a paused one,
and says how to resume it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.service.cron import Cron
from pipeline.service.submission import ActsAs, Submission, content_of


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
    """Start of the digest of what it runs; "" when something else made it."""
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
          InputError: a schedule that this command didn't make has the name, or the service rejects it.
          CloudError: a call failed.
        """
        content = content_of(submission, runs_as)
        existing = self._only_one(name, content, (self.dialect(cron), max_concurrent_runs))
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

    def existing(self, name: str) -> ScheduleView:
        """The schedule of a display name, or of an id where two have one name.

        Raises:
          InputError: there is none, or several.
        """
        every = self.list()
        found = [view for view in every if view.name == name] or [view for view in every if view.schedule_id == name]
        if not found:
            known = ", ".join(sorted(view.name for view in every)) or "none"
            raise InputError(f"--name {name}: no such schedule at {self.where}; there are: {known}")
        if len(found) > 1:
            ids = ", ".join(view.schedule_id for view in found)
            raise InputError(f"--name {name}: {len(found)} schedules have it ({ids}); give the id of one instead")
        return found[0]

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
        except BaseException:  # Ctrl-C too: no schedule may stand still because of a change that wasn't made
            if active:
                self._switch(existing, on=True)
            raise
        self._delete(existing)
        return created

    def _only_one(self, name: str, content: str, when: tuple[str, int]) -> ScheduleView | None:
        """The schedule of a display name. Further ones, which an interrupted replacement or two commands at one moment
        left, are deleted: the one that stays runs this if one does, by this clock if one does, and is at work.

        Raises:
          InputError: one of them was made by something else, whose owner may want to keep it.
        """
        found = self.list(name)
        for view in found:
            if not view.content:
                raise InputError(
                    f"--name {name}: schedule {view.schedule_id} at {self.where} has it and was not made by this "
                    "command, which would delete it; give another name"
                )

        def fits(view: ScheduleView) -> tuple[bool, bool, bool]:
            clock = (view.cron, view.max_concurrent_runs)
            return view.content == content, clock == when, view.state == "ACTIVE"

        if not found:
            return None
        first, *others = sorted(found, key=fits, reverse=True)
        for view in others:
            self._delete(view)
        return first
