"""Where weights start, and gates that nobody reached from there."""

from pathlib import Path

import pytest

from beam_preprocess.base.config_text import resolve
from beam_preprocess.base.errors import InputError
from pipeline.preflight import initial_weights
from trainer.config.sections import RunConfig, parse_config

GPU, TPU = "coco-centernet-hourglass-gpu", "coco-centernet-hourglass-tpu"
SCRATCH = "task.init_checkpoint=''"


def config(name: str, *changes: str) -> RunConfig:
    found = resolve(name, changes)
    return parse_config(found.text, found.where)


@pytest.mark.parametrize(
    ("name", "changes", "line", "warns"),
    [
        (GPU, (), "from extremenet (backbone)", ""),
        (TPU, (), "from extremenet (backbone)", ""),
        (GPU, (SCRATCH,), "from scratch", "0.389"),
        (TPU, (SCRATCH,), "from scratch", "0.389"),
        (GPU, (SCRATCH, "gate.min_ap=0.389"), "from scratch", ""),
        (GPU, (SCRATCH, "export.flip=true"), "from scratch", ""),  # raises AP, and no number is known
        (GPU, ("gate.min_ap=0.43",), "from extremenet (backbone)", "0.4192"),
        (GPU, (SCRATCH, "task.model.num_classes=6"), "from scratch", ""),  # other data than COCO
        ("custom-small", ("gate.min_ap=0.9",), "from scratch", ""),
    ],
)
def test_the_line_and_the_warning(name: str, changes: tuple[str, ...], line: str, warns: str) -> None:
    found = config(name, *changes)
    assert initial_weights.weights_line(found) == line
    warning = initial_weights.gate_warning(found)
    assert warns in warning if warns else warning == ""


def test_on_this_machine(tmp_path: Path) -> None:
    initial_weights.check_on_this_machine(config(GPU, f"task.init_checkpoint={tmp_path}"))
    (tmp_path / "ckpt-7.index").touch()
    initial_weights.check_on_this_machine(config(GPU, f"task.init_checkpoint={tmp_path / 'ckpt-7'}"))
    initial_weights.check_on_this_machine(config("custom-small"))
    with pytest.raises(InputError, match="nowhere: no such folder or checkpoint; make it with centernet init-weights"):
        initial_weights.check_on_this_machine(config(GPU, f"task.init_checkpoint={tmp_path}/nowhere"))
