"""Command line: `python -m beam_preprocess …`, and its verbs `check` and `inspect`."""

import argparse
import os
import sys
from collections.abc import Sequence

from beam_preprocess import check_cli, inspection
from beam_preprocess.base.errors import InputError
from beam_preprocess.flags import RULE, add_config_flags, check_preview, config_of, parser

_EPILOG = """\
examples:
  python -m beam_preprocess --images coco/train2017 --annotations coco/annotations/instances_train2017.json \\
      --split train --output records/train --views 8 --image-size 512 --num-workers 2
  python -m beam_preprocess --images coco/val2017 --annotations coco/annotations/instances_val2017.json \\
      --split val --output records/val --config trainer/configs/custom-small.yaml --preview 8
  python -m beam_preprocess --images gs://bucket/train2017 --annotations gs://bucket/instances_train2017.json \\
      --split train --output gs://bucket/records/train --runner DataflowRunner --project my-project \\
      --region us-central1 --temp_location gs://bucket/temp --max_num_workers 100 \\
      --sdk_container_image REGION-docker.pkg.dev/my-project/images/centernet:TAG
  python -m beam_preprocess check --help       the validation alone
  python -m beam_preprocess inspect --help     what a folder of records holds

All other options are Apache Beam's pipeline options. See docs/preprocessing.md.

"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, the process's own by default; returns the exit code."""
    own_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verbs = {"check": check_cli.run, "inspect": inspection.run}
    try:
        if arguments and arguments[0] in verbs:
            return verbs[arguments[0]](arguments[1:])
        if arguments and not arguments[0].startswith("-"):
            raise InputError(f"{arguments[0]}: no such verb; use {' or '.join(verbs)}, or flags alone; see --help")
        _preprocess(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, RuntimeError) as error:
        if not _is_interrupt(error):
            raise
        print("interrupted; the same command again does it all", file=sys.stderr, flush=True)
        if own_process:
            os._exit(1)  # Beam's threads are in the middle of their work: an orderly end would wait for it, or abort
        return 1
    return 0


def _is_interrupt(error: BaseException) -> bool:
    """Beam's runner makes a RuntimeError of a KeyboardInterrupt, with its name in front."""
    return isinstance(error, KeyboardInterrupt) or str(error).startswith("KeyboardInterrupt")


def _preprocess(arguments: Sequence[str]) -> None:
    command = parser("python -m beam_preprocess", "A COCO data set to TFRecords with centre targets.", _EPILOG + RULE)
    command.add_argument("--images", required=True, help="folder of the images, a path or URI")
    command.add_argument("--annotations", required=True, help="COCO annotation file, a path or URI")
    command.add_argument("--split", required=True, choices=("train", "val"), help="val: one plain view an image")
    command.add_argument("--output", required=True, help="folder for this split's records, a path or URI")
    add_config_flags(command)
    command.add_argument("--seed", type=int, default=0, help="of the random views (default 0)")
    command.add_argument(
        "--num-shards", type=_shards, default=None, metavar="N|auto", help="files per view (default auto: by images)"
    )
    command.add_argument(
        "--num-workers", type=int, default=1, help="local processes (default 1; more take 4 to 8 s to start)"
    )
    command.add_argument(
        "--num-threads", type=int, default=1, help="or threads: start at once, but more than 4 gain little (default 1)"
    )
    command.add_argument("--force", action="store_true", help="write the records again even if they are there")
    command.add_argument(
        "--preview",
        type=int,
        metavar="N",
        help="draw the views, heatmaps and boxes of N images into OUTPUT/preview.jpg",
    )
    flags, beam_flags = command.parse_known_args(arguments)
    config = config_of(flags)
    check_preview(flags.preview)

    from beam_preprocess.job.pipeline import preprocess  # Beam takes seconds to import: not for --help

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
        from beam_preprocess.preview import write_preview

        print(f"preview: {write_preview(flags.output, manifest, flags.preview)}")


def _shards(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number or auto")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
