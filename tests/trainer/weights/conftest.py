from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trainer.model import network


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> "tuple[network.CenterNetModel, Path]":
    """A detector with the 90 channels of COCO, and its weights as the Object Detection API publishes them.

    It takes 5 s: files whose tests take it are the group `od_api`.
    """
    from tests.trainer.weights.models import TWO_STACKS, build
    from tests.trainer.weights.od_api_archive import write_archive
    from trainer.weights.coco_classes import CHANNELS

    model = build(TWO_STACKS, CHANNELS, seed=3)
    return model, write_archive(model, tmp_path_factory.mktemp("od-api"))
