"""`centernet aot`: the training step, compiled for a TPU that you don't have at hand, or carried to a JAX machine."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from beam_preprocess.base import command

PRECISIONS = ("float32", "float16", "bfloat16")


def parser() -> command.Parser:
    """The parser of the command."""
    from trainer.aot import environment

    made = command.parser(
        "aot",
        "Compile the training step for a TPU that you don't have at hand, or carry it to a machine that has JAX and no "
        "TensorFlow.",
        examples=[
            "centernet aot compile --config coco-centernet-hourglass-tpu --topology v5e:2x2 --batch 8 16 32",
            "centernet aot compile --config mine.yaml --records runs/mine/train-records --topology v3:2x2 --search",
            "centernet aot carry --config coco-centernet-hourglass-gpu --precision float16 --batch 8 16 32",
        ],
        notes="The step is complete (augmentation, network, losses, gradients, clipping, optimizer), but it is that of "
        "one replica:\n--batch counts images per core, and the all-reduce between cores is not included.\n\n"
        "The first call creates a separate environment, because JAX needs a newer Python. Results of the same code,\n"
        "configuration and versions are reused. A full Hourglass-104 takes minutes per batch size.\n\n"
        "Exit code 1: the step doesn't compile, or no batch fits one of the topologies.",
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="compile|carry")
    for verb, text in (
        ("compile", "compile the step for TPUs: whether it compiles, the memory it takes, the batch that fits"),
        ("carry", "write the step, and the script that times it, for a machine that has JAX and no TensorFlow"),
    ):
        made_verb = verbs.add_parser(verb, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add = made_verb.add_argument
        add(
            "--config",
            "--config-file",
            default="coco-centernet-hourglass-tpu",
            help="YAML file, or a shipped name (default: %(default)s)",
        )
        add("--set", action="append", default=[], metavar="KEY=VALUE", help="change one option; repeatable")
        add("--params-override", default="", help="key=value,… or YAML, as in centernet train")
        add("--precision", default="", choices=("", *PRECISIONS), help="override the configuration's precision")
        add("--records", default="", help="folder of records, whose manifest gives the sizes of the targets")
        add("--num-classes", type=int, default=0, help="number of classes without --records; 0: the configuration's")
        add("--max-cells", type=int, default=0, help="stored heatmap cells per image without --records; 0: 16384")
        add("--max-objects", type=int, default=0, help="objects per image without --records; 0: 128")
        add(
            "--batch", type=int, nargs="+", default=[16], help="images per core; several values are tried (default: 16)"
        )
        add("--output", default=f"runs/aot-{verb}", help="folder to write (default: %(default)s)")
        add(
            "--environment",
            default=environment.FOLDER,
            help="folder of the JAX environment, created if missing (default: %(default)s)",
        )
        add(
            "--python",
            default=environment.PYTHON,
            help="Python version, or path, of that environment (default: %(default)s)",
        )
        if verb == "compile":
            add("--topology", nargs="+", default=["v5e:2x2"], help="TPU topologies, such as v3:2x2 (default: v5e:2x2)")
            add("--search", action="store_true", help="also double the largest batch as long as it fits")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for bad input; 1 when the step doesn't compile, or no batch fits a topology."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    from beam_preprocess.base.config_text import resolve
    from trainer.aot.compile import Step, carry, compile_step
    from trainer.aot.report import conclusions, fit_table
    from trainer.aot.xla_process import RUNNER

    names = ("params_override", "precision", "records", "num_classes", "max_cells", "max_objects")
    step = Step(config=resolve(flags.config, flags.set).text, **{name: getattr(flags, name) for name in names})
    where: dict[str, Any] = {name: getattr(flags, name) for name in ("output", "environment", "python")}
    if flags.verb == "carry":
        for folder in carry(step, batches=flags.batch, **where):
            print(f"result: {folder}: copy it to the other machine and run `python {RUNNER} time .` in it")
        return 0
    report = compile_step(step, topologies=flags.topology, batches=flags.batch, search=flags.search, **where)
    print(fit_table(report))
    print("\n".join(conclusions(report)))
    fitting = {row["topology"] for row in report["results"] if row["fits"]}
    return 0 if fitting == set(flags.topology) else 1


if __name__ == "__main__":
    sys.exit(main())
