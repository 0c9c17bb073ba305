"""The pipelines that there are, by the name that commands take."""

from typing import Any

from pipeline.graph import training_pipeline, watch_pipeline
from pipeline.graph.request import TRAINING, WATCH
from pipeline.graph.targets import Target

MAKERS = {TRAINING: training_pipeline.make_pipeline, WATCH: watch_pipeline.make_pipeline}


def make_pipeline(target: Target, pipeline: str = TRAINING) -> Any:
    """The pipeline for one target: kfp's graph component.

    Args:
      target: where it will run.
      pipeline: a key of `request.PIPELINES`.
    """
    return MAKERS[pipeline](target)
