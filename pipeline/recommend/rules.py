"""From facts to choices. Pure functions; each number in them names where it was measured, or that it is assumed."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.recommend.base import Base
from pipeline.recommend.choices import Choice, Input, Recommendation, Speed
from pipeline.recommend.facts import Facts
from pipeline.recommend.hardware import Hardware
from pipeline.recommend.judging import gate, mirror, mirrored
from pipeline.recommend.network_input import MIN_STEPS, input_of

BATCHES = (64, 32, 16, 8, 4, 2)
EPOCHS = 200
"""Maximum passes over the images: beyond, a network learns the images by heart."""
LARGE_IMAGES, LARGE_EPOCHS, LARGE_PIXELS = 10_000, 20, 512 * 512
"""What Hourglass-104 needs to pay: images, passes over them, and its input. Assumed: COCO, where it is 10 points of AP
better than ResNet-50, has 118,000 images."""
FEW_IMAGES, FEW_VIEWS = 100, 16
"""With fewer images, more views of each."""
MANY = 100
"""Detections that the exported model returns unless told otherwise."""


def wants_large(facts: Facts, hardware: Hardware, minutes: float) -> bool:
    """Whether there are images and time enough for the large network of a machine that has one."""
    if not hardware.large or facts.train_images < LARGE_IMAGES:
        return False
    seen = minutes * 60 * hardware.pixels_per_second("hourglass") / LARGE_PIXELS
    return seen >= LARGE_EPOCHS * facts.train_images


def batch_of(facts: Facts, base: Base, hardware: Hardware, pixels: int) -> int:
    """Images per step: what memory holds, at most the base's on a CPU, and at most a quarter of the images."""
    most = base.batch if hardware.peak == 0 or hardware.chips > 1 else BATCHES[0]
    allowed = [
        batch
        for batch in (*([base.batch] if base.batch > BATCHES[0] else []), *BATCHES)
        if batch <= most and batch * pixels <= hardware.batch_pixels and batch * 4 <= facts.train_images
    ]
    return max([batch for batch in allowed if batch % hardware.chips == 0], default=max(2, hardware.chips))


def recommend(
    facts: Facts, base: Base, hardware: Hardware, *, minutes: float, speed: Speed | None, given: Mapping[str, Any]
) -> Recommendation:
    """All choices.

    Args:
      facts: of the data.
      base: the configuration to begin with.
      hardware: what trains.
      minutes: of training.
      speed: of the hardware; None if the steps are given.
      given: the user's own values by dotted key, which are not chosen again.
    """
    steps = given.get("trainer.train_steps")
    found = chosen_input(facts, base, hardware, minutes=minutes, speed=speed, given=given)
    batch = int(given.get("task.train_data.global_batch_size") or batch_of(facts, base, hardware, found.pixels))
    step_pixels, why = batch * found.pixels, "given"
    if steps is None:
        assert speed is not None
        steps, why = _steps(facts, batch, minutes=minutes, seconds=step_pixels / speed.pixels_per_second, speed=speed)
    epochs = steps * batch / facts.train_images
    views = FEW_VIEWS if facts.train_images < FEW_IMAGES else base.views
    views = max(1, min(views, math.ceil(epochs)))
    choices = [
        Choice(key="preprocess.image_size", value=list(found.size), why=f"Height and width. {_sentence(found.why)}"),
        Choice(
            key="preprocess.train_views",
            value=views,
            why=f"Random crops stored per image: {facts.train_images} images are seen {epochs:.3g} times each.",
        ),
        *_own_classes(base),
        *_network(facts, base, hardware),
        Choice(
            key="task.train_data.global_batch_size",
            value=batch,
            why=f"{base.name} has {base.batch}; limits are memory and time ({found.pixels / 1000:.0f} thousand pixels "
            f"per image), and a quarter of the {facts.train_images} images.",
        ),
        *_schedule(base, steps, batch, why),
        *mirror(facts),
        *_many(facts),
        *gate(facts),
    ]
    wanted = tuple(choice for choice in choices if choice.key not in given)
    return Recommendation(choices=wanted, lines=_lines(facts, base, found, wanted, steps, batch, views, why))


def chosen_input(
    facts: Facts, base: Base, hardware: Hardware, *, minutes: float, speed: Speed | None, given: Mapping[str, Any]
) -> Input:
    """The user's input, or the one for the data and the time; without a speed, whatever the time."""
    if size := given.get("preprocess.image_size"):
        return Input(size=(int(size[0]), int(size[1])), enough=True, why="given")
    most = hardware.batch_pixels / max(2, hardware.chips)
    if speed is not None:
        seconds = max(minutes * 60 - speed.start_seconds, 1)
        most = min(most, seconds * speed.pixels_per_second / (MIN_STEPS * max(2, hardware.chips)))
    return input_of(facts, base, most)


