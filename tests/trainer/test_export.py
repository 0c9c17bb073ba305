import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import SIZE
from tests.trainer.validation_images import write_images
from trainer import evaluate
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.data import input_pipeline
from trainer.export import _trained_task, export, main, read_label_map
from trainer.model import network
from trainer.saved_model.signatures import AUGMENTED
from trainer.training import checkpoints

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def _jpeg(height: int, width: int, seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return tf.io.encode_jpeg(image, quality=95).numpy()


@pytest.fixture(scope="module")
def signature(exported: Path) -> Callable[..., dict[str, tf.Tensor]]:
    """`serving_default`, loaded once: as in a server, a failed request is followed by others."""
    return evaluate.load_signature(str(exported))


def test_the_label_map_travels_inside(exported: Path, trained: Path) -> None:
    label_map = read_label_map(str(exported))
    assert label_map["categories"][1] == {"index": 1, "id": 20, "name": "class1"}
    assert label_map["train_digest"] == checkpoints.read_summary(str(trained))["train_digest"]


def test_images_of_any_sizes_within_one_batch(signature: Callable[..., dict[str, tf.Tensor]]) -> None:
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


def test_num_detections_counts_scores_above_the_threshold(
    exported: Path, signature: Callable[..., dict[str, tf.Tensor]]
) -> None:
    outputs = signature(image_bytes=tf.constant([_jpeg(32, 64)]))
    threshold = read_label_map(str(exported))["score_threshold"]
    assert int(outputs["num_detections"][0]) == int((outputs["detection_scores"].numpy()[0] >= threshold).sum())


def test_the_export_is_the_checkpoint(exported: Path, trained: Path) -> None:
    """Same detections as the training's own model on the same pixels, through both signatures."""
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    model = network.build_model(task)
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


@pytest.mark.slow
def test_a_saved_model_cli_user_sees_both_signatures_and_runs_one(exported: Path, tmp_path: Path) -> None:
    """TensorFlow's own tool, in a fresh process: what a server would be told, and one call."""
    cli = [str(Path(sys.executable).with_name("saved_model_cli"))]
    shown = subprocess.run(
        [*cli, "show", "--dir", str(exported), "--all"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    for words in ("signature_def['serving_default']", "inputs['image_bytes']", "DT_STRING", "shape: (-1)"):
        assert words in shown, words
    for words in ("signature_def['image_tensor']", "inputs['image_tensor']", "DT_UINT8", "shape: (-1, -1, -1, 3)"):
        assert words in shown, words
    np.save(tmp_path / "images.npy", np.array([_jpeg(40, 30)]))
    run = [*cli, "run", "--dir", str(exported), "--tag_set", "serve", "--signature_def", "serving_default"]
    run += ["--inputs", "image_bytes=images.npy", "--outdir", str(tmp_path)]
    subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    boxes = np.load(tmp_path / "detection_boxes.npy")
    expected = evaluate.load_signature(str(exported))(image_bytes=tf.constant([_jpeg(40, 30)]))
    np.testing.assert_allclose(boxes, expected["detection_boxes"], atol=1e-5)


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff broken", "truncated"])
def test_a_corrupt_image_fails_its_request_by_index_and_not_the_process(
    signature: Callable[..., dict[str, tf.Tensor]], bad: bytes | str
) -> None:
    broken = _jpeg(60, 60)[:400] if bad == "truncated" else bad
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"image_bytes\[1 3\]: cannot be decoded as JPEG, PNG, GIF"
    ):
        signature(image_bytes=tf.constant([_jpeg(32, 64), broken, _jpeg(20, 20), broken]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[0\]"):
        signature(image_bytes=tf.constant([broken]))
    assert signature(image_bytes=tf.constant([_jpeg(32, 64)]))["image_size"].numpy().tolist() == [[32, 64]]


def test_an_empty_batch_is_refused_in_words(signature: Callable[..., dict[str, tf.Tensor]]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_bytes: is empty; send one image or more"):
        signature(image_bytes=tf.constant([], tf.string))


def test_decoding_is_float32_whatever_the_policy(exported: Path) -> None:
    """The graph holds no half-precision tensor; the same with a model whose training was mixed (below)."""
    for signature in tf.saved_model.load(str(exported)).signatures.values():
        functions = [signature.graph, *(f.graph for f in signature.graph._functions.values() if hasattr(f, "graph"))]
        kinds = {tensor.dtype for graph in functions for op in graph.get_operations() for tensor in op.outputs}
        assert not kinds & {tf.float16, tf.bfloat16}
        assert tf.float32 in kinds


@pytest.fixture(scope="module")
def augmented(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An export of a training in bfloat16, with parity, flip and a scale behind a signature of their own.

    Returns (SavedModel, images, annotations).
    """
    folder = tmp_path_factory.mktemp("augmented")
    images, annotations = write_images(folder / "validation")
    options = "export: {flip: true, scales: [1, 1.5], augmented_apart: true}\n"
    checkpoint = with_options(
        trained,
        folder / "checkpoint",
        options + "runtime: {mixed_precision_dtype: bfloat16, distribution_strategy: one_device}\n",
    )
    arguments = ["--checkpoint", str(checkpoint), "--output", str(folder / "model")]
    assert main([*arguments, "--images", str(images), "--annotations", str(annotations)]) == 0
    return folder / "model", images, annotations


def with_options(trained: Path, folder: Path, options: str) -> Path:
    """A copy of the training whose configuration has these sections as well, or instead."""
    shutil.copytree(trained, folder)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | yaml.safe_load(options)))
    return folder


def test_the_model_is_the_trained_one_where_an_override_changed_the_configuration(trained: Path) -> None:
    """The configuration's text doesn't know of --params_override: from it alone another model would be served."""
    summary = json.loads((trained / "train.json").read_text())
    config = parse_config((trained / "config.yaml").read_text())
    summary["model"]["norm_activation"] |= {"norm_epsilon": 0.25, "activation": "elu"}
    summary["model"]["detection_generator"]["max_detections"] = 7
    summary["model"]["backbone"]["hourglass"]["input_channel_dims"] = 8
    task = _trained_task(config, summary)
    assert task.model.as_dict() == summary["model"]
    assert network.build_model(task).detection_generator.get_config()["max_detections"] == 7


@pytest.mark.slow
def test_a_bfloat16_training_is_exported_in_float32(augmented: tuple[Path, Path, Path]) -> None:
    test_decoding_is_float32_whatever_the_policy(augmented[0])


@pytest.mark.slow
def test_augmentation_in_a_signature_of_its_own(exported: Path, augmented: tuple[Path, Path, Path]) -> None:
    image = tf.constant([_jpeg(*SIZE, 4), _jpeg(20, 100)])
    plain = evaluate.load_signature(str(exported))(image_bytes=image)["detection_scores"]
    served = evaluate.load_signature(str(augmented[0]))(image_bytes=image)["detection_scores"]
    apart = evaluate.load_signature(str(augmented[0]), AUGMENTED)(image_bytes=image)["detection_scores"]
    np.testing.assert_allclose(served, plain, atol=1e-6)
    assert np.abs(apart - plain).max() > 1e-4
    with pytest.raises(
        InputError, match="has no signature image_bytes_augmented; it has image_tensor, serving_default"
    ):
        evaluate.load_signature(str(exported), AUGMENTED)


@pytest.mark.slow
def test_evaluation_takes_the_augmented_signature(augmented: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, images, annotations = augmented
    arguments = ["--model", str(model), "--images", str(images), "--annotations", str(annotations)]
    scores = []
    for name in ("serving_default", AUGMENTED):
        assert evaluate.main([*arguments, "--output", str(tmp_path / name), "--signature", name]) == 0
        scores.append([d["score"] for d in json.loads((tmp_path / name / "predictions.json").read_text())])
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_parity_and_model_card_travel_inside(augmented: tuple[Path, Path, Path], trained: Path) -> None:
    found = json.loads((augmented[0] / "assets.extra" / "parity.json").read_text())
    assert found["passed"] is True
    assert found["images"] == 6
    assert found["matched"] >= 6
    card = (augmented[0] / "assets" / "model_card.md").read_text()
    summary = checkpoints.read_summary(str(trained))
    for words in (
        summary["train_digest"],
        "flip on, scales 1, 1.5; in the signature",
        "on 6 validation images",
        "class1",
    ):
        assert words in card, words


def test_an_export_without_images_says_that_parity_is_unknown(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is usable, and is exported again when there are images; checkpoint and export that differ leave nothing."""
    assert not (exported / "assets.extra").exists()
    assert (
        "Not evaluated before export: no validation images were given"
        in (exported / "assets" / "model_card.md").read_text()
    )
    images, annotations = write_images(tmp_path)
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    strict = with_options(trained, tmp_path / "strict", "export: {max_score_delta: 0.0}\n")
    arguments = ["--checkpoint", str(strict), "--output", str(model)]
    assert main([*arguments, "--images", str(images), "--annotations", str(annotations)]) == 1
    captured = capsys.readouterr()
    assert "was exported without parity; it is exported again" in captured.out
    assert "not exported: the export differs from its checkpoint on 6 images: max_score_delta" in captured.err
    assert not (model / "saved_model.pb").exists(), "nothing that a server takes for ready"
    assert [path.name for path in tmp_path.iterdir() if ".tmp-" in path.name] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--images", "x"], "--images and --annotations belong together"),
        (["--scales", "1,x"], "--scales 1,x"),
        (["--scales", "1.5,1"], "must begin with 1"),
        (["--scales", "1,1.1"], "this network needs multiples of 8: use 1"),
    ],
)
def test_bad_usage(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["--checkpoint", str(trained), "--output", str(tmp_path / "model"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
