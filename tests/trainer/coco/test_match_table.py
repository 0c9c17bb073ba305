"""matches.npz: written, read, and refused when it is damaged."""

from pathlib import Path

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.coco.test_matching import A, dataset_of, ours, predictions_of
from trainer.coco import match_table
from trainer.coco.match_table import MatchTable, from_bytes, from_scored, to_bytes

FAR = (200, 200, 9, 9)


@pytest.fixture
def table(tmp_path: Path) -> MatchTable:
    """Two tied detections of one image, one of which is false, a detection in a crowd, and an object not found."""
    objects = [(5, 7, A, False, None), (2, 7, A, True, None), (9, 3, A, False, None)]
    detections = [(5, 7, A, 0.5), (5, 7, FAR, 0.5), (2, 7, A, 0.9)]
    return from_scored(ours(dataset_of(objects), predictions_of(detections), tmp_path))


def test_columns(table: MatchTable) -> None:
    assert table.image_ids.tolist() == [2, 4, 5, 9]
    assert table.category_ids.tolist() == [3, 7, 11]
    assert table.category.tolist() == [1, 1, 1]
    assert table.image.tolist() == [0, 2, 2], "by descending score"
    assert table.true.tolist() == [0, 1023, 0]
    assert table.ignored.tolist() == [1023, 0, 0]
    assert table.tied.tolist() == [0, 0, 1]
    assert table.image_order.tolist() == [0, 1, 2, 3], "no file names: by id"
    medium = 1023 << 10
    assert table.true_by_size.tolist() == [0, medium, 0]
    small_detection = 1023 << 10 | 1023 << 20
    assert table.ignored_by_size.tolist() == [medium | 1023 | 1023 << 20, 1023 | 1023 << 20, small_detection]
    assert table.object_areas.tolist() == [0b101, 0b101]
    assert sorted(zip(table.object_image.tolist(), table.object_category.tolist(), strict=True)) == [(2, 1), (3, 0)]


def test_written_and_read(table: MatchTable) -> None:
    again = from_bytes(to_bytes(table), "matches.npz")
    for name in MatchTable.__slots__:
        assert np.array_equal(getattr(again, name), getattr(table, name)), name


def test_damaged_tables(table: MatchTable, monkeypatch: pytest.MonkeyPatch) -> None:
    content = to_bytes(table)
    for broken in (content[:-40], content[: len(content) // 2], b"", b"matches"):
        with pytest.raises(InputError, match=r"matches\.npz: is truncated or damaged"):
            from_bytes(broken, "matches.npz")
    monkeypatch.setattr(match_table, "MATCHES_SCHEMA", 9)
    with pytest.raises(InputError, match="schema_version is 2, this code reads 9"):
        from_bytes(content, "matches.npz")
