import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import carried
from tests.trainer.made_records import TINY_CONFIG, write_records
from trainer.aot import environment

REPOSITORY = Path(__file__).parents[2]


def write_step(results: Path, side: str, milliseconds: float) -> None:
    row = {"side": side, "precision": "float16", "batch": 8, "milliseconds": milliseconds}
    row |= {"images_per_second": 8e3 / milliseconds, "planned_bytes": 3 << 30, "share_of_peak": 0.25}
    (results / "steps").mkdir(parents=True, exist_ok=True)
    (results / "steps" / f"{side}-float16-8.json").write_text(json.dumps(row))


def test_the_ratio_is_model_gardens_time_over_ours(tmp_path: Path) -> None:
    write_step(tmp_path, "ours", 80.0)
    write_step(tmp_path, "model-garden", 100.0)
    *_, row = carried.step_rows(tmp_path)
    assert row == "| float16 | 8 | 80.0 | 100.0 | 3.0 | 25.0% | 100.0 | 80.0 | 3.0 | 25.0% | 1.25 |"


def test_a_step_without_its_other_side_has_no_ratio(tmp_path: Path) -> None:
    write_step(tmp_path, "ours", 80.0)
    *_, row = carried.step_rows(tmp_path)
    assert row.endswith("| not measured |  |  |  | not measured |")


@pytest.mark.parametrize(("shift", "ap"), [(0.0, "1.000"), (100.0, "0.000")])
def test_detections_that_came_back_are_scored(tmp_path: Path, shift: float, ap: str) -> None:
    """One image with one object of 8 x 8 cells around cell (4, 4) of a map of 16 x 16; boxes are in pixels."""
    folder, results = tmp_path / "carried", tmp_path / "results"
    for place in (folder / "trainings" / "cards-float32", folder / "records" / "few-val", results / "trainings"):
        place.mkdir(parents=True)
    training = {"val": "few", "map_width": 16, "num_classes": 1}
    (folder / "trainings" / "cards-float32" / "training.json").write_text(json.dumps(training))
    np.savez(
        folder / "records" / "few-val" / "targets.npz",
        object_cell=np.array([[4 * 16 + 4]]),
        object_offset=np.zeros((1, 1, 2)),
        object_size=np.full((1, 1, 2), 8.0),
        object_class=np.zeros((1, 1), int),
        object_mask=np.ones((1, 1)),
        ignore_mask=np.zeros((1, 0)),
    )
    np.savez(
        results / "trainings" / "cards-float32__1.npz",
        boxes=np.array([[[0.0, 0.0, 32.0, 32.0]]]) + shift,
        scores=np.array([[0.9]]),
        classes=np.array([[0]]),
        losses=np.array([3.0, 0.5]),
        milliseconds=np.array(7.0),
    )
    *_, row = carried.training_rows(folder, results)
    assert row == f"| cards-float32 | 1 | {ap} | {ap} | 7.0 | 3.00, 0.50 |"


def test_model_garden_assigns_the_same_targets_when_it_knows_the_number_of_boxes() -> None:
    import tensorflow as tf

    from benchmarks import carried_export, train_step_sides

    case = {"model": "tiny", "size": 64, "classes": 3, "boxes": 3, "batch": 2, "precision": "float32", "xla": False}
    task, _, _, (_, labels) = train_step_sides.model_garden(case)
    heads = {
        name: [tf.constant(head) for head in maps] for name, maps in train_step_sides.synthetic_heads(case).items()
    }
    losses = [
        made.build_losses(heads, labels)["total_loss"].numpy()
        for made in (task, carried_export._with_a_fixed_count(task, 3))
    ]
    assert losses[0] == losses[1] > 0


@pytest.mark.slow
def test_both_sides_run_without_tensorflow(tmp_path: Path) -> None:
    """The same boxes and the same initial losses' size, in the JAX environment, on its CPU."""
    small = ["--model=tiny", "--size=64", "--classes=3", "--boxes=3", "--batch=2", "--precision=bfloat16"]
    where = f"--environment={REPOSITORY / environment.FOLDER}"
    assert carried.main(["steps", str(tmp_path), *small, where]) == 0
    python = environment.ensure(str(REPOSITORY / environment.FOLDER))
    run = [python, "run.py", ".", "--output=results", "--steps=1", "--repeats=1"]
    subprocess.run(run, cwd=tmp_path, check=True, env={"JAX_PLATFORMS": "cpu"})
    rows = [json.loads(path.read_text()) for path in sorted((tmp_path / "results" / "steps").glob("*.json"))]
    assert [row["side"] for row in rows] == ["model-garden", "ours"]
    assert all(np.isfinite(row["losses"]).all() for row in rows)


@pytest.mark.slow
def test_a_training_is_carried_whole(tmp_path: Path) -> None:
    """Programs that JAX compiles, inference included, the values that they start from, and every record once."""
    records, folder, config = tmp_path / "made", tmp_path / "carried", tmp_path / "tiny.yaml"
    records.mkdir()
    manifest = write_records(records, images=4, shards=1)
    config.write_text(TINY_CONFIG)
    where = f"--environment={REPOSITORY / environment.FOLDER}"
    flags = [
        "--name=tiny",
        f"--config={config}",
        f"--records={records}",
        f"--val-records={records}",
        "--views=1",
        where,
    ]
    assert carried.main(["training", str(folder), *flags, "--seeds", "0", "1"]) == 0
    training = json.loads((folder / "trainings" / "tiny-float32" / "training.json").read_text())
    stored = {path.stem for path in (folder / "values").glob("*.npz")}
    first, second = training["values"].values()
    assert first != second
    assert {*first, *second} <= stored
    with np.load(folder / "records" / "made-train" / "targets.npz") as targets:
        assert len(set(targets["image_id"].tolist())) == len(targets["sizes"]) == 4, manifest
    code = "import sys, pathlib, xla; [xla.load(pathlib.Path(p)) for p in sys.argv[1:]]; print('compiled')"
    programs = [f"trainings/tiny-float32/{part}/step.stablehlo" for part in ("step", "predict")]
    python = environment.ensure(str(REPOSITORY / environment.FOLDER))
    done = subprocess.run(
        [python, "-c", code, *programs],
        cwd=folder,
        check=True,
        env={"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("compiled\n")
    assert all(b"set_dimension_size" not in (folder / program).read_bytes() for program in programs)
