"""`python -m pipeline`: run the graph on this machine, compile it, or run it on a pipeline service."""

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

from beam_preprocess.base.errors import InputError
from pipeline.commands import flags
from pipeline.graph.targets import TARGETS
from pipeline.local.run import RunOptions, run

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
    arguments = make_parser().parse_args(argv)
    try:
        if arguments.verb == "compile":
            return _compile(arguments)
        if arguments.verb in flags.VERBS:
            from pipeline.commands.verbs import run_verb

            return run_verb(arguments)
        given = vars(arguments)
        return run(RunOptions(**{f.name: given[f.name] for f in fields(RunOptions)}))
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

    runner = verbs.add_parser(
        "run",
        help="run the whole pipeline on this machine",
        description="Run the whole pipeline on this machine, through kfp's local runner.\n"
        "Without data flags it generates the demo data set and runs on that.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    defaults = RunOptions()
    data = runner.add_argument_group("data (COCO format)")
    for split in ("train", "val"):
        data.add_argument(f"--{split}-images", default="", metavar="DIR", help=f"folder of the {split} images")
        data.add_argument(f"--{split}-annotations", default="", metavar="FILE", help=f"COCO JSON of the {split} images")
    data.add_argument(
        "--coco-dir",
        default="",
        metavar="DIR",
        help="instead of the four: annotations/instances_{train,val}2017.json, train2017/, val2017/",
    )
    data.add_argument(
        "--demo-data-dir", default=defaults.demo_data_dir, metavar="DIR", help="of the demo; default: %(default)s"
    )
    runner.add_argument(
        "--config",
        default="",
        metavar="YAML",
        help="a file, or the name of one in trainer/configs; default: demo for the demo, custom-small for own data",
    )
    runner.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="F",
        help="share of training images that may be rejected; default: the config's (0.01)",
    )
    runner.add_argument("--seed", type=int, default=0, help="of views, weights and order; default: %(default)s")
    runner.add_argument(
        "--registry", default=defaults.registry, metavar="DIR", help="versions and champion; default: %(default)s"
    )
    runner.add_argument(
        "--runs-dir", default=defaults.runs_dir, metavar="DIR", help="parent of the run's folder; default: %(default)s"
    )
    runner.add_argument(
        "--resume", default="", metavar="RUN", help="folder of an earlier run; all other flags but -v are that run's"
    )
    runner.add_argument(
        "--only-if-changed",
        action="store_true",
        help="end after the data check if data, config, seed and image are the last completed run's (of this registry)",
    )
    runner.add_argument(
        "--no-cache",
        action="store_true",
        help="do all work again; without it preprocess, train, export and evaluate take the result of an earlier run "
        "below --runs-dir with the same data, config, seed and code",
    )
    runner.add_argument(
        "--notify", default="", metavar="ADDRESS", help="print the outcome for this address; mail needs Vertex AI"
    )
    runner.add_argument("-v", "--verbose", action="store_true", help="show the whole log, not one line a stage")

    compiler = verbs.add_parser(
        "compile",
        help="write pipeline.yaml",
        description="Compile the graph for one target: a Kubeflow Pipelines spec that Vertex AI takes, too. Targets\n"
        "that train as a custom job (multinode, TPU) need Vertex AI. docs/targets.md has the table.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    compiler.add_argument(
        "--target", default="vertex-gpu", metavar="NAME", help=f"one of {', '.join(TARGETS)}; default: %(default)s"
    )
    compiler.add_argument("--output", default="pipeline.yaml", metavar="FILE", help="or gs://…; default: %(default)s")
    compiler.add_argument(
        "--image", default="", metavar="URI", help="of every step; default: the target's, a placeholder"
    )
    compiler.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff if the file is stale")
    flags.add_verbs(verbs)
    return parser


def _compile(arguments: argparse.Namespace) -> int:
    from pipeline.graph.compile import compile_pipeline, staleness
    from pipeline.graph.targets import find_target

    target, output = find_target(arguments.target), arguments.output
    if arguments.image:
        target = replace(target, image=arguments.image)
    if arguments.check:
        if "://" in output:
            raise InputError(f"--output {output}: --check compares a file of this machine; give its path")
        difference = staleness(target, Path(output))
        if difference:
            print(difference)
            write = "make pipeline.yaml" if output == "pipeline.yaml" else "the same command without --check"
            print(f"{output} is stale: run {write}", file=sys.stderr)
            return 1
        print(f"{output} is current")
        return 0
    try:
        compile_pipeline(target, output)
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())[:200]
        raise InputError(f"--output {output}: cannot be written ({why}); choose another file") from error
    print(f"{output}: compiled for {target.name}")
    return 0
