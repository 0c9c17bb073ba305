"""Gates that nobody reached from where the weights start."""

import pytest

from beam_preprocess.base.config_text import resolve
from pipeline.preflight.reported_ap import gate_warning
from trainer.config.sections import RunConfig, parse_config

GPU, TPU = "coco-centernet-hourglass-gpu", "coco-centernet-hourglass-tpu"
SCRATCH = "task.init_checkpoint=''"


def config(name: str, *changes: str) -> RunConfig:
    found = resolve(name, changes)
    return parse_config(found.text, found.where)


@pytest.mark.parametrize(
    ("name", "changes", "warns"),
    [
        (GPU, (), ""),
        (TPU, (), ""),
        (GPU, (SCRATCH,), "0.389"),
        (TPU, (SCRATCH,), "0.389"),
        (GPU, (SCRATCH, "gate.min_ap=0.389"), ""),
        (GPU, (SCRATCH, "export.flip=true"), ""),  # raises AP, and no number is known
        (GPU, ("gate.min_ap=0.43",), "0.4192"),
        (GPU, (SCRATCH, "task.model.num_classes=6"), ""),  # other data than COCO
        ("custom-small", ("gate.min_ap=0.9",), ""),
    ],
)
def test_the_warning(name: str, changes: tuple[str, ...], warns: str) -> None:
    warning = gate_warning(config(name, *changes))
    assert warns in warning if warns else warning == ""
