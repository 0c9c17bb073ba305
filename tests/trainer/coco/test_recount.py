"""Metrics from a stored table of matches: those of the evaluation, bit for bit."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trainer.coco.test_matching import (
    CATEGORIES,
    COCO_EVAL,
    A,
    dataset_of,
    detections,
    objects,
    ours,
    predictions_of,
)
from trainer.coco.match_table import from_bytes, from_scored, only, to_bytes
from trainer.coco.metrics import Scored
from trainer.coco.recount import recount

FAR = (200, 200, 9, 9)


def assert_recounted(scored: Scored) -> None:
    found = recount(from_bytes(to_bytes(from_scored(scored)), "matches.npz"))
    metrics = scored.metrics
    assert found.metrics == metrics.values
    assert (found.images, found.objects) == (metrics.images_expected, metrics.objects)
    assert found.objects_by_size == metrics.objects_by_size
    assert [(c.category_id, c.ap, c.ap50, c.images, c.objects) for c in found.per_class] == [
        (c.category_id, c.ap, c.ap50, c.images, c.objects) for c in metrics.per_class
    ]


@given(objects, detections)
@example([(5, 7, A, True, None)], [(5, 7, A, 0.5), (5, 7, FAR, 0.5)])  # in a crowd
@example([(5, 7, A, False, 2e10)], [(5, 7, A, 0.5)])  # an object beyond every area range
@example([(5, 7, (10, 10, 60, 60), True, None)], [(5, 7, (10, 10, 60, 100), 0.5)])  # ignored at some thresholds only
@example([], [])
def test_the_metrics_of_the_evaluation(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple], detections: list[tuple]
) -> None:
    assert_recounted(ours(dataset_of(objects), predictions_of(detections), tmp_path_factory.mktemp("coco")))


@given(objects, detections, st.sets(st.sampled_from(CATEGORIES)))
def test_some_of_the_classes_are_a_data_set_of_these_classes(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple], detections: list[tuple], kept: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    table = only(from_scored(ours(dataset_of(objects), predictions_of(detections), folder)), kept)
    assert table.category_ids.tolist() == sorted(kept)
    if kept:
        dataset = dataset_of([entry for entry in objects if entry[1] in kept])
        dataset["categories"] = [entry for entry in dataset["categories"] if entry["id"] in kept]
        alone = ours(dataset, predictions_of([entry for entry in detections if entry[1] in kept]), folder)
        assert recount(table) == recount(from_scored(alone))
        assert recount(table).metrics == alone.metrics.values
    else:
        assert set(recount(table).metrics.values()) == {None}


@pytest.mark.skipif(not COCO_EVAL.is_dir(), reason="the COCO API's example is not next to the repository")
def test_the_coco_apis_example(tmp_path: Path) -> None:
    dataset = json.loads((COCO_EVAL / "instances_val2014_100.json").read_text())
    predictions = json.loads((COCO_EVAL / "fakebbox100_results.json").read_text())
    assert_recounted(ours(dataset, predictions, tmp_path))
