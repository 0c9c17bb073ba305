"""Schedules by display name, on any service.

No service can change what a schedule runs, so a changed pipeline needs a new schedule. The old one is paused before the
new one is created and deleted after it. So two are never active at once, and the old one remains if creating the new
one fails. A process that is killed in between leaves the old one paused: rerun the same command, which then creates a
paused schedule and prints how to resume it.
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
    """One schedule of any service."""

    schedule_id: str
    name: str
    state: str
    """ACTIVE, PAUSED, or another of the service's states."""
    cron: str
    """In the service's dialect of cron."""
    next_run: str
    max_concurrent_runs: int
    started_runs: int | None
    """None where the service doesn't count them."""
    content: str
    """Start of the digest of what it runs; "" if another tool created it."""
    pipeline: str
    """Name of the pipeline that it runs; "" if unknown."""
    details: dict[str, Any]
    """All that the service returns, for `schedule show`."""


class Schedules(ABC):
    """The schedules of one project and region, or of one endpoint."""

    where: str
    """The region or address, for messages."""

    @abstractmethod
    def list(self, name: str = "") -> "list[ScheduleView]":
        """All schedules of pipelines, or those with one display name."""

    @abstractmethod
    def dialect(self, cron: Cron) -> str:
        """A cron expression in this service's dialect."""

    @abstractmethod
    def update(self, name: str, *, cron: Cron | None = None, max_concurrent_runs: int | None = None) -> ScheduleView:
        """Changes when it starts runs, not what it runs."""

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
        """Ensures that the schedule of this name exists and runs exactly this.

        Returns:
          The action ("created", "unchanged", "updated", "replaced"), and the schedule.

        Raises:
          InputError: another tool created a schedule of this name, or the service rejects it.
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
        """The schedule with a display name, or with an id where two have the same name.

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
            raise InputError(
                f"--name {name}: {len(found)} schedules have this name ({ids}); give the id of one instead"
            )
        return found[0]

    def pause(self, name: str) -> ScheduleView:
        """Starts no more runs; current ones continue."""
        view = self.existing(name)
        if view.state == "ACTIVE":
            self._switch(view, on=False)
        return self.existing(name)

    def resume(self, name: str) -> ScheduleView:
        """Starts runs again; missed ones are not started later."""
        view = self.existing(name)
        if view.state == "PAUSED":
            self._switch(view, on=True)
        return self.existing(name)

    def delete(self, name: str) -> ScheduleView:
        """Deletes it; runs that it started continue."""
        view = self.existing(name)
        self._delete(view)
        return view

    def _replace(self, existing: ScheduleView, create: Callable[[bool], ScheduleView]) -> ScheduleView:
        """Replaces a schedule by a new one, which is paused if the old one was.

        Args:
          existing: the old one.
          create: creates the new one; its argument says whether it is active.
        """
        active = existing.state == "ACTIVE"
        if active:
            self._switch(existing, on=False)
        try:
            created = create(active)
        except BaseException:  # Ctrl-C too: a change that failed must not leave the old schedule paused
            if active:
                self._switch(existing, on=True)
            raise
        self._delete(existing)
        return created

    def _only_one(self, name: str, content: str, when: tuple[str, int]) -> ScheduleView | None:
        """The schedule with a display name; deletes duplicates.

        An interrupted replacement, or two commands at the same time, can leave duplicates. The one that is kept is,
        in this order of preference, one with this content, one with this cron expression, and an active one.

        Raises:
          InputError: another tool created one of them, and its owner may want to keep it.
        """
        found = self.list(name)
        for view in found:
            if not view.content:
                raise InputError(
                    f"--name {name}: schedule {view.schedule_id} at {self.where} has this name and was not made by "
                    "this command, which would delete it; give another name"
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
