"""The program of a local worker process: Beam's, which ends when its driver is gone.

Beam's worker notices a lost driver only by its connections. One that has none yet, because the driver was killed while
the worker started, would wait for two minutes. Errors of file systems are left to the driver to report.
"""

import os
import shlex
import sys
import threading
import time
from pathlib import Path

from beam_preprocess.engine.write_errors import QuietStream

INTERVAL = 1.0
"""Seconds between two looks at the driver."""


def command_line() -> str:
    """The shell command that starts a worker of this process."""
    return f"exec {shlex.quote(sys.executable)} -m {__name__} {os.getpid()}"


def main() -> None:
    """Runs Beam's worker until its work or its driver ends."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    sys.stderr = QuietStream(sys.stderr)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def is_alive(process: int) -> bool:
    """Whether a process is running; one that was killed and not yet collected by its parent is not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc here, as on macOS, or the process ended meanwhile
        return not Path("/proc/self/stat").exists()


def _end_with(driver: int) -> None:
    while is_alive(driver):
        time.sleep(INTERVAL)
    os._exit(1)  # without Beam's shutdown, which waits for the driver


if __name__ == "__main__":
    main()
