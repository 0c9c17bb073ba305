"""The cores and the memory of this process, not of the machine."""

import os
from pathlib import Path

import pytest

from beam_preprocess.base import cores
from beam_preprocess.base.cores import usable_cores, usable_memory

MIB = 2**20


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't restrict a process to a core")
def test_a_process_restricted_to_one_core_has_one() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= len(before)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000", "memory.max": str(64 * MIB)}, (2, 64)),
        ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, (8, 1024)),
        ("0::/", {"cpu.max": "50000 100000"}, (1, 1024)),
        # A limit of a group above counts; the lowest one wins.
        ("0::/pod/task", {"pod/cpu.max": "300000 100000", "pod/task/cpu.max": "max 100000"}, (3, 1024)),
        ("0::/pod/task", {"pod/memory.max": str(32 * MIB), "pod/task/memory.max": str(64 * MIB)}, (8, 32)),
        # In a container without a namespace of groups, the own path doesn't exist below the mounted root.
        ("0::/kubepods/x", {"cpu.max": "200000 100000"}, (2, 1024)),
        (
            "4:memory:/job\n2:cpu,cpuacct:/job\n0::/",
            {
                "cpu/job/cpu.cfs_quota_us": "400000",
                "cpu/job/cpu.cfs_period_us": "100000",
                "memory/job/memory.limit_in_bytes": str(16 * MIB),
                "memory/memory.limit_in_bytes": "9223372036854771712",  # no limit
            },
            (4, 16),
        ),
        ("2:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, (8, 1024)),
        ("", {}, (8, 1024)),
    ],
)
def test_a_containers_limits(
    own: str, files: dict[str, str], expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1024, "SC_PAGE_SIZE": MIB}.__getitem__)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    assert (usable_cores(), usable_memory() // MIB) == expected
