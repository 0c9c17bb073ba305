"""Networks whose every weight is drawn, for tests of loading and conversion."""

import functools
from typing import Any

import numpy as np

from tests.trainer.made_records import TINY_CONFIG
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.sections import parse_config
from trainer.model import network

TWO_STACKS = (
    TINY_CONFIG.replace("num_hourglasses: 1", "num_hourglasses: 2")
    .replace("['2']", "['2_0', '2']")
    .replace("model_id: 10", "model_id: 20")  # Model Garden's converter takes one inner block for a nested hourglass
)


def drawn(model: Any, seed: int) -> None:
    """Draws every weight, batch statistics included."""
    rng = np.random.default_rng(seed)
    for part in (model.backbone, model.head):
        part.set_weights([rng.uniform(0.1, 1.0, w.shape).astype(np.float32) for w in part.get_weights()])


@functools.cache
def _network(config: str, classes: int, number: int) -> network.CenterNetModel:
    task = build_experiment(parse_config(config)).task
    task.model.num_classes = classes
    return network.build_model(task)


def build(config: str, classes: int, seed: int, number: int = 0) -> network.CenterNetModel:
    """A model of ours whose every weight is drawn.

    Building takes a second or two, so each further call for the same network draws the weights of the first one's
    again; a test that needs two of them at a time gives another `number`.
    """
    model = _network(config, classes, number)
    drawn(model, seed)
    return model


def kept(config: str, task: CenterNetTask) -> network.CenterNetModel:
    """In place of `network.build_model`: one network for all archives that are read, which write its every weight."""
    return _network(config, task.model.num_classes, 2)


def same(a: Any, b: Any) -> list[bool]:
    return [np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True)]
