import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow.core.protobuf import saved_model_pb2

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import SIZE
from tests.trainer.validation_images import random_jpeg, write_images
from trainer.config.experiment import build_experiment
from trainer.config.sections import parse_config
from trainer.model import network
from trainer.saved_model.accuracy import evaluate
from trainer.saved_model.building import ExportRefused, export, trained_task
from trainer.saved_model.inference import load_signature, read_label_map
from trainer.saved_model.layout import AUGMENTED, LABEL_MAP, MODEL_CARD, PARITY, SAVED_MODEL
from trainer.weights import finished

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def test_the_label_map_is_inside(exported: Path, trained: Path) -> None:
    label_map = read_label_map(str(exported))
    assert label_map["categories"][1] == {"index": 1, "id": 20, "name": "class1"}
    assert label_map["train_digest"] == finished.read_summary(str(trained))["train_digest"]


def test_the_export_is_the_checkpoint(exported: Path, trained: Path) -> None:
    """Same detections as the training's own model on the same pixels, through both signatures."""
    task = build_experiment(parse_config((trained / "config.yaml").read_text())).task
    task.model.num_classes = 3
    model = network.build_model(task)
    model(tf.zeros([1, *SIZE, 3]), training=False)
    finished.restore_weights(str(trained), model)
    encoded = random_jpeg(*SIZE, 4)
    image = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE")[None]
    expected = model(model.normalize(image), training=False)
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
    (tmp_path / "image.jpg").write_bytes(random_jpeg(40, 30))
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
    assert not (tmp_path / "model" / SAVED_MODEL).exists()


@pytest.mark.slow
def test_a_saved_model_cli_user_sees_both_signatures_and_runs_one(exported: Path, tmp_path: Path) -> None:
    """TensorFlow's own tool, in a fresh process: what a server sees, and one call."""
    cli = [str(Path(sys.executable).with_name("saved_model_cli"))]
    shown = subprocess.run(
        [*cli, "show", "--dir", str(exported), "--all"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    for words in ("signature_def['serving_default']", "inputs['image_bytes']", "DT_STRING", "shape: (-1)"):
        assert words in shown, words
    for words in ("signature_def['image_tensor']", "inputs['image_tensor']", "DT_UINT8", "shape: (-1, -1, -1, 3)"):
        assert words in shown, words
    np.save(tmp_path / "images.npy", np.array([random_jpeg(40, 30)]))
    run = [*cli, "run", "--dir", str(exported), "--tag_set", "serve", "--signature_def", "serving_default"]
    run += ["--inputs", "image_bytes=images.npy", "--outdir", str(tmp_path)]
    subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    boxes = np.load(tmp_path / "detection_boxes.npy")
    expected = load_signature(str(exported))(image_bytes=tf.constant([random_jpeg(40, 30)]))
    np.testing.assert_allclose(boxes, expected["detection_boxes"], atol=1e-5)


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
    export(checkpoint=str(checkpoint), output=str(folder / "model"), images=str(images), annotations=str(annotations))
    return folder / "model", images, annotations


def with_options(trained: Path, folder: Path, options: str) -> Path:
    """A copy of the training whose configuration has these sections as well, or instead."""
    shutil.copytree(trained, folder)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | yaml.safe_load(options)))
    return folder


def test_the_model_is_the_trained_one_where_an_override_changed_the_configuration(trained: Path) -> None:
    """The configuration's text lacks what --params_override changed: built from it, another model would be served."""
    summary = json.loads((trained / "train.json").read_text())
    config = parse_config((trained / "config.yaml").read_text())
    summary["model"]["norm_activation"] |= {"norm_epsilon": 0.25, "activation": "elu"}
    summary["model"]["detection_generator"]["max_detections"] = 7
    summary["model"]["backbone"]["hourglass"]["input_channel_dims"] = 8
    task = trained_task(config, summary)
    assert task.model.as_dict() == summary["model"]
    assert network.build_model(task).detection_generator.get_config()["max_detections"] == 7


@pytest.mark.slow
def test_a_bfloat16_training_is_exported_in_float32(augmented: tuple[Path, Path, Path]) -> None:
    test_decoding_is_float32_whatever_the_policy(augmented[0])


