"""The machines that a configuration can be written for, and how fast they are taken to be."""

import difflib
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError

USED = 0.3
"""Fraction of a chip's peak that a training is taken to reach. An assumption: nothing here ran on a GPU or TPU."""
STEP = 3
"""A step computes this many forward passes: one forward, two backward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """One kind of machine."""

    name: str
    base: str
    """The shipped configuration to begin with."""
    large: str = ""
    """The one to begin with where images and time suffice for a network of several times the computation."""
    batch_pixels: float
    """Maximum of images times pixels of one step: memory, and on a CPU time."""
    chips: int = 1
    """The batch is a multiple of this."""
    peak: float = 0.0
    """FLOP/s of all chips in 16 bits, as stated by their makers; 0: the speed is measured."""

    def pixels_per_second(self, network: str) -> float:
        """Assumed training speed for a type of backbone."""
        return USED * self.peak / (STEP * FORWARD.get(network, FORWARD["resnet"]))


FORWARD = {"hourglass": 2.24e6, "resnet": 3.0e5}
"""FLOP per input pixel of a forward pass: Hourglass-104 from docs/benchmarks.md (a step of one 512 x 512 image has
1.76e12), ResNet-50 with an FPN of 128 filters counted by hand."""
PIXELS_PER_GB = 0.3e6
"""Pixels of a step per GB of a GPU's memory. Half of what Hourglass-104 takes in bfloat16 on a TPU
(docs/benchmarks.md); not measured."""


def _gpu(name: str, gigabytes: int, peak: float) -> Hardware:
    return Hardware(
        name=f"gpu:{name}",
        base="custom-gpu",
        large="custom-gpu-hourglass",
        batch_pixels=gigabytes * PIXELS_PER_GB,
        peak=peak,
    )


def _tpu(name: str, peak: float) -> Hardware:
    return Hardware(
        name=f"tpu:{name}",
        base="coco-centernet-hourglass-tpu",
        batch_pixels=128 * 512 * 512,
        chips=8,
        peak=peak,
    )


CPU = Hardware(name="cpu", base="custom-cpu", batch_pixels=1.7e6)
"""This machine, measured. Its limit is time: 2 images of 448 x 1792 take a second and a half on two cores."""
KNOWN = {
    one.name: one
    for one in (
        CPU,
        _gpu("t4", 16, 65e12),
        _gpu("l4", 24, 121e12),
        _gpu("a100", 40, 312e12),
        _gpu("h100", 80, 989e12),
        _tpu("v3", 8 * 61.5e12),
        _tpu("v5e", 8 * 197e12),
    )
}


def find(name: str) -> Hardware:
    """The hardware of `--hardware`.

    Raises:
      InputError: unknown; the nearest name is suggested.
    """
    if name in KNOWN:
        return KNOWN[name]
    if of_kind := [known for known in KNOWN if known.startswith(f"{name}:")]:
        raise InputError(f"--hardware {name}: which one? use one of {', '.join(of_kind)}")
    # Without the kind too: "a100" means one.
    close = [known for known in KNOWN if known.endswith(f":{name}")] or difflib.get_close_matches(name, KNOWN, n=1)
    hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(KNOWN)}"
    raise InputError(f"--hardware {name}: unknown; {hint}")
