"""Makes a starting point for training: from a name of the catalogue, or from any checkpoint that `starts` reads.

It writes a folder for `task.init_checkpoint`.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence

import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.config.experiment import CenterNetTask
from trainer.config.live_keys import INITIAL_MODULES
from trainer.weights import loading, origin, starts
from trainer.weights.loading import Transfer
from trainer.weights.od_api import BuildModel

SUMMARY = starts.CONVERTED
"""Written last; names every variable."""


def convert(
    *,
    source: str,
    output: str,
    task: CenterNetTask,
    build_model: BuildModel,
    modules: str = "backbone",
    num_classes: int = 0,
    class_names: Sequence[str] = (),
) -> Transfer:
    """Writes the starting point, or only checks that it fits.

    Args:
      source: a name of the catalogue, URI of a checkpoint's folder or prefix, or of a .tar.gz.
      output: folder to write; "" writes nothing.
      task: its `model` is the network that the weights are for.
      build_model: builds the network of a task.
      modules: one of `live_keys.INITIAL_MODULES`.
      num_classes: of the new model; needed for heads.
      class_names: of its classes; empty: unknown.

    Raises:
      InputError: the source is not such a checkpoint, or doesn't fit the model; the message names the variables.
    """
    if modules not in INITIAL_MODULES:
        raise InputError(f"--modules {modules}: use one of {', '.join(INITIAL_MODULES)}")
    if modules != "backbone" and num_classes < 1:
        raise InputError(
            f"--num-classes {num_classes}: the shape of the heads depends on it; give 1 or more, or --records"
        )
    task = task.replace()
    task.model.num_classes = num_classes or 1
    summary = os.path.join(output, SUMMARY)
    if output:
        try:
            # Before an archive of gigabytes is converted.
            tf.io.gfile.makedirs(output)
            if tf.io.gfile.exists(summary):
                tf.io.gfile.remove(summary)
        except tf.errors.OpError as error:
            raise InputError(f"--to {output}: can't be written: {error.message}; give another folder") from error
    model = functools.cache(lambda: build_model(task))  # seconds, which a misspelt path is not worth
    transfer, found = starts.load(source, modules, model, task=task, build_model=build_model, class_names=class_names)
    if output:
        items = {"backbone": model().backbone} if modules == "backbone" else model().checkpoint_items
        tf.train.Checkpoint(**items).write(os.path.join(output, loading.WEIGHTS))
        content = {"modules": modules, "num_classes": num_classes, origin.ORIGIN: origin.as_dict(found)}
        write_text(summary, json.dumps(content | dataclasses.asdict(transfer), indent=1) + "\n")
    return transfer
