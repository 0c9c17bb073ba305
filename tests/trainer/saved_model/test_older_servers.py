"""The TensorFlow of Vertex AI's newest prebuilt serving container, 2.15, loads and serves what 2.20 exports.

What this proves: the model's ops and their attributes exist in 2.15's library, for both of Python's loaders and for the
C++ loader that TensorFlow Serving has inside, and it computes the same. What it doesn't: the container itself was never
started, so its server, its limits and its Python are untested.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.families import BACKBONES, family_config
from tests.trainer.made_records import TINY_CONFIG
from tests.trainer.saved_model.serving_loaders import DEFAULT
from tests.trainer.validation_images import random_jpeg, write_images
from trainer.saved_model.building import export
from trainer.training.run import train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("older_servers")]

VERSION = "2.15.1"
PROGRAM = Path(__file__).with_name("serving_loaders.py")
LOW = "export: {score_threshold: 0.01}\n"
"""So that a network that has learned nothing detects something."""
FAMILIES = {"hourglass": TINY_CONFIG + LOW} | {kind: family_config(kind) + LOW for kind in BACKBONES}
"""Each backbone that the configuration takes, with a training of seconds."""
LOADERS = ("v1", "v2", "session")
MAX_SCORE_DELTA = 1e-6


@pytest.fixture(scope="session")
def older(request: pytest.FixtureRequest) -> Path:
    """Python with the older TensorFlow: 1.2 GB below pytest's cache, made once."""
    if sys.version_info >= (3, 12):
        pytest.skip(f"tensorflow-cpu {VERSION} has no package for Python {sys.version_info[0]}.{sys.version_info[1]}")
    folder = request.config.cache.mkdir(f"tensorflow-cpu-{VERSION}")
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", f"tensorflow-cpu=={VERSION}"]
        process = subprocess.run(install, capture_output=True, text=True, check=False)
        if process.returncode:
            pytest.skip(f"tensorflow-cpu {VERSION} can't be installed: {process.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return python


@pytest.fixture(scope="session", params=FAMILIES)
def model(request: pytest.FixtureRequest, records_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a short training of one family."""
    folder = tmp_path_factory.mktemp(request.param)
    train(records=str(records_folder), output=str(folder / "trained"), config=FAMILIES[request.param])
    export(checkpoint=str(folder / "trained"), output=str(folder / "model"))
    return folder / "model"


def test_what_2_20_exports_is_served_the_same_by_2_15(model: Path, older: Path, tmp_path: Path) -> None:
    images, _ = write_images(tmp_path)
    encoded = [path.read_bytes() for path in sorted(images.iterdir())]
    encoded += [random_jpeg(40 + 7 * i, 110 - 4 * i, seed=i) for i in range(18)]
    expected = {
        name: value.numpy()
        for name, value in tf.saved_model.load(str(model)).signatures[DEFAULT](image_bytes=tf.constant(encoded)).items()
    }
    np.savez(tmp_path / "images.npz", *(np.frombuffer(image, np.uint8) for image in encoded))
    process = subprocess.run(
        [older, PROGRAM, model, tmp_path / "images.npz", tmp_path / "served.npz"],
        env={"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.split()[-1] == VERSION
    served = dict(np.load(tmp_path / "served.npz"))
    assert set(served) == {f"{loader}/{name}" for loader in LOADERS for name in expected}
    assert (expected["num_detections"] > 0).any(), "an empty answer would prove nothing"
    for name, value in expected.items():
        for loader in LOADERS:
            found = served[f"{loader}/{name}"]
            if name == "detection_scores":
                assert np.abs(found - value).max() <= MAX_SCORE_DELTA, loader
            else:
                np.testing.assert_array_equal(found, value, err_msg=f"{loader}: {name}")
