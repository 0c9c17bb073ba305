"""Pairs and their IoU against pycocotools' compiled function: equal bit for bit."""

import numpy as np
import pytest

from trainer.coco import overlaps
from trainer.coco.overlaps import overlapping


@pytest.mark.parametrize("chunk", [1, 40, 100_000])
@pytest.mark.parametrize("threshold", [1e-9, 0.1, 0.5])
def test_all_pairs_of_a_group_with_pycocotools_iou(
    chunk: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycocotools import mask

    monkeypatch.setattr(overlaps, "CHUNK", chunk)
    random = np.random.default_rng(7)
    group, object_group = np.sort(random.integers(0, 9, 120)), random.integers(2, 12, 60)
    box, object_box = (
        np.concatenate([random.uniform(0, 60, (count, 2)), random.uniform(0, 80, (count, 2))], axis=1)
        for count in (120, 60)
    )
    object_box[::7] = object_box[3]  # equal boxes
    box[::11, 2] = 0.0
    crowd = random.random(60) < 0.2
    wanted = []
    for g in range(12):
        rows, objects = np.flatnonzero(group == g), np.flatnonzero(object_group == g)
        if len(rows) and len(objects):
            iou = mask.iou(box[rows], object_box[objects], crowd[objects].astype(np.uint8))
            wanted += [(rows[i], objects[j], iou[i, j]) for i, j in np.argwhere(iou >= threshold).tolist()]
    found = overlapping(
        group=group,
        box=box,
        object_group=object_group,
        object_box=object_box,
        crowd=crowd,
        threshold=threshold,
    )
    assert len(wanted) > 5
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


def test_without_detections_or_objects() -> None:
    nothing, some, ids = np.zeros((0, 4)), np.ones((2, 4)), np.zeros(2, np.int64)
    for box, object_box in ((nothing, some), (some, nothing), (nothing, nothing)):
        found = overlapping(
            group=ids[: len(box)],
            box=box,
            object_group=ids[: len(object_box)],
            object_box=object_box,
            crowd=np.zeros(len(object_box), bool),
            threshold=0.1,
        )
        assert [column.tolist() for column in found] == [[], [], []]
