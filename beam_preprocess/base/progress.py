"""Progress lines: "progress: …" every few seconds, which a pipeline's live log shows."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from beam_preprocess.base.storage import reason, refusals

INTERVAL = 5.0
"""Seconds between two lines. Shorter work prints none."""


class Progress:
    """Prints the rate and the time left while a count grows."""

    def __init__(self, label: str, *, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._started = self._printed = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Prints a line if the last one is at least `INTERVAL` old."""
        now = time.monotonic()
        if now - self._printed < INTERVAL:
            return
        self._printed = now
        rate = done / (now - self._started)
        left = f"{(self._total - done) / rate:.0f} s left" if done else "time left unknown"
        note = f", {note}" if note else ""
        print(
            f"progress: {self._label} {done}/{self._total} {self._unit}, {rate:.1f} {self._unit}/s, {left}{note}",
            flush=True,
        )


class Watcher:
    """Polls a count from a thread while the `with` body runs, because FnApiRunner blocks and reports nothing."""

    def __init__(self, progress: Progress, poll: Callable[[], tuple[int, str]]) -> None:
        self._progress, self._poll = progress, poll
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL):
            try:
                count = self._poll()
            except refusals() as error:  # a bucket may fail to answer now and then: keep working, keep polling
                print(f"progress: unknown at the moment ({reason(error)})", flush=True)
                continue
            self._progress.update(*count)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
