"""The trainer's own loop: XLA, pieces, and where the speed counts from."""

from pathlib import Path

import pytest
import tensorflow as tf
import tf_keras

from tests.trainer.families import family_config
from tests.trainer.made_records import TINY_CONFIG
from trainer.model import depthwise, network
from trainer.training.history import read_history
from trainer.training.run import train

PLAIN = ",".join(f"task.augmentation.{name}=0.0" for name in ("brightness", "contrast", "saturation", "hue"))
"""XLA draws other random numbers than TensorFlow's kernels."""


@pytest.mark.slow
def test_enable_xla_compiles_the_step_and_trains_the_same(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    override = f"trainer.train_steps=4,task.augmentation.flip=false,{PLAIN}"
    curves = []
    for xla in ("false", "true"):
        folder, more = tmp_path / xla, f",runtime.enable_xla={xla}"
        train(records=str(records_folder), output=str(folder), config=TINY_CONFIG, params_override=override + more)
        curves.append([row["total_loss"] for row in read_history(str(folder))])
    assert len(curves[0]) == 2
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)

    # That it was compiled: Model Garden's upsampling has no gradient there.
    monkeypatch.setattr(network, "NearestUpsampling", lambda: tf_keras.layers.UpSampling2D(2))
    with pytest.raises(tf.errors.InvalidArgumentError, match="ResizeNearestNeighborGrad"):
        train(
            records=str(records_folder),
            output=str(tmp_path / "shipped"),
            config=TINY_CONFIG,
            params_override=f"{override},runtime.enable_xla=true",
        )


@pytest.mark.slow
def test_on_a_cpu_the_gradients_of_wide_filters_are_in_parts(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, whole = [], depthwise.filter_gradient

    def counted(inputs: tf.Tensor, output: tf.Tensor, kernel_size: tuple[int, int], stride: int) -> tf.Tensor:
        sizes.append(kernel_size)
        return whole(inputs, output, kernel_size, stride)

    monkeypatch.setattr(depthwise, "filter_gradient", counted)
    override = "trainer.train_steps=2,trainer.steps_per_loop=1"
    config = family_config("efficientnet")
    train(records=str(records_folder), output=str(tmp_path), config=config, params_override=override)
    assert len(read_history(str(tmp_path))) == 2
    assert sizes == [(5, 5)] * 9
