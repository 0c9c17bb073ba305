from pathlib import Path

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.validation_images import random_jpeg
from trainer.saved_model.inference import detect, load_signature, read_label_map, to_coco
from trainer.saved_model.layout import AUGMENTED, LABEL_MAP, SAVED_MODEL

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


@pytest.mark.parametrize("lacks", ["everything", SAVED_MODEL, LABEL_MAP])
def test_a_folder_that_is_not_our_model(tmp_path: Path, lacks: str) -> None:
    for name in {SAVED_MODEL, LABEL_MAP} - {lacks} if lacks != "everything" else ():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=r"not a SavedModel with assets/label_map\.json; export one with"):
        read_label_map(str(tmp_path))


def test_a_torn_model_and_a_torn_label_map(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / SAVED_MODEL).write_bytes(b"torn")
    (tmp_path / LABEL_MAP).write_text("{}")
    with pytest.raises(InputError, match="can't be loaded"):
        load_signature(str(tmp_path))
    (tmp_path / LABEL_MAP).write_text("{")
    with pytest.raises(InputError, match=r"label_map\.json: not JSON"):
        read_label_map(str(tmp_path))


def test_a_signature_that_the_model_lacks(exported: Path) -> None:
    with pytest.raises(
        InputError,
        match="has no signature image_bytes_augmented; it has image_bytes_features, image_tensor, serving_default",
    ):
        load_signature(str(exported), AUGMENTED)


def test_each_file_has_its_own_detections_and_a_broken_one_is_named(exported: Path, tmp_path: Path) -> None:
    signature = load_signature(str(exported))
    paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
    for path, size in zip(paths, [(20, 30), (50, 40)], strict=True):
        path.write_bytes(random_jpeg(*size))
    found = detect(signature, [str(path) for path in paths])
    assert [detections["image_size"].tolist() for detections in found] == [[20, 30], [50, 40]]
    paths[1].write_bytes(b"\xff\xd8 not a jpeg")
    with pytest.raises(InputError, match=r"b\.jpg: not an image that can be decoded"):
        detect(signature, [str(path) for path in paths])
    with pytest.raises(InputError, match=r"c\.jpg: no such image"):
        detect(signature, [str(tmp_path / "c.jpg")])


def test_coco_results_are_boxes_in_original_pixels_and_masked_peaks_are_left_out() -> None:
    detections = {
        "image_size": np.array([100, 50], np.int32),
        "detection_boxes": np.array([[0.1, 0.2, 0.5, 1.0], [0, 0, 1, 1]], np.float32),
        "detection_scores": np.array([0.9, 0.0], np.float32),
        "detection_classes": np.array([7, 8], np.int32),
    }
    (found,) = to_coco(3, detections)
    assert (found["image_id"], found["category_id"]) == (3, 7)
    assert found["bbox"] == pytest.approx([10, 10, 40, 40], abs=1e-4)
    assert found["score"] == pytest.approx(0.9)
