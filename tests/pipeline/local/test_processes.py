"""Signals of a local run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.local.processes import end_children, sigterm_interrupts


def test_sigterm_interrupts_and_the_old_handler_returns() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to list the children")
def test_children_and_their_children_end() -> None:
    # A program of its own: this process may have children of other tests.
    program = """
import subprocess, sys
from pipeline.local.processes import end_children
inner = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('ready', flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
end_children()
print(child.wait(timeout=30), child.stdout.read())
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=40,
    )
    # The pipe closes only when the grandchild is gone as well.
    assert process.stdout.split() == [str(-signal.SIGTERM), "b''"]


def test_a_process_without_children_is_left_alone() -> None:
    end_children()
