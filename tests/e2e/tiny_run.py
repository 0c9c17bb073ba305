"""What the end-to-end tests share: tiny data, a config of seconds of training, and the command as users give it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.local.demo_data import DemoData, generate

REPOSITORY = Path(__file__).parents[2]

# An untrained model has AP 0, which the gate never promotes: 150 steps reach about 0.03.
CONFIG = """
preprocess: {image_size: [64, 64], train_views: 1}
task:
  model:
    backbone: {type: hourglass, hourglass: {model_id: 10, input_channel_dims: 8, num_hourglasses: 1}}
    head: {input_levels: ['2']}
    norm_activation: {norm_momentum: 0.97, use_sync_bn: false}
  train_data: {global_batch_size: 4}
trainer:
  train_steps: 150
  steps_per_loop: 20
  checkpoint_interval: 150
  validation_interval: 150
  optimizer_config:
    learning_rate: {type: cosine, cosine: {initial_learning_rate: 0.005, decay_steps: 150}}
    warmup: {type: linear, linear: {warmup_steps: 1}}
gate: {min_ap: 0.0}
"""


@dataclass(frozen=True)
class Ran:
    """A folder in which the pipeline ran, and what its first run printed."""

    folder: Path
    process: subprocess.CompletedProcess[str]

    @property
    def latest(self) -> Path:
        return (self.folder / "runs" / "latest").resolve()

    def share_valid_configurations(self, runs: Path) -> None:
        """Spares the runs of another folder the process that checks the same configuration with TensorFlow."""
        (found,) = (self.folder / "runs" / ".cache").glob("*/valid-configurations")
        shutil.copytree(found, runs / found.relative_to(self.folder / "runs"))


def pipeline(folder: Path, *arguments: str, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline`, from a folder that is not the repository."""
    return subprocess.run(
        [python, "-m", "pipeline", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def link_environment(folder: Path) -> None:
    """Makes the environment of the tests reachable by another path."""
    folder.symlink_to(sys.prefix, target_is_directory=True)


def make_data(folder: Path, train: int = 8, val: int = 4) -> None:
    """Data set and configuration; with fewer than 24 images in a split there would be a warning."""
    folder.mkdir(exist_ok=True, parents=True)
    small = DemoData(train_images=train, val_images=val, height=(96, 128), width=(96, 128), side=(30.0, 60.0))
    generate(folder / "coco", small)
    (folder / "tiny.yaml").write_text(CONFIG)


def stage_lines(output: str) -> list[str]:
    """Names of the stages in the lines `name  seconds s  result`."""
    return [found[1] for line in output.splitlines() if (found := re.match(r"(\w[\w ]*?) +\d+\.\d s\b", line))]
