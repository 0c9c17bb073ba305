"""Runs a Beam job to its end, on any engine: link, counters and cancelling on Dataflow."""

import logging
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_preprocess.engine.dataflow import counters, job_link
from beam_preprocess.engine.options import local_runner


def run_job(options: PipelineOptions, build: Callable[[beam.Pipeline], object], namespace: str) -> None:
    """Builds a pipeline, runs it and waits for its end.

    When this process is interrupted, a job on Dataflow is cancelled, because its plans are removed, or nobody collects
    its results.

    Args:
      options: of `beam_options`.
      build: applies the transforms.
      namespace: of the counters to print when a job on Dataflow is done.
    """
    for logger in ("apache_beam.runners.common", "apache_beam.runners.portability.local_job_service"):
        logging.getLogger(logger).addFilter(_is_relevant)
    pipeline = beam.Pipeline(runner=local_runner(options), options=options)
    build(pipeline)
    result = pipeline.run()
    link = job_link(result, options)
    if link:
        print(f"job: {link}", flush=True)
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        if link:
            result.cancel()
        raise
    if link:
        found = ", ".join(f"{name} {count}" for name, count in counters(result, namespace).items())
        print(f"counters: {found or 'none reported'}", flush=True)


def _is_relevant(record: logging.LogRecord) -> bool:
    """Drops where a Ctrl-C interrupted the work, and that local workers lack a main session, which they do not need."""
    return not any(word in record.getMessage() for word in ("KeyboardInterrupt", "No semi_persistent_directory"))
