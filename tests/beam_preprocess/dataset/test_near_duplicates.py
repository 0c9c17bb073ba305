"""Near-duplicates between two folders of records."""

import json
from pathlib import Path

import pytest

from beam_preprocess.dataset.near_duplicates import compare_records
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.job.pipeline import preprocess
from tests.cases.made_cases import encoded, make, picture


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Records of two splits, in which v102.jpg is a002.jpg encoded again."""
    made = make(tmp_path)
    made.val.files["v102.jpg"] = encoded(picture(2), quality=60)
    data = made.write().data()
    config = PreprocessConfig(image_size=(64, 64), train_views=1)
    for split in ("train", "val"):
        where = {"images": data[f"{split}_images"], "annotations": data[f"{split}_annotations"]}
        preprocess(**where, split=split, output=str(tmp_path / "records" / split), config=config)  # type: ignore[arg-type]
    return tmp_path / "records"


def test_pairs_are_listed(records: Path) -> None:
    listed = records / "pairs.jsonl"
    message = compare_records(str(records / "train"), str(records / "val"), str(listed))
    assert "1 of 4 validation images look like training images: v102.jpg like a002.jpg of train" in message
    (line,) = listed.read_text().splitlines()
    assert {"val": "v102.jpg", "train": "a002.jpg"}.items() <= json.loads(line).items()


def test_records_of_older_versions_have_no_fingerprints(records: Path) -> None:
    (records / "val" / "fingerprints.jsonl").unlink()
    assert compare_records(str(records / "train"), str(records / "val"), str(records / "pairs.jsonl")) == ""
    assert not (records / "pairs.jsonl").exists()
