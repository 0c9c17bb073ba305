"""The size and shape of the network's input, from the objects' sides and the images' shape."""

import math
from collections.abc import Iterator

import numpy as np

from beam_preprocess.dataset.sizes import LARGEST, too_small
from pipeline.recommend.base import Base
from pipeline.recommend.choices import Input
from pipeline.recommend.facts import Facts

CLEAR_SIDE = 16.0
"""Median side of the objects, in input pixels, beyond which a larger input is not worth its time. Cards at 192 and at
256 pixels have the same AP for the same time."""
MIN_STEPS = 300
"""Fewer steps leave the heads half trained."""


def input_of(facts: Facts, base: Base, max_pixels: float = math.inf) -> Input:
    """The smallest input at which the objects are clear; where that is too much, at which each has a cell of its own.

    Args:
      facts: of the data.
      base: whose input is the smallest that is chosen.
      max_pixels: what the time allows. Objects that share a cell are worse than few steps.
    """
    shape = _shape_of(facts)
    sizes = list(_sizes(facts, base))
    floor = next((size for size in sizes if size[0] * size[1] >= 0.9 * base.pixels), sizes[-1])
    sizes = sizes[sizes.index(floor) :]
    enough = next((i for i, size in enumerate(sizes) if not _too_small(facts, size)), None)
    if enough is None:
        found = _largest(sizes, max_pixels)
        text = f"{shape}; at any input up to {LARGEST} px objects are smaller than a cell or share one: cut the images"
        return Input(size=found, enough=False, why=f"{text} into tiles; {_sides(facts, found)}")
    clear = next((i for i, size in enumerate(sizes) if i >= enough and _clear(facts, size)), len(sizes) - 1)
    within = [i for i in range(enough, clear + 1) if sizes[i][0] * sizes[i][1] <= max_pixels]
    chosen = max(within, default=enough)
    found = sizes[chosen]
    if chosen == 0:
        text = f"{shape}; objects are clear at {base.name}'s size"
    elif chosen == clear and chosen > enough:
        text = f"{shape}; enlarged until objects are clear, or the images have their own size"
    elif chosen == clear:
        text = f"{shape}; enlarged until objects are larger than a cell of {base.stride} px and don't share one"
    else:
        text = f"{shape}; a larger one would leave fewer than {MIN_STEPS} steps for the minutes"
    return Input(size=found, enough=True, why=f"{text}; {_sides(facts, found)}")


def _shape_of(facts: Facts) -> str:
    height, width = facts.image_size
    if facts.aspect == 1.0 and height != width:
        return f"square, because the images' shapes differ ({facts.alike:.0%} are like {height} x {width})"
    return f"the shape of the images, {height} x {width} (median)"


def _sizes(facts: Facts, base: Base) -> Iterator[tuple[int, int]]:
    """Inputs of the images' shape, from small to large, in the backbone's multiples."""
    multiple, aspect = base.multiple, facts.aspect
    for longer in range(multiple, LARGEST + 1, multiple):
        shorter = max(multiple, round(longer * min(aspect, 1 / aspect) / multiple) * multiple)
        yield (longer, shorter) if aspect > 1 else (shorter, longer)


def _too_small(facts: Facts, size: tuple[int, int]) -> bool:
    return too_small(*facts.objects.counts(size), len(facts.objects))


def _clear(facts: Facts, size: tuple[int, int]) -> bool:
    own = all(side >= image for side, image in zip(size, facts.image_size, strict=True))
    return own or float(np.median(facts.objects.sides(size))) >= CLEAR_SIDE


def _largest(sizes: list[tuple[int, int]], max_pixels: float) -> tuple[int, int]:
    return next((size for size in reversed(sizes) if size[0] * size[1] <= max_pixels), sizes[0])


def _sides(facts: Facts, size: tuple[int, int]) -> str:
    return f"half of the objects are wider and higher than {np.median(facts.objects.sides(size)):.0f} px there"
