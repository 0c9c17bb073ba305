"""Resampled AP against pycocotools, run on the resampled images."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given

from beam_preprocess.base.errors import InputError
from tests.trainer.coco.test_matching import (
    IMAGES,
    A,
    dataset_of,
    detections,
    objects,
    ours,
    predictions_of,
    pycocotools,
)
from trainer.coco.bootstrap import Comparison, Interval, check_paired, compare, draw, draw_for, interval
from trainer.coco.match_table import MatchTable, from_bytes, from_scored, to_bytes
from trainer.coco.metrics import Scored
from trainer.coco.resampling import resampled_ap

COCO_EVAL = Path(__file__).parents[4] / "shared" / "data" / "coco_eval" / "val2014_100"


def resampled_files(
    dataset: dict[str, Any], predictions: list[dict[str, Any]], weights: dict[int, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set in which each image occurs as often as it was drawn, each time under a new id."""
    images, annotations, found = [], [], []
    for image in sorted(weights):
        for _ in range(weights[image]):
            images.append({"id": len(images) + 1})
            new = {"image_id": len(images)}
            for entry in dataset["annotations"]:
                if entry["image_id"] == image:
                    annotations.append({**entry, **new, "id": len(annotations) + 1})
            found += [{**entry, **new} for entry in predictions if entry["image_id"] == image]
    return {**dataset, "images": images, "annotations": annotations}, found


def assert_equals_pycocotools(
    dataset: dict[str, Any], predictions: list[dict[str, Any]], folder: Path, resamples: int
) -> list[float]:
    table = from_scored(ours(dataset, predictions, folder))
    weights = draw(len(table.image_ids), resamples, seed=5)
    aps = resampled_ap(table, weights)
    for ap, row in zip(aps.tolist(), weights.tolist(), strict=True):
        drawn = dict(zip(table.image_ids.tolist(), row, strict=True))
        wanted = pycocotools(*resampled_files(dataset, copy.deepcopy(predictions), drawn)).stats[0]
        assert (-1 if np.isnan(ap) else ap) == pytest.approx(wanted, abs=1e-12)
    return aps.tolist()


@given(objects, detections)
@example([(5, 7, A, False, None)], [(5, 7, A, 0.5), (5, 7, (200, 200, 9, 9), 0.5)])  # tied, of different fates
@example([(5, 7, A, False, None)], [(5, 7, (200, 200, 9, 9), 0.5), (5, 7, A, 0.5)])
@example([(5, 7, A, True, None), (5, 7, A, False, None)], [(5, 7, A, 0.5), (5, 7, A, 0.5), (5, 7, A, 0.5)])
@example([], [(5, 7, A, 0.5)])
def test_resampled_ap_is_pycocotools_on_the_resampled_images(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple], detections: list[tuple]
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    assert_equals_pycocotools(dataset_of(objects), predictions_of(detections), folder, resamples=3)


@pytest.mark.skipif(not COCO_EVAL.is_dir(), reason="the COCO API's example is not next to the repository")
def test_the_coco_apis_example(tmp_path: Path) -> None:
    dataset = json.loads((COCO_EVAL / "instances_val2014_100.json").read_text())
    predictions = json.loads((COCO_EVAL / "fakebbox100_results.json").read_text())
    aps = assert_equals_pycocotools(dataset, predictions, tmp_path, resamples=4)
    assert len(set(aps)) == 4


@pytest.fixture
def scored(tmp_path: Path) -> Scored:
    random = np.random.default_rng(3)
    truths, found = [], []
    for image in (5, 2, 9, 4):
        for _ in range(12):
            box = np.r_[random.uniform(0, 200, 2), random.uniform(9, 90, 2)]
            truths.append((image, 7, tuple(box.tolist()), False, None))
            found.append((image, 7, tuple((box + random.uniform(0, 9, 4)).tolist()), float(random.random())))
    return ours(dataset_of(truths), predictions_of(found), tmp_path)