@pytest.mark.slow
def test_augmentation_in_a_signature_of_its_own(exported: Path, augmented: tuple[Path, Path, Path]) -> None:
    image = tf.constant([random_jpeg(*SIZE, 4), random_jpeg(20, 100)])
    plain = load_signature(str(exported))(image_bytes=image)["detection_scores"]
    served = load_signature(str(augmented[0]))(image_bytes=image)["detection_scores"]
    apart = load_signature(str(augmented[0]), AUGMENTED)(image_bytes=image)["detection_scores"]
    np.testing.assert_allclose(served, plain, atol=1e-6)
    assert np.abs(apart - plain).max() > 1e-4
    known = "image_bytes_features, image_tensor, serving_default"
    with pytest.raises(InputError, match=f"has no signature image_bytes_augmented; it has {known}"):
        load_signature(str(exported), AUGMENTED)


@pytest.mark.slow
def test_evaluation_takes_the_augmented_signature(augmented: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, images, annotations = augmented
    data = {"images": str(images), "annotations": str(annotations)}
    scores = []
    for name in ("serving_default", AUGMENTED):
        scored = evaluate(model=str(model), **data, output=str(tmp_path / name), signature_name=name)
        assert scored.signature == name
        scores.append([d["score"] for d in json.loads((tmp_path / name / "predictions.json").read_text())])
    assert scores[0] != scores[1]


@pytest.mark.slow
def test_parity_and_model_card_travel_inside(augmented: tuple[Path, Path, Path], trained: Path) -> None:
    found = json.loads((augmented[0] / PARITY).read_text())
    assert found["passed"] is True
    assert found["images"] == 6
    assert found["matched"] >= 6
    card = (augmented[0] / MODEL_CARD).read_text()
    summary = finished.read_summary(str(trained))
    for words in (
        summary["train_digest"],
        "flip on, scales 1, 1.5; only in the signature",
        "on 6 validation images",
        "class1",
    ):
        assert words in card, words


def test_an_export_without_images_is_usable_and_its_parity_unknown(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With images it is exported again. Here checkpoint and export differ by more than the bound: nothing is left."""
    assert not (exported / PARITY).exists()
    assert "Not evaluated before export: no validation images were given" in (exported / MODEL_CARD).read_text()
    images, annotations = write_images(tmp_path)
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    data = {"images": str(images), "annotations": str(annotations)}
    with pytest.raises(
        ExportRefused,
        match=r"on 6 images: \d+ of \d+ detections have no counterpart",
    ):
        export(checkpoint=str(trained), output=str(model), config="export: {max_score_delta: 0.0}", **data)
    assert "was exported without parity; exporting again" in capsys.readouterr().out
    assert not (model / SAVED_MODEL).exists(), "nothing that a server takes for ready"
    assert [path.name for path in tmp_path.iterdir() if ".tmp-" in path.name] == []


@pytest.mark.slow
def test_another_bound_needs_no_new_training(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The export section of a given configuration replaces the checkpoint's, and parity is judged by it."""
    images, annotations = write_images(tmp_path)
    model = tmp_path / "model"
    data = {"images": str(images), "annotations": str(annotations)}
    strict = with_options(trained, tmp_path / "strict", "export: {max_score_delta: 0.0}\n")
    with pytest.raises(ExportRefused):
        export(checkpoint=str(strict), output=str(model), **data)
    for bound, said in ((0.02, "parity: 6 images"), (0.02, "result: reused"), (0.03, "within other bounds; exporting")):
        text = f"export: {{max_score_delta: {bound}, score_threshold: 0.2}}"
        export(checkpoint=str(strict), output=str(model), config=text, **data)
        assert said in capsys.readouterr().out
        assert json.loads((model / PARITY).read_text())["bounds"]["max_score_delta"] == bound
    assert read_label_map(str(model))["score_threshold"] == 0.2
    card = (model / MODEL_CARD).read_text()
    assert "| max_score_delta | 0.03 |" in card
    assert "max_score_delta: 0.0" in card, "the training's configuration, as it was"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "x"}, "--images and --annotations belong together"),
        ({"scales": (1.5, 1.0)}, "must begin with 1"),
        ({"scales": (1.0, 1.1)}, "this network needs multiples of 8: use 1"),
        ({"config": "export: {flips: true}"}, "flips"),
    ],
)
def test_bad_input(trained: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        export(checkpoint=str(trained), output=str(tmp_path / "model"), **change)
    assert not (tmp_path / "model").exists()


def test_the_files_have_the_names_of_the_layout(exported: Path) -> None:
    for name in (SAVED_MODEL, LABEL_MAP, MODEL_CARD):
        assert (exported / name).is_file(), name


def test_the_network_is_saved_once_for_all_signatures(exported: Path) -> None:
    """Traced and saved twice, it took a third of an export's time."""
    saved = saved_model_pb2.SavedModel.FromString((exported / SAVED_MODEL).read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert sum(any(node.op == "Conv2D" for node in function.node_def) for function in functions) == 1
