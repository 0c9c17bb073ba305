"""Flags that the commands share: --config, --set and the overrides."""

from pathlib import Path
from typing import Any

import pytest

from beam_preprocess import flags
from beam_preprocess.base import config_text
from beam_preprocess.base.command import Parser
from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.config import PreprocessConfig


def config_of(*arguments: str) -> PreprocessConfig:
    command = Parser()
    flags.add_config_flags(command)
    return flags.config_of(command.parse_args(arguments))


def test_without_flags_the_defaults_hold() -> None:
    assert config_of() == PreprocessConfig()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--views", "3"], {"train_views": 3}),
        (["--image-size", "64"], {"image_size": (64, 64)}),
        (["--image_size", "64", "96"], {"image_size": (64, 96)}),
        (["--stride", "8"], {"stride": 8}),
        (["--target-variant", "original"], {"target_variant": "original"}),
        (["--class-index", "id-minus-1"], {"class_index": "id-minus-1"}),
        (["--max-reject-fraction", "0"], {"max_reject_fraction": 0.0}),
    ],
)
def test_flags_override_the_configuration(arguments: list[str], expected: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preprocess: {train_views: 2, jpeg_quality: 90}\ngate: {min_ap: 0.1}\n")
    wanted = PreprocessConfig(**{"train_views": 2, "jpeg_quality": 90, **expected})
    assert config_of("--config", str(path), *arguments) == wanted


def test_a_shipped_configuration_is_found_by_name() -> None:
    assert config_of("--config", "custom-small") == config_of("--config", "trainer/configs/custom-small.yaml")


def test_changes_are_applied_to_the_configuration_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def resolve(name: str, changes: Any) -> ConfigText:
        asked.append((name, list(changes)))
        return ConfigText(text="preprocess: {stride: 8}", where="demo with changes")

    monkeypatch.setattr(config_text, "resolve", resolve)
    given = ("--config", "demo", "--set", "preprocess.stride=8", "--set", "gate.min_ap=0")
    assert config_of(*given).stride == 8
    assert asked == [("demo", ["preprocess.stride=8", "gate.min_ap=0"])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-size", "1", "2", "3"], "--image-size .*: give one side, or height and width"),
        (["--stride", "7"], "preprocess.image_size"),
        (["--config", "nowhere.yaml"], "config nowhere.yaml: no such file"),
        (["--set", "preprocess.stride=8"], "--set preprocess.stride=8: .*; give --config too"),
    ],
)
def test_bad_values_are_input_errors(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_of(*arguments)


@pytest.mark.parametrize(("images", "allowed"), [(None, True), (1, True), (200, True), (0, False), (201, False)])
def test_a_contact_sheet_has_a_maximum_size(images: int | None, allowed: bool) -> None:
    if allowed:
        flags.check_preview(images)
    else:
        with pytest.raises(InputError, match=f"--preview {images}: use 1 to {flags.MAX_PREVIEW_IMAGES} images"):
            flags.check_preview(images)
