"""Each backbone family from its first step to the exported, converted and fine-tuned model; see also test_backbones
and test_distribution."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tf_keras

from tests.trainer.families import family_config
from tests.trainer.made_records import CLASSES
from tests.trainer.validation_images import write_images
from tests.trainer.weights.models import build, same
from trainer.saved_model.building import export
from trainer.saved_model.conversion import convert
from trainer.saved_model.layout import PARITY
from trainer.training.history import read_history
from trainer.training.run import train
from trainer.weights import finished, loading

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    """A training sets the precision of the whole process; restore it for the next test."""
    yield
    tf_keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(
    ("kind", "precision", "xla"),
    [("resnet", "bfloat16", True), ("mobilenet", "float16", False), ("efficientnet", "float32", True)],
)
def test_a_family_trains_resumes_exports_converts_and_is_fine_tuned(
    kind: str, precision: str, xla: bool, records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one of the three precisions, with a moving average; XLA takes most of the time, so it has two families."""
    config = family_config(kind, runtime={"mixed_precision_dtype": precision, "enable_xla": xla})
    model, served = tmp_path / "model", tmp_path / "served"
    override = "trainer.train_steps=4,trainer.optimizer_config.ema.average_decay=0.5"
    train(records=str(records_folder), output=str(model), config=config, params_override=override)
    if kind == "resnet":  # the smallest to compile
        (model / finished.SUMMARY).unlink()
        for file in model.glob("ckpt-4.*"):
            file.write_bytes(b"")  # interrupted while it was saved
        train(records=str(records_folder), output=str(model), config=config, params_override=override)
        assert f"steps 2 to 4, resumed from {model}" in capsys.readouterr().out
    assert [row["step"] for row in read_history(str(model))] == [2, 4]
    tf_keras.mixed_precision.set_global_policy("float32")

    images, annotations = write_images(tmp_path)
    for folder, options in ((served, {}), (tmp_path / "augmented", {"flip": True, "scales": (1.0, 2.0)})):
        export(
            checkpoint=str(model),
            output=str(folder),
            images=str(images),
            annotations=str(annotations),
            **options,  # type: ignore[arg-type]
        )
        assert (folder / PARITY).exists()
    assert convert(model=str(served), to="tflite", output=str(tmp_path / "m.tflite"))["compared"] > 20

    trained = build(config, CLASSES, seed=1)
    finished.restore_weights(str(model), trained)
    other = build(config, CLASSES + 2, seed=2)
    transfer = loading.load(str(model), "matching", other)
    assert len(transfer.misfits) == 2, "kernel and bias of the layer with one channel per class"
    assert all(same(other.backbone, trained.backbone) + same(other.decoder, trained.decoder))