def _steps(facts: Facts, batch: int, *, minutes: float, seconds: float, speed: Speed) -> tuple[int, str]:
    """(steps, why). `seconds` is one step's time."""
    available = max(minutes * 60 - speed.start_seconds, 0) / seconds
    most = max(MIN_STEPS, math.ceil(EPOCHS * facts.train_images / batch))
    rate = f"{seconds:.2g} s per step, {speed.origin}"
    if available > most:
        steps, why = most, f"{minutes:g} minutes would be {_round(available)}, but {EPOCHS} passes are enough; {rate}"
    elif available < MIN_STEPS:
        longer = math.ceil((MIN_STEPS * seconds + speed.start_seconds) / 60)
        why = f"{minutes:g} minutes are too few: about {longer} are needed for {MIN_STEPS} steps; {rate}"
        steps = MIN_STEPS
    else:
        steps, why = int(available), f"{minutes:g} minutes at {rate}"
    return max(_round(steps), 20), why


def _round(steps: float) -> int:
    """A number that `_loop` divides."""
    return int(steps) // (2 * _loop(steps)) * 2 * _loop(steps)


def _loop(steps: float) -> int:
    return 50 if steps >= 500 else 10


def _schedule(base: Base, steps: int, batch: int, why: str) -> Iterator[Choice]:
    yield Choice(key="trainer.train_steps", value=steps, why=f"{_sentence(why)}")
    if steps == 0:
        return
    half = max(1, steps // 2)
    yield Choice(key="trainer.steps_per_loop", value=min(_loop(steps), steps), why="One row of history.jsonl per loop.")
    yield Choice(key="trainer.checkpoint_interval", value=max(1, min(half, 1000)), why="What a crash can lose.")
    yield Choice(key="trainer.validation_interval", value=half, why="Progress is measured twice.")
    optimizer = "trainer.optimizer_config"
    rate = base.learning_rate * math.sqrt(batch / base.batch)
    yield Choice(
        key=f"{optimizer}.learning_rate.cosine.initial_learning_rate",
        value=float(f"{rate:.2g}"),
        why=f"{base.name}'s {base.learning_rate:g}"
        + (f", times the square root of {batch} / {base.batch} images." if batch != base.batch else "."),
    )
    yield Choice(
        key=f"{optimizer}.learning_rate.cosine.decay_steps", value=steps, why="The rate falls until the last step."
    )
    if base.warmup > steps // 10:
        yield Choice(key=f"{optimizer}.warmup.linear.warmup_steps", value=max(1, steps // 10), why="A tenth.")
    if base.average_decay > (short := 1 - 5 / max(steps, 50)):
        decay = float(f"{max(short, 0.9):.3g}")
        yield Choice(
            key=f"{optimizer}.ema.average_decay", value=decay, why="The average covers the last fifth of the steps."
        )


def _own_classes(base: Base) -> Iterator[Choice]:
    if base.of_coco:
        yield Choice(key="preprocess.class_index", value="rank", why="Your own classes, not COCO's ids.")
        yield Choice(key="task.model.num_classes", value=0, why="As many as the data has.")


def _network(facts: Facts, base: Base, hardware: Hardware) -> Iterator[Choice]:
    count = f"{facts.train_images:,} images"
    if base.start:
        why = f"{base.network} for {hardware.name}; from {base.start_shown}: {count} teach it more than random weights."
    else:
        why = f"{base.network} for {hardware.name}; from random weights: {base.why_scratch}."
    yield Choice(key="task.init_checkpoint", value=base.start, why=why)


def _many(facts: Facts) -> Iterator[Choice]:
    if facts.most_objects > MANY:
        most = min(1000, math.ceil(facts.most_objects / 50) * 50)
        yield Choice(
            key="task.model.detection_generator.max_detections",
            value=most,
            why=f"One image has {facts.most_objects} objects. AP counts the best {MANY} detections of an image.",
        )


def _lines(
    facts: Facts, base: Base, found: Input, choices: tuple[Choice, ...], steps: int, batch: int, views: int, why: str
) -> dict[str, str]:
    value = {choice.key: choice.value for choice in choices}
    sides = mirrored(facts.classes)
    flips = f"no mirror images: {sides}" if sides else f"as in {base.name}; no class name forbids mirror images"
    start = f"from {base.start_shown}" if base.start else f"from scratch: {base.why_scratch}"
    judged = [f"{key} {value[f'gate.{key}']:g}" for key in ("min_delta", "min_support") if f"gate.{key}" in value]
    return {
        "input": f"{found.size[0]} x {found.size[1]}: {found.why}",
        "network": f"{base.network} ({base.name}), {start}",
        "training": f"{steps:,} steps of {batch} images, {views} views: {why}",
        "augmentation": flips,
        "gate": f"{', '.join(judged) or 'as given'} for {facts.val_images} validation images",
    }


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
