from pathlib import Path

import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from trainer.weights import finished


def test_an_unfinished_folder_has_no_summary(tmp_path: Path) -> None:
    assert finished.read_summary(str(tmp_path)) is None
    for read in (finished.require_summary, finished.read_config):
        with pytest.raises(InputError, match=r"no (train\.json|config\.yaml); the training isn't finished"):
            read(str(tmp_path))


def test_a_torn_summary_is_an_error(tmp_path: Path) -> None:
    (tmp_path / finished.SUMMARY).write_text('{"steps": ')
    with pytest.raises(InputError, match=r"train\.json: not JSON"):
        finished.require_summary(str(tmp_path))


@pytest.mark.xdist_group("exported")
def test_what_a_training_leaves(trained: Path) -> None:
    assert finished.require_summary(str(trained))["steps"] > 0
    assert "trainer:" in finished.read_config(str(trained))


def test_weights_of_another_model(tmp_path: Path) -> None:
    """Two parts with one variable each; the checkpoint has variables of other shapes."""

    class Parts(tf.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.backbone, self.head = (tf.Module() for _ in range(2))
            self.backbone.kernel, self.head.kernel = (tf.Variable(tf.ones([size])) for _ in range(2))

        @property
        def checkpoint_items(self) -> dict[str, tf.Module]:
            return {"backbone": self.backbone, "head": self.head}

    (tmp_path / finished.SUMMARY).write_text("{}")
    tf.train.Checkpoint(**Parts(2).checkpoint_items).write(str(tmp_path / finished.WEIGHTS))
    finished.restore_weights(str(tmp_path), Parts(2))
    with pytest.raises(InputError, match="weights don't fit the model"):
        finished.restore_weights(str(tmp_path), Parts(3))
