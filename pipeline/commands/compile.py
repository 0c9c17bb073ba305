"""`centernet compile`: the graph as a Kubeflow Pipelines spec."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_preprocess.base import command
from beam_preprocess.base.errors import InputError
from pipeline.graph.targets import COMMITTED, TARGETS

DESCRIPTION = """Compile the graph for one target into a Kubeflow Pipelines spec, which Vertex AI accepts as well.
Targets that train as a custom job (several machines, TPUs) need Vertex AI; kubeflow targets need a Kubeflow
endpoint, where submit fills in the pipeline root. docs/targets.md has the table of targets."""
EXAMPLES = (
    "centernet compile",
    "centernet compile --check",
    "centernet compile --target kubeflow-gpu --pods pods.yaml --output kubeflow.yaml",
    "centernet compile --target vertex-tpu-v5e --output gs://my-bucket/templates/pipeline.yaml",
)
NOTES = "exit codes: 0 done, 1 --check found a stale file, 2 bad input or usage"
OUTPUT = "pipeline.yaml"


def parser() -> command.Parser:
    """The flags."""
    made = command.parser("compile", DESCRIPTION, examples=EXAMPLES, notes=NOTES)
    made.add_argument(
        "--target", default=COMMITTED, metavar="NAME", help=f"one of {', '.join(TARGETS)}; default: %(default)s"
    )
    made.add_argument("--output", default=OUTPUT, metavar="FILE", help="path or gs:// URI; default: %(default)s")
    made.add_argument(
        "--image", default="", metavar="URI", help="container image of every step; default: the target's placeholder"
    )
    made.add_argument("--pods", default="", metavar="FILE", help="for kubeflow targets: as for submit")
    made.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff if the file is stale")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: see `NOTES`."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.graph.compile import compile_pipeline
    from pipeline.graph.targets import find_target

    target, output = find_target(flags.target), flags.output
    if flags.image:
        target = replace(target, image=flags.image)
    if flags.pods:
        from pipeline.graph.pods import read_pods

        if target.pods is None:
            raise InputError(f"--pods {flags.pods}: {target.name} does not run on a Kubeflow endpoint; leave it out")
        target = target.with_pods(read_pods(flags.pods, target.resources))
    if flags.check:
        if "://" in output:
            raise InputError(f"--output {output}: --check compares a file of this machine; give its path")
        from pipeline.graph.compile import staleness

        difference = staleness(target, Path(output))
        if difference:
            print(difference)
            write = "make pipeline.yaml" if output == OUTPUT else "the same command without --check"
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
