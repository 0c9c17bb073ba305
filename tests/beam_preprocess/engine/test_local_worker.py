"""A worker process ends with its driver."""

import os
import shlex
import subprocess
import sys

from beam_preprocess.engine import local_worker


def test_a_process_is_alive_until_it_is_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    assert local_worker.is_alive(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
    assert not local_worker.is_alive(process.pid)
    process.wait()
    assert not local_worker.is_alive(process.pid)


def test_a_worker_whose_driver_is_gone_ends_before_it_connects() -> None:
    """Without the addresses of a driver, Beam's worker would fail instead, and with dead ones it would wait."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = shlex.split(local_worker.command_line())[1:-1]
    addresses = dict.fromkeys(
        ("LOGGING_API_SERVICE_DESCRIPTOR", "CONTROL_API_SERVICE_DESCRIPTOR"), 'url: "localhost:9"'
    )
    done = subprocess.run([*command, str(gone.pid)], env={**os.environ, **addresses}, timeout=50, check=False)
    assert done.returncode == 1
