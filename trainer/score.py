"""`centernet score`: a model's detections on many images, on this machine or on Dataflow.

Flags that this command does not know are Apache Beam's.
"""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command
from trainer.scoring.flags import add_input, add_machine, beam_arguments

EXAMPLES = (
    "centernet score --images photos --output scored",
    "centernet score --images photos --output scored --model registry/versions/v0001 --format jsonl --threshold 0",
    "centernet score --images gs://bucket/photos --output gs://bucket/scored --model gs://bucket/saved_model "
    "--on dataflow --project my-project --region us-central1 --temp_location gs://bucket/temp "
    "--max_num_workers 100 --sdk_container_image us-docker.pkg.dev/my-project/images/centernet:TAG",
)

NOTES = """\
All other options are Apache Beam's pipeline options, as for `centernet preprocess`. See docs/serving.md.
An image that can't be used is counted in manifest.json and listed in rejects-*.jsonl with its reason.
A killed run is resumed by the same command. The same images, model and settings give the same bytes on any number of
workers.

exit codes: 0 done, 2 bad input or usage, also if no image can be scored, 1 anything else"""


def parser() -> command.Parser:
    """The command's parser; use `parse_known_args`, because unknown flags are Beam's."""
    made = command.parser(
        "score", "Write a model's detections on many images as COCO results or JSONL.", examples=EXAMPLES, notes=NOTES
    )
    add_input(made)
    made.add_argument("--output", required=True, metavar="URI", help="folder for the results of this run")
    made.add_argument(
        "--format",
        choices=("coco", "jsonl"),
        default="coco",
        help="coco: lists of results, and the images' ids and names in images-*.jsonl; jsonl: one line per image "
        "(default: %(default)s)",
    )
    made.add_argument(
        "--threshold",
        type=float,
        help="minimum score written; 0 writes every detection (default: each class's in the model's serving.json, "
        "else the export's)",
    )
    add_machine(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags, beam_flags = parser().parse_known_args(arguments)
    own_process = command.is_this_process(arguments)
    return command.ended(
        lambda: command.interruptible(lambda: _score(flags, beam_flags), again="resume", own_process=own_process)
    )


def _score(flags: argparse.Namespace, beam_flags: Sequence[str]) -> None:
    beam_flags = beam_arguments(flags, beam_flags)

    from trainer.registry.named import find_model

    model = find_model(flags.model, flags.registry)

    from trainer.scoring.run import score  # imports Beam, which takes seconds

    score(
        model=model.folder,
        version=model.version,
        images=flags.images,
        output=flags.output,
        form=flags.format,
        threshold=flags.threshold,
        batch_size=flags.batch_size,
        num_workers=flags.num_workers,
        num_threads=flags.num_threads,
        pipeline_args=beam_flags,
    )


if __name__ == "__main__":
    sys.exit(main())
