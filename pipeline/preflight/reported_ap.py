"""What AP was ever reported from where a training's weights start."""

from typing import Any

from pipeline.preflight.weights import start_of
from trainer.config.sections import RunConfig

FROM_SCRATCH_AP = 0.389
"""CenterNet's author, Hourglass-104 on COCO from scratch, 100 epochs (xingyizhou/CenterNet issues 152 and 269)."""
PRETRAINED_AP = 0.4192
"""The highest published AP of this network from ExtremeNet's weights: the Object Detection API's float32 run."""
HOURGLASS_104 = {"model_id": 52, "num_hourglasses": 2}
COCO_CLASSES = 90


def gate_warning(config: RunConfig) -> str:
    """Says that the gate asks for more than anybody reported from these weights; "" if it doesn't.

    Known for Hourglass-104 on COCO without test-time augmentation, which raises AP. For others nothing is known.
    """
    model = config.experiment["task"].get("model") or {}
    wanted = config.gate.min_ap
    if not _is_reference(model) or config.export.augments:
        return ""
    scratch = not start_of(config)
    most = FROM_SCRATCH_AP if scratch else PRETRAINED_AP
    if wanted <= most:
        return ""
    reported = (
        f"{most:.3f} is what CenterNet's author reports from scratch; name initial weights (--init, docs/training.md)"
        if scratch
        else f"{most:.4f} is the highest that is published from pretrained weights; "
        "turn on test-time augmentation (--set export.flip=true)"
    )
    return f"gate.min_ap {wanted:.3f} will hardly be reached: {reported}, or lower gate.min_ap"


def _is_reference(model: dict[str, Any]) -> bool:
    backbone = model.get("backbone") or {}
    hourglass = backbone.get("hourglass") or {}
    shape = {name: hourglass.get(name) for name in HOURGLASS_104}
    return (
        backbone.get("type", "hourglass") == "hourglass"
        and shape == HOURGLASS_104
        and model.get("num_classes") == COCO_CLASSES
    )
