"""From facts to choices, on annotation files of several kinds of data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.recommend import hardware, rules, speed
from pipeline.recommend.base import base_of
from pipeline.recommend.choices import Speed
from pipeline.recommend.judging import mirrored
from pipeline.recommend.network_input import MIN_STEPS
from pipeline.recommend.rules import recommend
from tests.pipeline.recommend.made_data import facts_of

TWO_CORES = Speed(pixels_per_second=1.06e6, start_seconds=20.0, origin="measured here")
"""600 steps of 8 images of 192 x 192 in 167 s."""


def chosen(data: str, folder: Path, machine: str = "cpu", minutes: float = 10, **given: Any) -> dict[str, Any]:
    """The values by dotted key."""
    one = hardware.find(machine)
    base = base_of(one)
    pace = speed.stated(one, base.kind) if one.peak else TWO_CORES
    made = recommend(facts_of(data, folder), base, one, minutes=minutes, speed=pace, given=given)
    assert list(made.lines) == ["input", "network", "training", "augmentation", "gate"]
    assert all(choice.why.endswith(".") for choice in made.choices)
    return {choice.key: choice.value for choice in made.choices}


SIZE, VIEWS, BATCH, STEPS = (
    "preprocess.image_size",
    "preprocess.train_views",
    "task.train_data.global_batch_size",
    "trainer.train_steps",
)
RATE = "trainer.optimizer_config.learning_rate.cosine.initial_learning_rate"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("photographs", {SIZE: [160, 224], BATCH: 8, VIEWS: 16, STEPS: 2100, "gate.min_delta": -0.08}),
        ("cards", {SIZE: [224, 160], BATCH: 8, VIEWS: 16, STEPS: 2100, "gate.min_delta": -0.085}),
        ("tiny dense", {SIZE: [448, 1792], BATCH: 2, VIEWS: 16, STEPS: 380, RATE: 0.001, "gate.min_support": 100}),
        ("80 classes", {SIZE: [160, 224], BATCH: 8, STEPS: 2100, "gate.min_support": 20, "gate.max_class_drop": 0.25}),
        ("one class", {SIZE: [160, 224], "gate.min_support": 100, "gate.max_class_drop": 0.11}),
        ("12 images", {BATCH: 2, VIEWS: 16, STEPS: 1200, "gate.min_delta": -0.3, "gate.min_support": 10}),
        ("both orientations", {SIZE: [192, 192]}),
        ("crowded", {"task.model.detection_generator.max_detections": 200}),
        ("large validation", {"gate.min_delta": -0.01, "gate.min_support": 100}),
        ("arrows", {"task.augmentation.flip": False, "export.flip": False}),
        ("digits", {"task.augmentation.flip": False, "export.flip": False}),
    ],
)
def test_choices_for_two_cores_and_ten_minutes(data: str, wanted: dict[str, Any], tmp_path: Path) -> None:
    found = chosen(data, tmp_path)
    assert {key: found.get(key) for key in wanted} == wanted
    assert ("task.augmentation.flip" in found) == ("task.augmentation.flip" in wanted)
    assert found["task.init_checkpoint"] == "efficientnet-lite0"


def test_too_little_time_keeps_what_the_objects_need(tmp_path: Path) -> None:
    """Objects that share a cell are lost at any number of steps; the sentence says how long it takes."""
    facts, base = facts_of("tiny dense", tmp_path), base_of(hardware.CPU)
    made = recommend(facts, base, hardware.CPU, minutes=1, speed=TWO_CORES, given={})
    values = {choice.key: choice.value for choice in made.choices}
    assert values[STEPS] == MIN_STEPS
    height, width = values[SIZE]
    below, shared = facts.objects.counts((height, width))
    assert below <= 0.1 * len(facts.objects) and shared <= 0.01 * len(facts.objects)
    assert "1 minutes are too few: about" in made.lines["training"]


def test_objects_below_a_cell_at_any_input_ask_for_tiles(tmp_path: Path) -> None:
    made = recommend(
        facts_of("too small for any input", tmp_path),
        base_of(hardware.CPU),
        hardware.CPU,
        minutes=10,
        speed=TWO_CORES,
        given={},
    )
    assert "into tiles" in made.lines["input"]


@pytest.mark.parametrize(
    ("machine", "multiple", "chips"), [("gpu:a100", 32, 1), ("gpu:t4", 32, 1), ("tpu:v5e", 128, 8)]
)
def test_other_hardware(machine: str, multiple: int, chips: int, tmp_path: Path) -> None:
    found = chosen("80 classes", tmp_path, machine, minutes=60)
    assert all(side % multiple == 0 and side >= 384 for side in found[SIZE])
    assert found[BATCH] % chips == 0 and found[BATCH] >= 8
    assert (found.get("preprocess.class_index") == "rank") == machine.startswith("tpu")


@pytest.mark.parametrize(
    ("machine", "images", "minutes", "large"),
    [
        ("gpu:a100", 20_000, 2000, True),
        ("gpu:a100", 20_000, 60, False),
        ("gpu:a100", 300, 2000, False),
        ("cpu", 20_000, 40_000, False),
    ],
)
def test_the_large_network_needs_images_and_time(
    machine: str, images: int, minutes: float, large: bool, tmp_path: Path
) -> None:
    facts, one = replace(facts_of("one class", tmp_path), train_images=images), hardware.find(machine)
    assert rules.wants_large(facts, one, minutes) == large
    if large:
        assert base_of(one, large=True).kind == "hourglass"


def test_what_the_user_gives_is_not_chosen(tmp_path: Path) -> None:
    facts, base = facts_of("photographs", tmp_path), base_of(hardware.CPU)
    given = {STEPS: 77, SIZE: [64, 96], BATCH: 4, "gate.min_ap": 0.9}
    made = recommend(facts, base, hardware.CPU, minutes=10, speed=None, given=given)
    values = {choice.key: choice.value for choice in made.choices}
    assert not given.keys() & values.keys()
    assert values["trainer.optimizer_config.learning_rate.cosine.decay_steps"] == 77
    assert made.lines["input"].startswith("64 x 96") and made.lines["training"].startswith("77 steps of 4 images")


@pytest.mark.parametrize(
    ("classes", "part"),
    [
        (("cat", "dog"), ""),
        (("copyright", "leftover", "texture"), ""),
        (("hand-left", "hand-right"), "hand-left, hand-right"),
        (("Turn Right", "stop"), "Turn Right"),
        (("number plate", "car"), "number plate"),
        (("A", "B", "C", "D"), "A, B, C"),
    ],
)
def test_mirrors(classes: tuple[str, ...], part: str) -> None:
    assert part in mirrored(classes) and bool(mirrored(classes)) == bool(part)


def test_from_scratch_has_its_own_base() -> None:
    assert base_of(hardware.CPU).name == "custom-cpu"
    assert base_of(hardware.CPU, "").name == "custom-small"
    with pytest.raises(InputError, match="did you mean efficientnet-lite0"):
        base_of(hardware.CPU, "efficientnet-lite")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gpu:a10", "gpu:a100"), ("a100", "gpu:a100"), ("abacus", "use one of cpu"), ("gpu", "which one")],
)
def test_unknown_hardware(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        hardware.find(name)


@pytest.mark.parametrize(("busy", "seconds"), [(False, 0.5), (True, 0.2)])
def test_a_busy_machine_is_judged_by_its_cpu_time(busy: bool, seconds: float) -> None:
    trial = {"seconds": 0.5, "cpu_seconds": 0.36, "start_seconds": 30.0, "start_cpu_seconds": 20.0, "busy": busy}
    found = speed.speed_of(trial, 1000, 2)
    assert found.pixels_per_second == pytest.approx(1000 / seconds)
    assert ("others use it" in found.origin) == busy
