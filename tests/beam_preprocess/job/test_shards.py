"""The shard plan and the results."""

import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.format.annotations import class_map, load_annotations
from beam_preprocess.format.manifest import Shard
from beam_preprocess.format.reasons import Reason, Reject
from beam_preprocess.job.shards import (
    ImageEntry,
    ShardResult,
    id_hash,
    is_ours,
    number_of_shards,
    plan_shards,
    read_plan,
)


@pytest.mark.parametrize(
    ("images", "shards"), [(1, 1), (5, 5), (291, 8), (2048, 8), (2049, 9), (118_287, 463), (10_000_000, 1024)]
)
def test_default_number_of_shards(images: int, shards: int) -> None:
    assert number_of_shards(images) == shards


def test_hashes_spread_consecutive_ids_and_stay_what_they_are() -> None:
    sizes = Counter(id_hash(image_id) % 8 for image_id in range(4000))
    assert min(sizes.values()) > 400
    assert id_hash(139) == 1904655245  # a change would move images between shards


def test_a_plan_holds_each_image_once_with_its_own_boxes(data_set) -> None:  # type: ignore[no-untyped-def]
    coco = load_annotations(str(data_set.annotations))
    categories, _ = class_map(coco.categories, "rank")
    keep_images = np.ones(12, bool)
    keep_images[4] = False
    keep_boxes = np.ones(len(coco.annotation_ids), bool)
    keep_boxes[0] = False
    reject = Reject(reason=Reason.UNKNOWN_IMAGE, image_id=9999, annotation_id=1)
    plans = list(
        plan_shards(
            coco,
            categories,
            keep_images=keep_images,
            keep_boxes=keep_boxes,
            boxes=coco.bboxes,
            rejects=[reject],
            num_shards=3,
        )
    )
    assert len(plans) == 3
    by_shard = [list(read_plan(io.StringIO("\n".join(lines)))) for lines in plans]
    for shard, entries in enumerate(by_shard):
        ids = [e.id if isinstance(e, ImageEntry) else e.image_id for e in entries]
        assert all(id_hash(image_id) % 3 == shard for image_id in ids)
    entries = [entry for entries in by_shard for entry in entries]
    assert [e for e in entries if isinstance(e, Reject)] == [reject]
    images = {e.id: e for e in entries if isinstance(e, ImageEntry)}
    assert sorted(images) == sorted(set(coco.image_ids.tolist()) - {int(coco.image_ids[4])})
    for k in (1, 2, 3):
        entry = images[100 + 7 * k]
        rows = np.flatnonzero((coco.annotation_image_ids == entry.id) & keep_boxes)
        np.testing.assert_array_equal(entry.labels.boxes, coco.bboxes[rows])
        index_of = {3: 0, 18: 1, 90: 2}
        assert entry.classes == [index_of[c] for c in coco.annotation_category_ids[rows].tolist()]
    assert images[121].crowd == [False, False, True]
    assert images[100].boxes == []


def test_the_plan_does_not_depend_on_the_order_of_the_file(data_set) -> None:  # type: ignore[no-untyped-def]
    def plans() -> list[list[str]]:
        coco = load_annotations(str(data_set.annotations))
        categories, _ = class_map(coco.categories, "rank")
        return list(
            plan_shards(
                coco,
                categories,
                keep_images=np.ones(len(coco.image_ids), bool),
                keep_boxes=np.ones(len(coco.annotation_ids), bool),
                boxes=coco.bboxes,
                rejects=[],
                num_shards=2,
            )
        )

    first = plans()
    data_set.content["images"].reverse()
    data_set.content["categories"].reverse()
    data_set.save()
    assert plans() == first


@given(st.integers(0, 99), st.integers(0, 1 << 40))
def test_results_come_back(shard: int, size: int) -> None:
    result = ShardResult(
        shard=shard,
        files=(Shard(name="a", shard=shard, view=0, records=1, bytes=size, sha256="s"),),
        images=1,
        objects=2,
        crowds=3,
        cut_off=4,
        max_cells=5,
        max_objects=6,
        classes={"0": 2},
        sizes={"small": 2},
        rejects={"not_finite": 1},
    )
    assert ShardResult.from_json(result.to_json(), "result") == result


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("train-v00-00000-of-00008.tfrecord", True),
        ("val-v00-00000-of-00008.tfrecord.tmp-0a1b", True),
        ("rejects-00003-of-00008.jsonl", True),
        (".val-v00-00000-of-00008.tfrecord.tmp-0a1b", True),
        (".manifest.json.tmp-0a1b", True),
        ("manifest.json", True),
        ("preview.jpg", True),
        (".preview.jpg", False),
        ("notes.txt.tmp-0a1b", False),
        ("train.tfrecord", False),
        ("photo.jpg", False),
        ("my-train-v00-00000-of-00008.tfrecord", False),
    ],
)
def test_only_our_own_files_are_ever_swept(name: str, ours: bool) -> None:
    assert is_ours(name) == ours
