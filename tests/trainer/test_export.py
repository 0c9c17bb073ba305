import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_records import SIZE

from beam_preprocess.errors import InputError
from trainer import checkpoints, evaluate, input_pipeline, modeling
from trainer.config import parse_config
from trainer.experiment import build_experiment
from trainer.export import export, read_label_map
from trainer.serving import ServingModule


def _jpeg(height: int, width: int, seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return tf.io.encode_jpeg(image, quality=95).numpy()


def test_the_label_map_travels_inside(exported: Path, trained: Path) -> None:
    label_map = read_label_map(str(exported))
    assert label_map["categories"][1] == {"index": 1, "id": 20, "name": "class1"}
    assert label_map["train_digest"] == checkpoints.read_summary(str(trained))["train_digest"]


def test_images_of_any_sizes_within_one_batch(exported: Path) -> None:
    signature = evaluate.load_signature(str(exported))
    sizes = [(32, 64), (100, 50), (17, 200)]
    together = signature(image_bytes=tf.constant([_jpeg(*size, i) for i, size in enumerate(sizes)]))
    assert together["image_size"].numpy().tolist() == [list(s) for s in sizes]
    boxes = together["detection_boxes"].numpy()
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert set(together["detection_classes"].numpy().ravel()) <= {10, 20, 30}
    for i, size in enumerate(sizes):
        alone = signature(image_bytes=tf.constant([_jpeg(*size, i)]))
        np.testing.assert_allclose(alone["detection_scores"][0], together["detection_scores"][i], atol=1e-5)


def test_num_detections_counts_scores_above_the_threshold(exported: Path) -> None:
    signature = evaluate.load_signature(str(exported))
    outputs = signature(image_bytes=tf.constant([_jpeg(32, 64)]))
    threshold = read_label_map(str(exported))["score_threshold"]
    assert int(outputs["num_detections"][0]) == int((outputs["detection_scores"].numpy()[0] >= threshold).sum())


def test_the_export_is_the_checkpoint(exported: Path, trained: Path) -> None:
    """Same detections as the training's own model on the same pixels, through both signatures."""
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    model = modeling.build_model(task)
    model(tf.zeros([1, *SIZE, 3]), training=False)
    checkpoints.restore_weights(str(trained), model)
    encoded = _jpeg(*SIZE, 4)
    image = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE")[None]
    expected = model(input_pipeline.normalize(image), training=False)
    loaded = tf.saved_model.load(str(exported))
    for outputs in (
        loaded.signatures["serving_default"](image_bytes=tf.constant([encoded])),
        loaded.signatures["image_tensor"](image_tensor=image),
    ):
        np.testing.assert_allclose(outputs["detection_scores"], expected["confidence"], atol=1e-5)
        pixels = outputs["detection_boxes"].numpy() * [*SIZE, *SIZE]
        scores = expected["confidence"].numpy()[0]
        distinct = np.r_[True, np.diff(scores) < -1e-4] & np.r_[np.diff(scores) < -1e-4, True]
        np.testing.assert_allclose(pixels[0][distinct], expected["boxes"].numpy()[0][distinct], atol=1e-2)
        assert distinct.sum() > 10


def test_a_fresh_process_can_serve_it_without_our_code(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(_jpeg(40, 30))
    code = (
        "import sys, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(exported)!r})\n"
        "out = model.signatures['serving_default'](image_bytes=tf.constant([open('image.jpg', 'rb').read()]))\n"
        "assert not any(m.startswith(('trainer', 'official', 'beam_preprocess')) for m in sys.modules)\n"
        "print(sorted(out))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    names = ["detection_boxes", "detection_classes", "detection_scores", "image_size", "num_detections"]
    assert done.stdout.strip() == str(names)


def test_the_same_export_is_not_done_twice_and_another_one_not_overwritten(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(checkpoint=str(trained), output=str(exported))
    assert "result: reused" in capsys.readouterr().out
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    summary = json.loads((other / "train.json").read_text()) | {"train_digest": "another"}
    (other / "train.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="holds the export of another training"):
        export(checkpoint=str(other), output=str(exported))


@pytest.mark.parametrize("broken", ["unfinished", "torn weights"])
def test_what_is_not_a_finished_training_is_refused(trained: Path, tmp_path: Path, broken: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    if broken == "unfinished":
        (copy / "train.json").unlink()
    else:
        (copy / "weights" / "model.index").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"isn't finished|don't fit"):
        export(checkpoint=str(copy), output=str(tmp_path / "model"))
    assert not (tmp_path / "model" / "saved_model.pb").exists()


def test_flip_test_scores_an_image_and_its_mirror_the_same(trained: Path, tmp_path: Path) -> None:
    """Without the option the two differ; with it the heatmaps are each other's mirror."""
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    model = modeling.build_model(task)
    model(tf.zeros([1, *SIZE, 3]), training=False)
    checkpoints.restore_weights(str(trained), model)
    (tmp_path / "label_map.json").write_text("{}")
    image = tf.io.decode_jpeg(_jpeg(*SIZE, 4))[None]
    for flip in (False, True):
        module = ServingModule(
            model,
            input_size=SIZE,
            category_ids=[10, 20, 30],
            score_threshold=0.3,
            label_map=str(tmp_path / "label_map.json"),
            flip=flip,
        )
        scores = [module.serve_tensor(picture)["detection_scores"].numpy() for picture in (image, image[:, :, ::-1])]
        assert np.allclose(*scores, atol=1e-5) == flip
