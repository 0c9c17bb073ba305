"""How many processes or threads a run of the local engine gets when nobody has chosen them.

The numbers are measured: docs/benchmarks.md#preprocessing-and-targets. A slower machine is slower at both sides of the
comparison, the work and the start of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

USEFUL_THREADS = 4
"""Threads beyond these gain little."""
LOCKED = 0.2
"""Fraction of the work that holds Python's lock, so that threads don't share it: two are 1.67 times as fast as one."""
MEGAPIXELS_PER_SECOND = 84.0
"""Views that one core makes in a second, in megapixels: 40 images of 640 x 480, 8 views of 512 x 512 each."""
START_SECONDS = 2.8
"""What starting processes adds to a run: each imports Beam, at the same time."""
WORKER_BYTES = 2**29
"""Memory of a process: 0.3 GiB were measured, and a photograph of 50 megapixels takes as much again."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Numbers of processes and of threads in one; one of the two is 1."""

    processes: int
    threads: int
    why: str
    """For people; "" where Beam's flags decide."""


def choose(arguments: Sequence[str], *, cores: int, memory: int, shards: int, megapixels: float) -> Parallelism:
    """The faster of threads and processes: threads start at once, and processes don't wait for each other.

    Args:
      arguments: Beam flags. A runner, or a flag of the local one's parallelism, leaves everything to them.
      cores: that this process may use.
      memory: bytes that it may use.
      shards: of the output; each is one worker's.
      megapixels: of all views to be written.
    """
    if any(word.startswith(("--runner", "--direct_")) for word in arguments):
        return Parallelism(1, 1, "")
    threads = min(USEFUL_THREADS, cores, shards)
    processes = max(1, min(cores, shards, memory // WORKER_BYTES - 1))  # the driver needs as much as one of them
    size = f"{megapixels:,.0f} megapixels of views; cores: {cores}; memory: {memory / 2**30:.1f} GiB"
    gain = LOCKED + (1 - LOCKED) / threads - 1 / processes  # as a fraction of one thread's time
    if gain <= 0:
        return Parallelism(1, threads, size)
    pays = START_SECONDS / gain * MEGAPIXELS_PER_SECOND
    why = f"{size}; {processes} processes are faster from {pays:,.0f} megapixels on"
    return Parallelism(processes, 1, why) if megapixels >= pays else Parallelism(1, threads, why)
