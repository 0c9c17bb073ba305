"""A local watch: one at a time per registry, and the lines that end it."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from beam_preprocess.base.errors import Failure
from components.support.watching import PAGE
from pipeline.local.run_folder import RunFolder, shown
from trainer.promotion.due import NAME, Due, read_due

LOCK = ".watch.lock"


@contextlib.contextmanager
def alone(registry: Path) -> Iterator[None]:
    """Runs the body if no other watch is at work with this registry: two could start the same training twice.

    Raises:
      Failure: another one is at work. The kernel frees the lock of a process that died.
    """
    registry.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(registry / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            where = f"--registry {shown(registry)}"
            raise Failure(f"{where}: another watch is at work with it; wait until it has ended") from error
        yield
    finally:
        os.close(descriptor)


def finish(folder: RunFolder) -> Due:
    """Puts the page at the top of the run's folder; returns what was decided."""
    shutil.copyfile(folder.stages / "watch" / PAGE, folder.path / PAGE)
    return read_due(str(folder.stages / "training-due" / NAME))


def lines(folder: RunFolder, due: Due, outcome: str = "") -> str:
    """Verdict and statistic, where to look, and what follows.

    Args:
      folder: of the run.
      due: what was decided.
      outcome: of the training, if there was one.
    """
    found = [("watch", due.watched.said), ("page", shown(folder.path / PAGE))]
    if due.watched.to_label:
        found.append(("label", shown(Path(due.watched.to_label))))
    found.append(("training", f"{due.why} -> {outcome}" if outcome else f"none: {due.why.removeprefix('but ')}"))
    return "\n".join(f"{title:<9} {text}" for title, text in found)
