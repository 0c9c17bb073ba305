"""`centernet init`: a configuration written from the data."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError
from pipeline.commands.flags import SCRATCH, add_data

DESCRIPTION = """Look at a data set and print a configuration for it, with a comment for every choice: input, network,
initial weights, steps, batch, views, augmentation, gate. centernet run without --config uses the same."""
EXAMPLES = (
    "centernet init --coco-dir /data/coco > my.yaml",
    "centernet init --coco-dir /data/coco --minutes 30 --init scratch > my.yaml",
    "centernet init --coco-dir gs://my-bucket/coco --hardware gpu:a100 --minutes 120 > my.yaml",
    "centernet init --train-images D --train-annotations F --val-fraction 0.2 > my.yaml",
)
NOTES = """Then: centernet run --coco-dir /data/coco --config my.yaml. With --hardware cpu, the speed of this machine is
measured for ten seconds; speeds of GPUs and TPUs are assumed.

exit codes: 0 done, 2 bad input or usage"""


def parser() -> command.Parser:
    """The command's flags."""
    from pipeline.recommend.hardware import CPU, KNOWN

    made = command.parser("init", DESCRIPTION, examples=EXAMPLES, notes=NOTES)
    add_data(made.add_argument_group("data (COCO format)"))
    options = made.add_argument_group("training options")
    options.add_argument(
        "--hardware", default=CPU.name, metavar="NAME", help=f"{', '.join(KNOWN)}; default: %(default)s"
    )
    options.add_argument(
        "--minutes", type=float, default=10.0, metavar="M", help="length of the training; default: %(default)s"
    )
    options.add_argument(
        "--init", metavar="NAME", help="weights to start from, or scratch; default: what fits the hardware"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: see `NOTES`."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.dataset.check import examine_annotations
    from beam_preprocess.dataset.warnings import block
    from pipeline.graph.request import DATA, RunRequest
    from pipeline.local.prepare import located, split
    from pipeline.preflight.data import SPLITS, check_data, exists_in_bucket
    from pipeline.preflight.weights import check_name
    from pipeline.recommend.hardware import find
    from pipeline.recommend.write import before_data, write

    hardware = find(flags.hardware)
    given = {name: getattr(flags, name) for name in (*DATA, "coco_dir", "val_fraction")}
    request = RunRequest(**{name: value for name, value in given.items() if value is not None})
    if not request.data():
        raise InputError("--coco-dir: not given; give it, or the four data flags")
    changes = []
    if flags.init is not None:
        changes.append(f"task.init_checkpoint={json.dumps('' if flags.init == SCRATCH else flags.init)}")
    made_with = before_data(hardware, flags.minutes, changes)
    check_name(made_with, made_with.where)
    with tempfile.TemporaryDirectory(prefix="centernet-init-") as folder:
        remote = any("://" in value for value in given.values() if isinstance(value, str))
        data: Mapping[str, str] = request.located(exists_in_bucket).data() if remote else located(request)
        if request.val_fraction:
            data = split(data, request.val_fraction, folder, out=sys.stderr)
        if remote:  # the image folders are not listed
            sources = {name: (data[f"{name}_images"], data[f"{name}_annotations"]) for name in SPLITS}
            parsed, _, _, findings = examine_annotations(sources, made_with.preprocess)
            warnings: Sequence[str] = [finding.message for finding in findings]
        else:
            checked = check_data(data, made_with.preprocess)
            parsed, warnings = dict(checked.parsed), checked.warnings
    if warnings:
        print(block(warnings), file=sys.stderr)
    written = write(parsed, data["train_images"], hardware=hardware, minutes=flags.minutes, changes=changes)
    for title, line in written.lines.items():
        print(f"{title:<20} {line}", file=sys.stderr)
    print(written.file(), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