@pytest.fixture
def table(scored: Scored) -> MatchTable:
    return from_scored(scored)


def test_each_image_once_is_the_ap_itself(scored: Scored, table: MatchTable) -> None:
    ap = resampled_ap(table, np.ones((1, 4), np.int32))
    assert ap[0] == pytest.approx(scored.metrics.values["ap"], abs=1e-12)
    assert 0.1 < ap[0] < 0.9
    stored = from_bytes(to_bytes(table), "matches.npz")
    assert resampled_ap(stored, np.ones((1, 4), np.int32)) == ap


def test_the_same_seed_draws_the_same() -> None:
    weights = draw(50, 20)
    assert (weights == draw(50, 20)).all()
    assert (weights != draw(50, 20, seed=1)).any()
    assert (weights.sum(axis=1) == 50).all()
    assert (weights[:5] == draw(50, 5)).all()


def test_another_numbering_of_the_images_draws_the_same_images(table: MatchTable) -> None:
    """Ids are a file's own affair: the draws follow the file names."""
    order = np.array([2, 0, 3, 1])
    weights, renumbered = draw_for(replace(table, image_order=np.arange(4)), 20), draw_for(table, 20)
    assert (weights == renumbered).all()
    moved = draw_for(replace(table, image_order=order), 20)
    assert (moved == weights[:, order]).all()
    assert (moved != weights).any()


@pytest.mark.parametrize("false", [127, 128, 255, 256])
def test_sums_at_the_ends_of_narrow_integers(tmp_path: Path, false: int) -> None:
    far = [(IMAGES[i // 64], 7, (200, 200, 9, 9), 0.9) for i in range(false - 1)]
    scored = ours(dataset_of([(5, 7, A, False, None)]), predictions_of([*far, (5, 7, A, 0.5)]), tmp_path)
    ap = resampled_ap(from_scored(scored), np.ones((1, 4), np.int32))
    assert ap[0] == pytest.approx(scored.metrics.values["ap"], abs=1e-12)
    assert ap[0] == pytest.approx(1 / false, abs=1e-12)


def test_chunks_do_not_matter(table: MatchTable, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = draw(4, 30)
    whole = resampled_ap(table, weights)
    monkeypatch.setattr("trainer.coco.resampling.CELLS", 100)
    assert resampled_ap(table, weights).tolist() == whole.tolist()


def test_compare() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.05, 4000)  # of the images: the same for both, so it cancels
    first, second = 0.5 + noise, 0.48 + noise + random.normal(0, 0.01, 4000)
    found = compare(0.02, first, second)
    assert found is not None
    assert (found.delta, found.resamples) == (0.02, 4000)
    assert found.low == pytest.approx(0.02 - 1.96 * 0.01, abs=0.002)
    assert found.high == pytest.approx(0.02 + 1.96 * 0.01, abs=0.002)
    assert found.probability_better == pytest.approx(0.977, abs=0.01)
    alone = interval(first)
    assert alone is not None
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)


def test_a_model_against_itself() -> None:
    aps = np.array([0.1, 0.2, np.nan, 0.3])
    wanted = Comparison(delta=0.0, low=0.0, high=0.0, probability_better=0.5, resamples=3)
    assert compare(0.0, aps, aps) == wanted


def test_no_objects_in_any_resample() -> None:
    nothing = np.full(5, np.nan)
    assert interval(nothing) is None
    assert compare(0.0, nothing, nothing) is None
    assert interval(np.array([0.5])) == Interval(low=0.5, high=0.5)


@pytest.mark.parametrize(
    "name", ["image_ids", "image_order", "category_ids", "object_image", "object_category", "object_areas"]
)
def test_other_images_or_objects_are_refused(table: MatchTable, name: str) -> None:
    check_paired(table, replace(table))
    with pytest.raises(InputError, match=f"{name} differ"):
        check_paired(table, replace(table, **{name: getattr(table, name)[1:]}))
