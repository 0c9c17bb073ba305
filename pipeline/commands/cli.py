"""`python -m pipeline`: run the graph on this machine, compile it, or run it on a pipeline service."""

import argparse
import sys

from beam_preprocess.base.errors import InputError
from pipeline.commands import compile, flags, run

EXAMPLES = """examples:
  python -m pipeline run                                  the demo, on generated data (3 minutes on 2 cores)
  python -m pipeline run --coco-dir /data/coco --config custom-small
  python -m pipeline run --train-images D --train-annotations F --val-images D --val-annotations F --seed 1
  python -m pipeline run --only-if-changed                ends in seconds when nothing is new
  python -m pipeline run --resume runs/latest             go on where a run stopped
  python -m pipeline compile                              write pipeline.yaml
  python -m pipeline compile --check                      is pipeline.yaml current?
  python -m pipeline compile --target vertex-tpu-v5e --output gs://my-bucket/templates/pipeline.yaml
  python -m pipeline submit --help                        run it on Vertex AI or on a Kubeflow Pipelines endpoint
  python -m pipeline schedule --help                      again and again
  python -m pipeline list --project P --region R          status, cancel, logs: look at what was submitted

exit codes: 0 done (promoted or held), 1 a stage failed (or pipeline.yaml is stale), 2 bad input or usage
"""


def main(argv: list[str] | None = None) -> int:
    """Parses, runs, and turns bad input into one line and exit code 2."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["run"]:
        return run.main(given[1:])
    if given[:1] == ["compile"]:
        return compile.main(given[1:])
    arguments = make_parser().parse_args(argv)
    try:
        from pipeline.commands.verbs import run_verb

        return run_verb(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m pipeline", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="{run,compile,submit,schedule,status,list,cancel,logs}"
    )

    verbs.add_parser("run", help="run the whole pipeline on this machine", add_help=False)
    verbs.add_parser("compile", help="write pipeline.yaml", add_help=False)
    flags.add_verbs(verbs)
    return parser
