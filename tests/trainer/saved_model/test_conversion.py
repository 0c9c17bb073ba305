import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer.saved_model.conversion import MAX_DELTA, OUTPUTS, ConversionRefused, compare, convert

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

ONNX = importlib.util.find_spec("tf2onnx") and importlib.util.find_spec("onnxruntime")


@pytest.fixture(scope="module")
def tflite(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    output = tmp_path_factory.mktemp("converted") / "new" / "model.tflite"
    return output, convert(model=str(exported), to="tflite", output=str(output))


@pytest.mark.slow
def test_the_tflite_model_detects_what_the_saved_model_does(
    tflite: tuple[Path, dict[str, float]], exported: Path
) -> None:
    output, parity = tflite
    assert parity["compared"] > 50
    assert parity["max_score_delta"] <= MAX_DELTA
    assert parity["max_box_delta"] <= MAX_DELTA
    interpreter = tf.lite.Interpreter(model_path=str(output))
    image = np.random.default_rng(9).integers(0, 256, (1, 32, 64, 3)).astype(np.uint8)
    found = interpreter.get_signature_runner()(image_tensor=image)
    assert set(found) == set(OUTPUTS)
    expected = tf.saved_model.load(str(exported)).signatures["image_tensor"](image_tensor=tf.constant(image))
    np.testing.assert_allclose(found["detection_scores"], expected["detection_scores"], atol=1e-4)
    assert [path.name for path in output.parent.iterdir()] == ["model.tflite"]


@pytest.mark.slow
def test_beyond_the_bound_nothing_is_written(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConversionRefused, match="not written: the tflite model differs from the SavedModel"):
        convert(model=str(exported), to="tflite", output=str(tmp_path / "m"), max_delta=-1)
    assert "parity: 8 images" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_onnx_if_its_packages_are_installed_and_the_fix_otherwise(exported: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    if ONNX:
        convert(model=str(exported), to="onnx", output=str(output))
        assert output.exists()
    else:
        with pytest.raises(ConversionRefused, match="pip install tf2onnx onnx onnxruntime"):
            convert(model=str(exported), to="onnx", output=str(output))
        assert not output.exists()
    assert (exported / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("to", "message"),
    [("coreml", "--to coreml: unknown format; use tflite or onnx"), ("onnx", "nowhere: not a SavedModel")],
)
def test_bad_input(to: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(model="nowhere", to=to, output="x")


def outputs(image: np.ndarray) -> dict[str, np.ndarray]:
    scores = np.array([[0.9, 0.5, 0.5, 0.2, 0.0]]) + image.mean() * 1e-9
    return {
        "detection_scores": scores,
        "detection_boxes": np.tile(np.array([0.1, 0.2, 0.3, 0.4]), (1, 5, 1)),
        "detection_classes": np.arange(5)[None],
    }


@pytest.mark.parametrize(
    ("change", "score", "box"),
    [
        ({}, 0.0, 0.0),
        ({"detection_scores": 0.01}, 0.01, 0.0),
        ({"detection_boxes": 0.25}, 0.0, 0.25),
        ({"detection_classes": 1}, 0.0, 1.0),  # another class is as wrong as can be
    ],
)
def test_compare(change: dict[str, float], score: float, box: float) -> None:
    def changed(image: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value + change.get(name, 0) for name, value in outputs(image).items()}

    found = compare(outputs, changed, (32, 64))
    assert found["max_score_delta"] == pytest.approx(score)
    assert found["max_box_delta"] == pytest.approx(box)
    assert found["compared"] == 8 * 2, "equal scores have no rank, and the last score has no neighbour"
