"""`history.jsonl` and TensorBoard: what a training measured, one row per step at which it measured something."""

import json
import os
from typing import Any

import tensorflow as tf

from trainer.training import checkpoints

HISTORY = "history.jsonl"
MEASURED_ON = "measured_on"
"""Key of a validation's row: on how many images of which kind, such as "64 training images"."""


class History:
    """One row per loop of steps and per validation; both of one step share a row.

    A resumed run drops the rows after its checkpoint: it measures those steps again.

    Args:
      folder: where to write; TensorBoard's events go to `tensorboard/` in it.
      first_step: of this run; later rows of earlier runs are dropped.
      earlier: rows that the file already holds.
      name: name of the file.
    """

    def __init__(self, folder: str, first_step: int, earlier: list[dict[str, Any]], name: str = HISTORY) -> None:
        self._path = os.path.join(folder, name)
        self._rows = [row for row in earlier if row["step"] <= first_step]
        self._summaries = tf.summary.create_file_writer(os.path.join(folder, "tensorboard"))
        self._write()

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row, or merges it into the row of the same step."""
        if self._rows and self._rows[-1]["step"] == row["step"]:
            self._rows[-1].update(row)
        else:
            self._rows.append(row)
        with self._summaries.as_default(step=row["step"]):
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    tf.summary.scalar(name, value)
        self._write()

    def last(self) -> dict[str, Any]:
        """The newest row; empty if no step was run."""
        return self._rows[-1] if self._rows else {}

    def _write(self) -> None:
        checkpoints.write_text(self._path, "".join(json.dumps(row) + "\n" for row in self._rows))


def read_history(folder: str, name: str = HISTORY) -> list[dict[str, Any]]:
    """The rows of a folder's history; empty if there is no file yet."""
    path = os.path.join(folder, name)
    if not tf.io.gfile.exists(path):
        return []
    with tf.io.gfile.GFile(path) as file:
        return [json.loads(line) for line in file.read().splitlines()]
