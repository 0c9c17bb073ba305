"""Command line: `python -m beam_preprocess …` and `python -m beam_preprocess check …`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from beam_preprocess.config import PreprocessConfig, from_mapping
from beam_preprocess.errors import InputError

_RULE = """\
rejects:
  Every dropped, clipped or converted image or box is counted in manifest.json and has a line in rejects-*.jsonl.
  train: ends with an error when the share of dropped images, or separately of dropped boxes, is above
         --max-reject-fraction. val: ends with an error when any image is dropped, because the metric would be one
         of other data; dropped boxes are only counted (scores use the original annotation file).
exit codes: 0 done, 2 bad input or usage, 1 anything else
"""

_EPILOG = """\
examples:
  python -m beam_preprocess --images coco/train2017 --annotations coco/annotations/instances_train2017.json \\
      --split train --output records/train --views 8 --image-size 512 --num-workers 2
  python -m beam_preprocess --images coco/val2017 --annotations coco/annotations/instances_val2017.json \\
      --split val --output records/val --config trainer/configs/custom-small.yaml
  python -m beam_preprocess check --help

All other options are Apache Beam's pipeline options.

"""

_CHECK_EPILOG = """\
example:
  python -m beam_preprocess check --train-images coco/train2017 --val-images coco/val2017 \\
      --train-annotations coco/annotations/instances_train2017.json \\
      --val-annotations coco/annotations/instances_val2017.json

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["check"]:
            _check(arguments[1:])
        else:
            _preprocess(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _preprocess(arguments: Sequence[str]) -> None:
    parser = _parser("python -m beam_preprocess", "A COCO data set to TFRecords with centre targets.", _EPILOG)
    parser.add_argument("--images", required=True, help="folder of the images, a path or URI")
    parser.add_argument("--annotations", required=True, help="COCO annotation file, a path or URI")
    parser.add_argument("--split", required=True, choices=("train", "val"), help="val: one plain view an image")
    parser.add_argument("--output", required=True, help="folder for this split's records, a path or URI")
    _add_config_flags(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the random views (default 0)")
    parser.add_argument(
        "--num-shards", type=_shards, default=None, metavar="N|auto", help="files per view (default auto: by images)"
    )
    parser.add_argument(
        "--num-workers", type=int, default=1, help="local processes (default 1; more take 4 to 8 s to start)"
    )
    flags, beam_flags = parser.parse_known_args(arguments)
    config = _config(flags)

    from beam_preprocess.pipeline import preprocess  # Beam takes seconds to import: not for --help

    preprocess(
        images=flags.images,
        annotations=flags.annotations,
        split=flags.split,
        output=flags.output,
        config=config,
        seed=flags.seed,
        num_shards=flags.num_shards,
        num_workers=flags.num_workers,
        pipeline_args=beam_flags,
    )


def _check(arguments: Sequence[str]) -> None:
    parser = _parser("python -m beam_preprocess check", "Validates a data set without writing records.", _CHECK_EPILOG)
    for split in ("train", "val"):
        parser.add_argument(f"--{split}-images", required=True, help="folder of the images, a path or URI")
        parser.add_argument(f"--{split}-annotations", required=True, help="COCO annotation file, a path or URI")
    _add_config_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
    flags = parser.parse_args(arguments)

    from beam_preprocess.check import check_data  # OpenCV and Pillow: not for --help

    report = check_data(
        train_images=flags.train_images,
        train_annotations=flags.train_annotations,
        val_images=flags.val_images,
        val_annotations=flags.val_annotations,
        config=_config(flags),
    )
    print(json.dumps(report, indent=1) if flags.json else _table(report))


def _parser(program: str, description: str, epilog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog + _RULE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation could swallow one of Beam's options
    )


def _add_config_flags(parser: argparse.ArgumentParser) -> None:
    defaults = PreprocessConfig()
    parser.add_argument("--config", help="YAML file; its preprocess: section is used, flags below override it")
    parser.add_argument("--views", type=int, help=f"views a training image (default {defaults.train_views})")
    parser.add_argument(
        "--image-size", type=int, nargs="+", metavar="PIXELS", help="one side, or height and width (default 512)"
    )
    parser.add_argument("--stride", type=int, help=f"pixels a target cell (default {defaults.stride})")
    parser.add_argument(
        "--class-index", choices=("rank", "id-minus-1"), help="how category ids become classes (default rank)"
    )
    parser.add_argument(
        "--max-reject-fraction",
        type=float,
        help=f"largest dropped share of training images, and of boxes (default {defaults.max_reject_fraction})",
    )


def _shards(text: str) -> int | None:
    return None if text == "auto" else int(text)


def _config(flags: argparse.Namespace) -> PreprocessConfig:
    config: PreprocessConfig = from_mapping(PreprocessConfig, "preprocess", _yaml_section(flags.config))
    overrides: dict[str, Any] = {
        "train_views": flags.views,
        "stride": flags.stride,
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
    import fsspec
    import yaml

    try:
        with fsspec.open(path, "r", encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise InputError(f"--config {path}: can't be read ({error.strerror or error}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"--config {path}: expected a mapping of sections; see trainer/configs")
    return content.get("preprocess")


def _table(report: dict[str, Any]) -> str:
    lines = [f"{len(report['categories'])} categories, {report['num_classes']} heatmap channels"]
    for split in ("train", "val"):
        part = report[split]
        sizes = ", ".join(f"{count} {name}" for name, count in part["size_histogram"].items())
        lines.append(
            f"{split}: {part['images']} images, {part['objects']} objects ({sizes}), {part['crowds']} crowd regions, "
            f"data {part['data_digest'][:12]}"
        )
        if not part["headers_read"]:
            lines.append("  image headers not read: the folder is not local; the preprocessing checks them")
        for reason, count in part["rejects"].items():
            lines.append(f"  {reason:<30}{count:>8}")
            lines.extend(f"    e.g. {example}" for example in part["examples"][reason])
        if not part["rejects"]:
            lines.append("  nothing to reject")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
