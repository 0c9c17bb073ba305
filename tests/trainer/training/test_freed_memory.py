"""Memory that a thread frees is kept for its next use."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading
from trainer.training.freed_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    bytearray(20 << 20)  # the size of a batch of images; glibc then takes such memory from the thread's heap
    waiting = [bytearray(20 << 20) for _ in range(3)]  # they fill the first one
    before = faults()
    for _ in range(8):
        bytearray(20 << 20)
    print((faults() - before) * resource.getpagesize() >> 20)

if {keep}:
    keep_freed_memory()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.parametrize(("keep", "least", "most"), [(True, 0, 30), (False, 100, 1000)])
def test_a_thread_gets_the_memory_again_that_it_freed(keep: bool, least: int, most: int) -> None:
    """MiB that the kernel cleared for 8 buffers of 20 MiB."""
    command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
