"""Training steps and whole trainings on the GPU of a machine that has JAX and no TensorFlow.

    python -m benchmarks.carried steps FOLDER --precision bfloat16 float16 --batch 8 16 32
    python -m benchmarks.carried training FOLDER --name cards --config custom-cpu --records DIR --val-records DIR \\
        --precision float32 bfloat16 float16 --seeds 0 1 2
    python run.py . --output results                        there, in FOLDER
    python -m benchmarks.carried report FOLDER --results DIR

`steps` writes our training step and Model Garden's as XLA programs, with the same boxes; run.py times them. `training`
writes a step, its initial weights for each seed, the inference of the validation images, and the records' JPEGs and
targets; run.py trains, and `report` prints the AP of what it found, on the records and without flip. The other machine
needs JAX 0.11.2, NumPy and OpenCV.

What differs from `centernet train`: NumPy shuffles the images, and all seeds of a training draw the same colours and
flips for an image at a step.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base.command import Parser, run
from benchmarks.train_step_sides import MODELS
from trainer.aot import environment, xla

SIDES = ("ours", "model-garden")
PRECISIONS = ("float32", "bfloat16", "float16")
STRIDE = 4


def parser() -> Parser:
    """The benchmark's flags."""
    made = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="steps|training|report")
    steps = verbs.add_parser("steps", help="write the steps of both sides")
    add = steps.add_argument
    add("--model", choices=sorted(MODELS), default="hourglass-104", help="network (default: %(default)s)")
    add("--side", choices=SIDES, nargs="+", default=list(SIDES), help="default: both")
    add("--batch", type=int, nargs="+", default=[16], help="images per step (default: 16)")
    add("--size", type=int, default=512, help="side of the input in pixels (default: %(default)s)")
    add("--classes", type=int, default=90, help="number of classes (default: %(default)s)")
    add("--boxes", type=int, default=20, help="objects per image (default: %(default)s)")
    training = verbs.add_parser("training", help="write a training on records")
    add = training.add_argument
    add("--name", required=True, help="of the training; the precision is appended")
    add("--config", default="custom-cpu", help="shipped name or YAML file (default: %(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change one option; repeatable")
    add("--records", required=True, help="folder of training records")
    add("--val-records", required=True, help="folder of validation records")
    add("--views", type=int, default=8, help="views that are carried (default: %(default)s)")
    add("--seeds", type=int, nargs="+", default=[0], help="of initial weights and order (default: 0)")
    for verb in (steps, training):
        verb.add_argument("--precision", choices=PRECISIONS, nargs="+", default=["float32"], help="default: float32")
        verb.add_argument("--environment", default=environment.FOLDER, help="folder of the JAX environment")
    report = verbs.add_parser("report", help="print what came back")
    report.add_argument("--results", required=True, type=Path, help="folder that run.py wrote")
    for verb in (steps, training, report):
        verb.add_argument("folder", type=Path, help="folder to carry")
    return made


def _call(flags: argparse.Namespace) -> None:
    if flags.verb == "report":
        print("\n".join([*step_rows(flags.results), "", *training_rows(flags.folder, flags.results)]))
        return
    from benchmarks import carried_export as export

    flags.folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(xla.__file__, flags.folder / "xla.py")
    shutil.copy(Path(__file__).with_name("carried_run.py"), flags.folder / "run.py")
    if flags.verb == "steps":
        for precision, batch, side in product(flags.precision, flags.batch, flags.side):
            case = {name: getattr(flags, name) for name in ("model", "size", "classes", "boxes")}
            export.write_step(
                flags.folder, case | {"precision": precision, "batch": batch, "side": side}, flags.environment
            )
        return
    for split, source, views in (("train", flags.records, flags.views), ("val", flags.val_records, 1)):
        export.write_records(flags.folder / "records" / f"{Path(source).name}-{split}", source, views=views)
    for precision in flags.precision:
        export.write_training(
            flags.folder,
            f"{flags.name}-{precision}",
            config=flags.config,
            changes=flags.set,
            precision=precision,
            train=flags.records,
            val=flags.val_records,
            seeds=flags.seeds,
            jax=flags.environment,
        )


def step_rows(results: Path) -> list[str]:
    """A table of both sides' steps, one row per precision and batch."""
    found = [json.loads(path.read_text()) for path in sorted((results / "steps").glob("*.json"))]
    sides = {(row["side"], row["precision"], row["batch"]): row for row in found}
    each = "ms | images/s | GiB | of peak"
    lines = [f"| precision | images | ours: {each} | Model Garden: {each} | ratio |", "|" + "---|" * 11]
    for precision, batch in sorted({key[1:] for key in sides}):
        pair = [sides.get((side, precision, batch)) for side in SIDES]
        cells = [cell for row in pair for cell in _step_cells(row)]
        ours, theirs = pair
        ratio = f"{theirs['milliseconds'] / ours['milliseconds']:.2f}" if ours and theirs else "not measured"
        lines.append(f"| {precision} | {batch} | {' | '.join(cells)} | {ratio} |")
    return lines


def _step_cells(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return ["not measured", "", "", ""]
    share = f"{row['share_of_peak']:.1%}" if row["share_of_peak"] else ""
    return [
        f"{row['milliseconds']:.1f}",
        f"{row['images_per_second']:.1f}",
        f"{row['planned_bytes'] / 2**30:.1f}",
        share,
    ]


def training_rows(folder: Path, results: Path) -> list[str]:
    """A table of the trainings that ran."""
    from trainer.training import interim_ap

    lines = ["| training | seed | AP | AP50 | ms per step | first and last loss |", "|" + "---|" * 6]
    for place in sorted((results / "trainings").glob("*.npz")):
        found = dict(np.load(place))
        name, seed = place.stem.split("__")
        training = json.loads((folder / "trainings" / name / "training.json").read_text())
        truth = dict(np.load(folder / "records" / f"{training['val']}-val" / "targets.npz"))
        scored = interim_ap.score(
            [{**truth, **found}],
            map_width=training["map_width"],
            stride=STRIDE,
            num_classes=training["num_classes"],
        )
        lines.append(
            f"| {name} | {seed} | {scored['ap']:.3f} | {scored['ap50']:.3f} "
            f"| {float(found['milliseconds']):.1f} | {found['losses'][0]:.2f}, {found['losses'][-1]:.2f} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 for wrong flags."""
    return run(parser(), argv, _call)


if __name__ == "__main__":
    sys.exit(main())
