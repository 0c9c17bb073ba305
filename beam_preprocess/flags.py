"""What the command lines of this package share: the rule about rejects, and the flags of a configuration."""

import argparse
import dataclasses
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.config import PreprocessConfig, from_mapping

RULE = """\
rejects:
  Every dropped, clipped or converted image or box is counted in manifest.json and has a line in rejects-*.jsonl.
  train: ends with an error when the share of dropped images, or separately of dropped boxes, is above
         --max-reject-fraction. val: ends with an error when any image is dropped, because the metric would be one
         of other data; dropped boxes are only counted (scores use the original annotation file).
exit codes: 0 done, 2 bad input or usage, 1 anything else
"""


MOST_PREVIEWED = 200
"""Images of a contact sheet: a JPEG has at most 65,535 rows."""


def check_preview(images: int | None) -> None:
    """Refuses a contact sheet that can't be drawn, before any work.

    Raises:
      InputError: no images, or too many.
    """
    if images is not None and not 1 <= images <= MOST_PREVIEWED:
        raise InputError(f"--preview {images}: use 1 to {MOST_PREVIEWED} images")


def parser(program: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser that keeps the epilog's lines."""
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation could swallow one of Beam's options
    )


def add_config_flags(command: argparse.ArgumentParser) -> None:
    """Adds --config and the flags that override it."""
    defaults = PreprocessConfig()
    command.add_argument("--config", help="YAML file; its preprocess: section is used, flags below override it")
    command.add_argument("--views", type=int, help=f"views a training image (default {defaults.train_views})")
    command.add_argument(
        "--image-size", type=int, nargs="+", metavar="PIXELS", help="one side, or height and width (default 512)"
    )
    command.add_argument("--stride", type=int, help=f"pixels a target cell (default {defaults.stride})")
    command.add_argument(
        "--target-variant",
        choices=("model-garden", "original"),
        help="whose definition of the heatmap (default model-garden)",
    )
    command.add_argument(
        "--class-index", choices=("rank", "id-minus-1"), help="how category ids become classes (default rank)"
    )
    command.add_argument(
        "--max-reject-fraction",
        type=float,
        help=f"largest dropped share of training images, and of boxes (default {defaults.max_reject_fraction})",
    )


def config_of(flags: argparse.Namespace) -> PreprocessConfig:
    """The configuration that the flags describe.

    Raises:
      InputError: the file can't be read, or a value is out of range.
    """
    config: PreprocessConfig = from_mapping(PreprocessConfig, "preprocess", _yaml_section(flags.config))
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


def _yaml_section(path: str | None) -> Any:
    if path is None:
        return None
    import yaml

    from beam_preprocess.base.storage import file_system, reason, refusals
    from beam_preprocess.base.yaml import FileLoader

    fs, place = file_system(path)
    try:
        content = yaml.load(fs.cat_file(place).decode("utf-8"), Loader=FileLoader)
    except refusals() as error:
        raise InputError(f"--config {path}: can't be read ({reason(error)}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: expected a mapping of sections; see trainer/configs")
    return content.get("preprocess")
