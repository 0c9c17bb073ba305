"""`centernet watch`: has what production sees moved away from what the champion was validated on?

Flags that this command does not know are Apache Beam's.
"""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError
from trainer.scoring.flags import add_input, add_machine, beam_arguments

EXIT_CODES = {"steady": 0, "drifted": 3, "too-few-images": 4}

EXAMPLES = (
    "centernet watch --images photos",
    "centernet watch --images photos --since 7d --output watched",
    "centernet watch --images photos --label 200",
    "centernet watch --images photos --model v0001 --coco-dir /data/coco",
    "centernet watch --images gs://bucket/photos --since 2026-11-01 --output gs://bucket/watched "
    "--registry vertex://my-project/us-central1/centernet --on dataflow --project my-project --region us-central1 "
    "--temp_location gs://bucket/temp --max_num_workers 20 "
    "--sdk_container_image us-docker.pkg.dev/my-project/images/centernet:TAG",
)

NOTES = """\
All other options are Apache Beam's pipeline options, as for `centernet score`. See docs/watch.md.
Output: watch.json, watch.html, to_label.json (the images to label first, with the model's detections, as a COCO file),
and scores/ with detections and statistics of all images. A killed run is resumed by the same command.

exit codes: 0 steady, 3 drifted, 4 too few images to tell, 2 bad input or usage, 1 anything else"""


def parser() -> command.Parser:
    """The command's parser; use `parse_known_args`, because unknown flags are Beam's."""
    made = command.parser(
        "watch",
        "Score new, unlabelled images by the champion, compare them with its profile, and say whether they moved:\n"
        "steady, drifted, or too few images to tell.",
        examples=EXAMPLES,
        notes=NOTES,
    )
    add_input(made)
    made.add_argument(
        "--since",
        default="",
        metavar="WHEN",
        help="only images whose files are newer than a date (2026-11-01), a time (UTC) or an age (7d, 12h)",
    )
    made.add_argument(
        "--output",
        default="",
        metavar="URI",
        help="folder for this watch (default: watch/VERSION-DIGEST, the same for the same images)",
    )
    made.add_argument(
        "--alpha", type=float, default=0.01, help="chance of a false alarm, over all statistics (default: %(default)s)"
    )
    made.add_argument("--permutations", type=int, default=9999, help="default: %(default)s")
    made.add_argument("--seed", type=int, default=0, help="of the permutations (default: %(default)s)")
    made.add_argument(
        "--label", type=int, default=50, metavar="N", help="maximum number of images to label (default: %(default)s)"
    )
    add_machine(made)
    data = made.add_argument_group("validation images, for a version without a profile")
    data.add_argument("--coco-dir", default="", metavar="URI", help="folder of the data set that it was validated on")
    data.add_argument("--val-images", default="", metavar="URI", help="or its folder of validation images")
    data.add_argument(
        "--val-annotations", default="", metavar="URI", help="and the COCO file that names them (default: all images)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags, beam_flags = parser().parse_known_args(arguments)
    codes: list[int] = []
    ended = command.ended(
        lambda: command.interruptible(
            lambda: codes.append(_watch(flags, beam_flags)),
            again="resume",
            own_process=command.is_this_process(arguments),
        )
    )
    return ended or codes[0]


def _watch(flags: argparse.Namespace, beam_flags: Sequence[str]) -> int:
    from beam_preprocess.base.files import exists
    from pipeline.graph.layouts import find_layout

    arguments = beam_arguments(flags, beam_flags)
    data = {"val_images": flags.val_images, "val_annotations": flags.val_annotations}
    if flags.coco_dir:
        if any(data.values()):
            raise InputError(f"--coco-dir {flags.coco_dir}: given together with --val-images or --val-annotations")
        found = find_layout(flags.coco_dir, exists, splits=False)
        data = {name: found[name] for name in data}
    elif flags.val_annotations and not flags.val_images:
        raise InputError(f"--val-annotations {flags.val_annotations}: give --val-images, too")

    from trainer.watch.run import watch  # imports Beam, which takes seconds

    result = watch(
        images=flags.images,
        output=flags.output,
        since=flags.since,
        model=flags.model,
        registry=flags.registry,
        alpha=flags.alpha,
        permutations=flags.permutations,
        seed=flags.seed,
        label=flags.label,
        batch_size=flags.batch_size,
        num_workers=flags.num_workers,
        num_threads=flags.num_threads,
        pipeline_args=arguments,
        **data,
    )
    return EXIT_CODES[result.verdict]


if __name__ == "__main__":
    sys.exit(main())
