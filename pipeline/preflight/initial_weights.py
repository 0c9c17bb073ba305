"""Where a training's weights start, and what AP was ever reported from there."""

import os
from typing import Any

from beam_preprocess.base.errors import InputError
from pipeline.preflight.data import exists_in_bucket
from trainer.config.sections import RunConfig

FROM_SCRATCH_AP = 0.389
"""CenterNet's author, Hourglass-104 on COCO from scratch, 100 epochs (xingyizhou/CenterNet issues 152 and 269)."""
PRETRAINED_AP = 0.4192
"""The highest published AP of this network from ExtremeNet's weights: the Object Detection API's float32 run."""
HOURGLASS_104 = {"model_id": 52, "num_hourglasses": 2}
COCO_CLASSES = 90
FROM_SCRATCH = "train from scratch with --set \"task.init_checkpoint=''\""


def initial_weights(config: RunConfig) -> str:
    """The checkpoint that the weights start from; "" is from scratch."""
    return str(config.experiment["task"].get("init_checkpoint") or "")


def weights_line(config: RunConfig) -> str:
    """Where the weights start, for people."""
    start = initial_weights(config)
    modules = config.experiment["task"].get("init_checkpoint_modules") or "backbone"
    return f"from {start} ({modules})" if start else "from scratch"


def gate_warning(config: RunConfig) -> str:
    """Says that the gate asks for more than anybody reported from these weights; "" if it doesn't.

    Known for Hourglass-104 on COCO without test-time augmentation, which raises AP. For others nothing is known.
    """
    model = config.experiment["task"].get("model") or {}
    wanted = config.gate.min_ap
    if not _is_reference(model) or config.export.augments:
        return ""
    scratch = not initial_weights(config)
    most = FROM_SCRATCH_AP if scratch else PRETRAINED_AP
    if wanted <= most:
        return ""
    reported = (
        f"{most:.3f} is what CenterNet's author reports from scratch; name initial weights "
        "(--set task.init_checkpoint=gs://BUCKET/FOLDER)"
        if scratch
        else f"{most:.4f} is the highest that is published from pretrained weights; "
        "turn on test-time augmentation (--set export.flip=true)"
    )
    return f"gate.min_ap {wanted:.3f} will hardly be reached: {reported}, or lower gate.min_ap"


def check_on_this_machine(config: RunConfig) -> None:
    """Refuses initial weights that this machine lacks, before the data is preprocessed.

    Raises:
      InputError: there is no such folder or checkpoint.
    """
    start = initial_weights(config)
    if start and "://" not in start and not any(map(os.path.exists, (start, f"{start}.index"))):
        raise InputError(
            f"{config.where}: task.init_checkpoint: {start}: no such folder or checkpoint; make it with centernet "
            f"init-weights (docs/training.md, initial weights), or {FROM_SCRATCH}"
        )


def check_in_bucket(config: RunConfig) -> None:
    """Refuses initial weights that the steps of a service can't read.

    Raises:
      InputError: they are not in a bucket.
    """
    start = initial_weights(config)
    if start and not start.startswith("gs://"):
        name = start.rstrip("/").rpartition("/")[2]
        raise InputError(
            f"--config {config.where}: task.init_checkpoint: {start}: a folder of this machine, which the cloud can't "
            f"read; copy it to a bucket (docs/vertex.md, section 2) and give --set task.init_checkpoint=gs://BUCKET/"
            f"weights/{name}, or {FROM_SCRATCH}"
        )


def check_exists(uri: str) -> list[str]:
    """Checks that the initial weights of a run are in their bucket: a folder, or the prefix of a checkpoint.

    Args:
      uri: gs://…, or "" for a training from scratch.

    Returns:
      What could not be checked, and why (no permission, no credentials).

    Raises:
      InputError: there is no such folder or checkpoint.
    """
    if not uri:
        return []
    try:
        found = exists_in_bucket(uri) or exists_in_bucket(f"{uri}.index")
    except Exception as error:  # gcsfs and google-auth raise many kinds, and none of them proves the URI wrong
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return [f"task.init_checkpoint {uri}: could not be checked ({reason})"]
    if not found:
        raise InputError(f"task.init_checkpoint {uri}: no such folder or checkpoint; docs/vertex.md shows the copy")
    return []


def _is_reference(model: dict[str, Any]) -> bool:
    backbone = model.get("backbone") or {}
    hourglass = backbone.get("hourglass") or {}
    shape = {name: hourglass.get(name) for name in HOURGLASS_104}
    return (
        backbone.get("type", "hourglass") == "hourglass"
        and shape == HOURGLASS_104
        and model.get("num_classes") == COCO_CLASSES
    )
