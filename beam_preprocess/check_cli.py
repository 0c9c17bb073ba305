"""`python -m beam_preprocess check`: the validation alone."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.flags import RULE, add_config_flags, config_of, parser
from beam_preprocess.format.reasons import Reason

_EPILOG = """\
examples:
  python -m beam_preprocess check --images coco/val2017 --annotations coco/annotations/instances_val2017.json \\
      --split val --num-workers 2
  python -m beam_preprocess check --train-images coco/train2017 --val-images coco/val2017 \\
      --train-annotations coco/annotations/instances_train2017.json \\
      --val-annotations coco/annotations/instances_val2017.json

exit codes of check: 0 within the limits, 1 a reject limit is passed, 2 a file or a folder that can't be used

"""


def run(arguments: Sequence[str]) -> int:
    """Prints the report; returns the exit code."""
    command = parser("python -m beam_preprocess check", "Validates a data set without writing records.", _EPILOG + RULE)
    command.add_argument("--images", help="folder of the images, a path or URI")
    command.add_argument("--annotations", help="COCO annotation file, a path or URI")
    command.add_argument("--split", choices=("train", "val"), help="which limit applies to --images")
    for split in ("train", "val"):
        command.add_argument(f"--{split}-images", help=f"both splits at once: images of {split}")
        command.add_argument(f"--{split}-annotations", help=f"both splits at once: annotations of {split}")
    add_config_flags(command)
    command.add_argument(
        "--headers-only", action="store_true", help="don't decode pixels: faster, but finds no truncated image"
    )
    command.add_argument("--num-workers", type=int, default=1, help="threads that decode (default 1)")
    command.add_argument("--json", action="store_true", help="print the whole report as JSON")
    flags = command.parse_args(arguments)
    sources = _sources(flags)
    if flags.num_workers < 1:
        raise InputError(f"--num-workers {flags.num_workers}: use 1 or more")

    from beam_preprocess.dataset.check import examine  # OpenCV and Pillow: not for --help

    depth: Any = "headers" if flags.headers_only else "pixels"
    report = examine(sources, config_of(flags), depth=depth, num_workers=flags.num_workers)
    print(json.dumps(report, indent=1) if flags.json else table(report, list(sources)))
    return 1 if any(report[split]["over_limit"] for split in sources) else 0


def _sources(flags: argparse.Namespace) -> dict[str, tuple[str, str]]:
    one = (flags.images, flags.annotations, flags.split)
    two = (flags.train_images, flags.train_annotations, flags.val_images, flags.val_annotations)
    if all(one) and not any(two):
        return {flags.split: (flags.images, flags.annotations)}
    if all(two) and not any(one):
        return {"train": two[:2], "val": two[2:]}
    raise InputError(
        "check: give --images, --annotations and --split, or all of --train-images, --train-annotations, "
        "--val-images and --val-annotations; see --help"
    )


def table(report: Mapping[str, Any], splits: Sequence[str]) -> str:
    """The report for people: a table by reason, with examples."""
    lines = [f"{len(report['categories'])} categories, {report['num_classes']} heatmap channels"]
    for split in splits:
        part = report[split]
        sizes = ", ".join(f"{count} {name}" for name, count in part["size_histogram"].items())
        lines += [
            "",
            f"{split}: {part['images']} images, {part['objects']} objects ({sizes}), {part['crowds']} crowd regions, "
            f"data {part['data_digest'][:12]}",
        ]
        if part["depth"] != "pixels":
            lines.append(f"  pixels not decoded (only {part['depth']} looked at): the preprocessing does")
        if part["rejects"]:
            lines.append(f"  {'reason':<30}{'count':>8}  {'share':>7}  action")
        for reason, count in part["rejects"].items():
            total = part["boxes"] if Reason(reason).of_box else part["images"]
            lines.append(f"  {reason:<30}{count:>8}  {count / total:>7.2%}  {Reason(reason).action}")
            lines.extend(f"      e.g. {example}" for example in part["examples"][reason])
        if not part["rejects"]:
            lines.append("  nothing to reject")
        lines.append(f"  over the limit: {part['over_limit']}" if part["over_limit"] else "  within the limits")
    return "\n".join(lines)
