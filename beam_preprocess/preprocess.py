"""`centernet preprocess`: turns one split of a COCO data set into TFRecords with centre targets.

Flags that this command does not know are Apache Beam's.
"""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.flags import LIMITS, add_config_flags, check_preview, config_of

EXAMPLES = (
    "centernet preprocess --images coco/train2017 --annotations coco/annotations/instances_train2017.json "
    "--split train --output records/train --views 8 --image-size 512 --num-workers 2",
    "centernet preprocess --images photos --annotations val.json --split val --output records/val "
    "--config custom-cpu --preview 8",
    "centernet preprocess --images gs://bucket/train2017 --annotations gs://bucket/instances_train2017.json "
    "--split train --output gs://bucket/records/train --runner DataflowRunner --project my-project "
    "--region us-central1 --temp_location gs://bucket/temp --max_num_workers 100 "
    "--sdk_container_image us-docker.pkg.dev/my-project/images/centernet:TAG",
)

NOTES = f"""\
All other options are Apache Beam's pipeline options. See docs/preprocessing.md.
Every dropped, clipped or converted image or box is counted in manifest.json and listed in rejects-*.jsonl.

{LIMITS}exit codes: 0 done, 2 bad input or usage, 1 anything else"""


def parser() -> command.Parser:
    """The command's parser; use `parse_known_args`, because unknown flags are Beam's."""
    parser = command.parser(
        "preprocess",
        "Turn one split of a COCO data set into TFRecords with centre targets.",
        examples=EXAMPLES,
        notes=NOTES,
    )
    data = parser.add_argument_group("data", "Paths or URIs.")
    data.add_argument("--images", required=True, help="folder of images")
    data.add_argument("--annotations", required=True, help="COCO annotation file")
    data.add_argument(
        "--split", required=True, choices=("train", "val"), help="val: one view per image, without random crops"
    )
    data.add_argument("--output", required=True, help="folder for the records of this split")
    add_config_flags(parser)
    options = parser.add_argument_group("run options")
    options.add_argument("--seed", type=int, default=0, help="seed of the random crops (default 0)")
    options.add_argument(
        "--num-shards",
        type=_shards,
        metavar="N|auto",
        help="files per view (default auto: depends on the number of images)",
    )
    options.add_argument(
        "--num-workers",
        type=int,
        help="local processes, which take 3 to 8 s to start (default: as many as cores and memory allow, if the data "
        "is large enough for that to pay; the first line of output says from where on)",
    )
    options.add_argument(
        "--num-threads",
        type=int,
        help="threads, instead of processes: they start at once, but more than 4 gain little (default, for smaller "
        "data: the cores, at most 4)",
    )
    options.add_argument("--force", action="store_true", help="write the records again even if they are up to date")
    options.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="draw the views, heatmaps and boxes of N images into OUTPUT/preview.jpg",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags, beam_flags = parser().parse_known_args(arguments)
    own_process = command.is_this_process(arguments)
    return command.ended(
        lambda: command.interruptible(
            lambda: _preprocess(flags, beam_flags), again="start over", own_process=own_process
        )
    )


def _preprocess(flags: argparse.Namespace, beam_flags: Sequence[str]) -> None:
    config = config_of(flags)
    check_preview(flags.preview)

    from beam_preprocess.job.pipeline import preprocess  # imports Beam, which takes seconds

    manifest = preprocess(
        images=flags.images,
        annotations=flags.annotations,
        split=flags.split,
        output=flags.output,
        config=config,
        seed=flags.seed,
        num_shards=flags.num_shards,
        num_workers=flags.num_workers,
        num_threads=flags.num_threads,
        pipeline_args=beam_flags,
        force=flags.force,
    )
    if flags.preview:
        from beam_preprocess.inspection.contact_sheet import write_contact_sheet

        print(f"preview: {write_contact_sheet(flags.output, manifest, flags.preview)}")


def _shards(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number or auto")
    return int(text)
