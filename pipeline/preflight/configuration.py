"""Checks a whole configuration, Model Garden's sections included, while other checks run."""

import hashlib
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

    def __init__(self, config: ConfigText, valid: Path | None = None) -> None:
        """Starts the check.

        Args:
          config: what to check.
          valid: folder that remembers what this code found valid, which is not checked again; None remembers nothing.
        """
        self._where = config.where
        self._valid = valid / hashlib.sha256(config.text.encode()).hexdigest() if valid else None
        self._process: subprocess.Popen[str] | None = None
        if self._valid and self._valid.exists():
            return
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
        if self._process is None:
            return
        _, errors = self._process.communicate()
        self._folder.cleanup()
        if self._process.returncode == 0:
            if self._valid:
                self._valid.parent.mkdir(parents=True, exist_ok=True)
                self._valid.touch()
            return
        lines = errors.replace(str(self._file), self._where).strip().splitlines()
        lines = lines or [f"exit code {self._process.returncode}"]
        if self._process.returncode == 2:
            raise InputError(lines[-1].removeprefix("error: "))
        raise RuntimeError(f"{self._where}: checking the configuration failed:\n" + "\n".join(lines[-15:]))

    def stop(self) -> None:
        """Ends the check, for a caller that found another error first."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()
