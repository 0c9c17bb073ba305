"""Choices that depend on classes and validation data: mirror images, and what the gate requires."""

import math
import re
from collections.abc import Iterator

from pipeline.recommend.choices import Choice
from pipeline.recommend.facts import Facts

AP_NOISE = 0.72
"""Width of AP's 95 % bootstrap interval times the square root of the number of images: 0.08 on the demo's 80."""
LEAST_NOISE, MOST_NOISE = 0.005, 0.3
SUPPORT = (10, 100)
CLASS_NOISE = 1.1
"""Likewise for the AP of one class and its objects: 0.25 with 20 objects."""
MIN_AP = 0.1
SIDES = re.compile(r"(?<![a-z])(left|right|lhs|rhs|port|starboard|clockwise|counterclockwise)(?![a-z])", re.IGNORECASE)
TEXT = re.compile(r"(?<![a-z])(text|word|letter|digit|character|number|numeral|plate|barcode|logo)s?(?![a-z])", re.I)


def mirror(facts: Facts) -> Iterator[Choice]:
    if reason := mirrored(facts.classes):
        yield Choice(key="task.augmentation.flip", value=False, why=f"No mirror images: {reason}.")
        yield Choice(key="export.flip", value=False, why="Nor when predicting.")


def mirrored(classes: tuple[str, ...]) -> str:
    """Why a mirror image of these classes is another class; "" if nothing in their names says so."""
    sides = [name for name in classes if SIDES.search(name.replace("_", " "))]
    if sides:
        return f"left and right are classes ({', '.join(sides[:3])})"
    text = [name for name in classes if TEXT.search(name.replace("_", " ")) or re.fullmatch(r"\w", name)]
    return f"text is not text when mirrored ({', '.join(text[:3])})" if text else ""


def gate(facts: Facts) -> Iterator[Choice]:
    yield Choice(
        key="gate.min_ap",
        value=MIN_AP,
        why="Only refuses a model that finds nothing: what your product needs isn't in the data. Set it.",
    )
    delta = min(MOST_NOISE, max(LEAST_NOISE, AP_NOISE / math.sqrt(max(facts.val_images, 1))))
    yield Choice(
        key="gate.min_delta",
        value=-round(delta, 3),
        why=f"The width that the 95 % interval of AP has on {facts.val_images} validation images "
        f"(about {AP_NOISE} / square root of {facts.val_images}): a model within it may be as good as the champion.",
    )
    counts = sorted(count for count in facts.val_objects if count) or [0]
    quarter = counts[len(counts) // 4]
    support = max(SUPPORT[0], min(SUPPORT[1], quarter))
    yield Choice(
        key="gate.min_support",
        value=support,
        why=f"Three of four classes have {quarter} validation objects or more; fewer than this don't judge a class.",
    )
    drop = round(min(MOST_NOISE, max(0.1, CLASS_NOISE / math.sqrt(support))), 2)
    why = f"AP of {support} objects moves by this from seed to seed."
    yield Choice(key="gate.max_class_drop", value=drop, why=why)
    yield Choice(key="gate.max_size_drop", value=drop, why=why)
