"""How much of this machine is this process's, by its affinity and by its container's limits."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Number of cores that this process may use, at least 1. A container with 1.5 cores counts as one with 2."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        quota, _, period = _read(group / "cpu.max").partition(" ")  # version 2: "150000 100000", or "max 100000"
        quota = quota or _read(group / "cpu.cfs_quota_us")  # version 1: -1 for none
        period = period or _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def usable_memory() -> int:
    """Bytes of memory that this process may use."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for group in _groups("memory"):
        limit = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
        if limit.isdigit():
            memory = min(memory, int(limit))
    return memory


def _groups(controller: str) -> Iterator[Path]:
    """The control groups of this process that limit a resource, from its own up to the root; both versions of them."""
    for line in _read(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS
        own = root / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _read(path: Path) -> str:
    """The text of a file; "" where there is none, as for a group that the container doesn't show."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
