"""`centernet compile`: compiles the pipeline for one target."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from beam_preprocess.base.errors import InputError

EXAMPLES = (
    "centernet compile",
    "centernet compile --check",
    "centernet compile --target vertex-tpu-v5e --output gs://my-bucket/templates/pipeline.yaml",
)


def parser() -> Parser:
    """The flags of `centernet compile`."""
    made = command_parser(
        "compile",
        "Compile the pipeline for one target, to a file for Kubeflow Pipelines and Vertex AI. docs/targets.md lists\n"
        "the targets; those that train as a custom job need Vertex AI.",
        examples=EXAMPLES,
        notes="exit codes: 0 done, 1 the file is stale (--check), 2 bad input or usage",
    )
    made.add_argument("--target", default="vertex-gpu", metavar="NAME", help="default: %(default)s")
    made.add_argument("--output", default="pipeline.yaml", metavar="FILE", help="or gs://…; default: %(default)s")
    made.add_argument("--image", default="", metavar="URI", help="image of every step; default: a placeholder")
    made.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff if the file is stale")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet compile`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from pipeline.graph.compile import compile_pipeline, staleness
    from pipeline.graph.targets import find_target

    target, output = find_target(flags.target), flags.output
    if flags.image:
        target = replace(target, image=flags.image)
    if flags.check:
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
