"""`centernet check`: validates a data set without writing records."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError
from beam_preprocess.flags import LIMITS, add_config_flags, config_of
from beam_preprocess.format.reasons import Reason

EXAMPLES = (
    "centernet check --images coco/val2017 --annotations coco/annotations/instances_val2017.json --split val",
    "centernet check --train-images photos --train-annotations train.json "
    "--val-images photos --val-annotations val.json",
    "centernet check --images photos --annotations train.json --split train --config custom-cpu --num-workers 2",
)


def parser() -> command.Parser:
    """The command's parser."""
    parser = command.parser(
        "check",
        "Validate a data set without writing records.",
        examples=EXAMPLES,
        notes=f"{LIMITS}exit codes: 0 within the limits (warnings or not), 1 above a reject limit, 2 bad input",
    )
    data = parser.add_argument_group("data", "Paths or URIs of one split, or of both.")
    data.add_argument("--images", metavar="URI", help="folder of images")
    data.add_argument("--annotations", metavar="URI", help="COCO annotation file")
    data.add_argument("--split", choices=("train", "val"), help="which limit applies to --images")
    for split, name in (("train", "training"), ("val", "validation")):
        data.add_argument(f"--{split}-images", metavar="URI", help=f"both splits at once: folder of {name} images")
        data.add_argument(
            f"--{split}-annotations", metavar="URI", help=f"both splits at once: COCO JSON of the {name} images"
        )
    add_config_flags(parser)
    options = parser.add_argument_group("run options")
    options.add_argument(
        "--headers-only", action="store_true", help="do not decode pixels: faster, but misses truncated images"
    )
    options.add_argument("--num-workers", type=int, default=1, help="threads that decode images (default 1)")
    options.add_argument("--strict", action="store_true", help="make warnings errors: exit code 2")
    options.add_argument("--json", action="store_true", help="print the whole report as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    sources = _sources(flags)
    if flags.num_workers < 1:
        raise InputError(f"--num-workers {flags.num_workers}: use 1 or more")
    config = config_of(flags)

    from beam_preprocess.dataset import warnings
    from beam_preprocess.dataset.check import examine  # imports OpenCV and Pillow

    depth: Any = "headers" if flags.headers_only else "pixels"
    report = examine(sources, config, depth=depth, num_workers=flags.num_workers)
    for split in sources:
        del report[split]["fingerprints"]  # for the comparison of the splits, and nobody reads them
    print(json.dumps(report, indent=1) if flags.json else reject_table(report, list(sources)))
    warnings.refuse([warnings.Finding(**found) for found in report["warnings"]], strict=flags.strict)
    return 1 if any(report[split]["over_limit"] for split in sources) else 0


def _sources(flags: argparse.Namespace) -> dict[str, tuple[str, str]]:
    one = (flags.images, flags.annotations, flags.split)
    both = (flags.train_images, flags.train_annotations, flags.val_images, flags.val_annotations)
    if all(one) and not any(both):
        return {flags.split: (flags.images, flags.annotations)}
    if all(both) and not any(one):
        return {"train": both[:2], "val": both[2:]}
    raise InputError(
        "check: give --images, --annotations and --split, or all of --train-images, --train-annotations, "
        "--val-images and --val-annotations; see --help"
    )


def reject_table(report: Mapping[str, Any], splits: Sequence[str]) -> str:
    """The report for people: per split, the rejects by reason, with examples."""
    lines = [f"{len(report['categories'])} categories, {report['num_classes']} heatmap channels"]
    for split in splits:
        part = report[split]
        sizes = ", ".join(f"{count} {name}" for name, count in part["size_histogram"].items())
        lines += [
            "",
            f"{split}: {part['images']} images, {part['objects']} objects ({sizes}), {part['crowds']} crowd regions, "
            f"data {part['data_digest'][:12]}",
        ]
        if part["sizes"]:
            lines.append(f"  {_sizes(part['sizes'])}")
        if part["depth"] != "pixels":
            lines.append(f"  read only the {part['depth']}, not the pixels; preprocessing decodes them")
        if part["rejects"]:
            lines.append(f"  {'reason':<30}{'count':>8}  {'share':>7}  action")
        for reason, count in part["rejects"].items():
            total = part["boxes"] if Reason(reason).of_box else part["images"]
            lines.append(f"  {reason:<30}{count:>8}  {count / total:>7.2%}  {Reason(reason).action}")
            lines.extend(f"      e.g. {example}" for example in part["examples"][reason])
        if not part["rejects"]:
            lines.append("  nothing to reject")
        lines.append(f"  over the limit: {part['over_limit']}" if part["over_limit"] else "  within the limits")
    if report["warnings"]:
        lines += ["", "warnings:", *(f"  - {found['message']}" for found in report["warnings"])]
    return "\n".join(lines)


def _sizes(sizes: Mapping[str, Any]) -> str:
    """How large the objects are at the network's input (`dataset.sizes.Sizes`)."""
    height, width = sizes["input_size"]
    quantiles, sides = " / ".join(sizes["sides"]), " / ".join(f"{side:.1f}" for side in sizes["sides"].values())
    text = (
        f"shorter side of objects at {height} x {width}: {sides} px (percentiles {quantiles}); "
        f"{sizes['below_cell'] / sizes['objects']:.1%} below one cell ({sizes['stride']} px); "
        f"{sizes['shared_cells']} centres in the cell of another object of their class"
    )
    if sizes["suggested"]:
        text += f"; input it would take: {sizes['suggested'][0]} x {sizes['suggested'][1]}"
    return text
