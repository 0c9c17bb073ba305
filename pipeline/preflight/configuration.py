"""Checks a whole configuration, Model Garden's sections included, while other checks run."""

import subprocess
import sys
import tempfile
from pathlib import Path

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from pipeline.preflight.processes import child_environment


class ConfigCheck:
    """Validates a configuration in its own process.

    Model Garden's sections need TensorFlow, whose import takes seconds that the caller can use for other checks.
    """

    def __init__(self, config: ConfigText) -> None:
        self._where = config.where
        self._folder = tempfile.TemporaryDirectory(prefix="centernet-config-")
        self._file = Path(self._folder.name) / "config.yaml"
        self._file.write_text(config.text, encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainer.config", "check", str(self._file)],
            env=child_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Waits for the result.

        Raises:
          InputError: the configuration is wrong.
          RuntimeError: the check itself failed.
        """
        _, errors = self._process.communicate()
        self._folder.cleanup()
        if self._process.returncode == 0:
            return
        lines = errors.replace(str(self._file), self._where).strip().splitlines()
        lines = lines or [f"exit code {self._process.returncode}"]
        if self._process.returncode == 2:
            raise InputError(lines[-1].removeprefix("error: "))
        raise RuntimeError(f"{self._where}: checking the configuration failed:\n" + "\n".join(lines[-15:]))

    def stop(self) -> None:
        """Ends the check, for a caller that found another error first."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()
