"""Flags that several commands of this package share, and their checks. Imports nothing heavy."""

import argparse
import dataclasses
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.config import PreprocessConfig, from_mapping

LIMITS = """\
reject limits:
  train: an error if the fraction of dropped images, or separately of dropped boxes, is above --max-reject-fraction
  val: an error if an image is dropped or an annotation cannot be scored; other dropped boxes are only counted

"""
"""When rejects end a run, for the end of a command's help."""

MAX_PREVIEW_IMAGES = 200
"""Maximum number of rows of a contact sheet: a JPEG has at most 65,535 rows of pixels."""


def add_config_flags(command: argparse.ArgumentParser) -> None:
    """Adds --config and --set, and the flags that override single keys of the `preprocess:` section."""
    defaults = PreprocessConfig()
    group = command.add_argument_group("configuration", "The flags below --set override the configuration.")
    group.add_argument(
        "--config", metavar="NAME|PATH", help="shipped configuration or YAML file; only its preprocess: section is used"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of --config, such as preprocess.stride=8 (repeatable)",
    )
    group.add_argument("--views", type=int, help=f"views per training image (default {defaults.train_views})")
    group.add_argument(
        "--image-size", type=int, nargs="+", metavar="PIXELS", help="one side, or height and width (default 512)"
    )
    group.add_argument("--stride", type=int, help=f"input pixels per heatmap cell (default {defaults.stride})")
    group.add_argument(
        "--target-variant",
        choices=("model-garden", "original"),
        help="definition of the heatmap (default model-garden)",
    )
    group.add_argument(
        "--class-index",
        choices=("rank", "id-minus-1"),
        help="how category ids map to class indices (default rank)",
    )
    group.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="FRACTION",
        help="maximum fraction of training images, and separately of boxes, that may be dropped "
        f"(default {defaults.max_reject_fraction})",
    )


def config_of(flags: argparse.Namespace) -> PreprocessConfig:
    """The configuration that the flags describe.

    Raises:
      InputError: the configuration cannot be read, or a value is out of range.
    """
    config = from_mapping(PreprocessConfig, "preprocess", _preprocess_section(flags))
    overrides: dict[str, Any] = {
        "train_views": flags.views,
        "stride": flags.stride,
        "target_variant": flags.target_variant,
        "class_index": flags.class_index,
        "max_reject_fraction": flags.max_reject_fraction,
    }
    if flags.image_size:
        if len(flags.image_size) > 2:
            raise InputError(f"--image-size {flags.image_size}: give one side, or height and width")
        overrides["image_size"] = (flags.image_size[0], flags.image_size[-1])
    return dataclasses.replace(config, **{key: value for key, value in overrides.items() if value is not None})


def _preprocess_section(flags: argparse.Namespace) -> Any:
    if flags.config is None:
        if flags.set:
            raise InputError(f"--set {flags.set[0]}: changes the configuration of --config; give --config too")
        return None
    from beam_preprocess.base import yaml
    from beam_preprocess.base.config_text import resolve  # not for help: it loads PyYAML

    config = resolve(flags.config, flags.set)
    content = yaml.load(config.text, config.where)
    if not isinstance(content, dict):
        raise InputError(f"{config.where}: expected a mapping of sections; see trainer/configs")
    return content.get("preprocess")


def check_preview(images: int | None) -> None:
    """Refuses a contact sheet that cannot be drawn, before any work.

    Raises:
      InputError: no images, or too many.
    """
    if images is not None and not 1 <= images <= MAX_PREVIEW_IMAGES:
        raise InputError(f"--preview {images}: use 1 to {MAX_PREVIEW_IMAGES} images")
