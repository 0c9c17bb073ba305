"""Runs the pipeline on this machine, through kfp's local runner, and prints the result."""

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from beam_preprocess.base.command import PROGRAM
from beam_preprocess.base.errors import Failure, InputError
from components.support.events import EVENTS
from components.support.stage import WORK_DIR
from pipeline.graph.request import WATCH, RunRequest
from pipeline.graph.targets import TARGETS
from pipeline.local import alerts, containers, kfp_runner, prepare, processes, result_table, watched
from pipeline.local import cache as local_cache
from pipeline.local.containers import Engine
from pipeline.local.prepare import LocalOptions
from pipeline.local.run_folder import RunFolder, shown
from pipeline.local.stage_log import StageFailure, StageLog
from pipeline.preflight.processes import child_environment
from trainer.registry.approval import PENDING

NOT_DUE = "no training"
"""The stage that ends a watch after which no training is due."""
UNCHANGED = "nothing new"
"""The stage that ends a training because nothing changed."""
LAST = "remember the run"
"""The stage that ends every other run."""


def run(request: RunRequest, options: LocalOptions) -> int:
    """Runs the pipeline, or an earlier run's remaining stages.

    Returns:
      0: done, promoted, held or pending approval. 1: a stage failed, or the run was interrupted. 2: a stage found bad
        input.

    Raises:
      InputError: bad input that was found before the pipeline started.
    """
    started = time.monotonic()
    if request.webhook_secret:
        alerts.check(request.webhook_secret)
    engine = containers.connect(options.image) if options.image else None
    make_folder = prepare.resumed_run if options.resume else prepare.new_run
    try:
        folder = make_folder(request, options)
    except InputError as error:  # a run that cron started has nobody who reads the error
        alerts.post(request.webhook_secret, f"failed: {error}")
        raise
    if folder.image and not engine:
        engine = containers.connect(folder.image)
    if engine:
        print(f"containers           of {engine.image}, built {engine.built}", flush=True)
    print(f"run folder           {shown(folder.path)}", flush=True)
    with watched.alone(Path(folder.arguments()["registry"])) if folder.pipeline == WATCH else nullcontext():
        code, outcome = _execute(folder, started, request, engine, verbose=options.verbose)
    if request.notify:
        print(f"notify    {request.notify}: {outcome} (printed only: email needs Vertex AI)", flush=True)
    alerts.post(request.webhook_secret, outcome, folder)
    return code


def _execute(
    folder: RunFolder, started: float, request: RunRequest, engine: Engine | None, *, verbose: bool
) -> tuple[int, str]:
    """(exit code, outcome in a sentence)."""
    kfp_runner.load()
    from pipeline.graph.pipelines import make_pipeline

    # The image's name holds the code's digest, as a built image's tag does: it is part of kfp's cache key. Processes
    # need no image.
    target = TARGETS["vertex-cpu" if engine else "local"]
    digest = engine.digest if engine else local_cache.code_digest()
    target = replace(target, image=f"{engine.image if engine else target.image}-{digest}")
    pipeline = make_pipeline(target, folder.pipeline)
    os.environ.update(child_environment())
    # In the environment: as an argument, the folder would make every run's cache keys its own.
    os.environ[WORK_DIR], os.environ[EVENTS] = str(folder.stages), str(folder.events)
    cache = local_cache.open_cache(folder.path.parent, digest)
    log = StageLog(
        folder.log,
        folder.events,
        verbose=verbose,
        known=folder.warnings(),
        origin=lambda key: shown(Path(local_cache.origin(cache, key))),
    )
    failed = ""
    start = _container_start(engine, folder, log) if engine else None
    try:
        with processes.sigterm_interrupts(), log:
            kfp_runner.run(
                pipeline,
                {**folder.arguments(), "work_dir": "", "strict": request.strict},
                pipeline_root=folder.pipeline_root,
                cache=cache if request.cached else None,
                listener=log,
                start=start,
            )
    except KeyboardInterrupt:
        processes.end_children()
        where = f"during {log.stage}" if log.stage else "between two stages"
        print(f"\ninterrupted {where}; what earlier stages wrote is kept", file=sys.stderr)
        print(f"resume with: {_resume_command(folder)}", file=sys.stderr)
        return 1, f"failed: interrupted {where}"
    except kfp_runner.PipelineFailed as error:
        failed = str(error)
    if not failed and not {UNCHANGED, NOT_DUE, LAST} & log.seconds.keys():
        failed = f"the pipeline ended without the stage {LAST!r}"
    if failed or log.failure:
        return _report_failure(folder, log, log.failure or StageFailure(failed, log.outside))
    if UNCHANGED in log.seconds:
        seconds = time.monotonic() - started
        print(f"\nnothing new: data, configuration and image are those of the last completed run ({seconds:.1f} s)")
        return 0, UNCHANGED
    due = watched.finish(folder) if folder.pipeline == WATCH else None
    if due and NOT_DUE in log.seconds:
        print(f"\n{watched.lines(folder, due)}", flush=True)
        return 0, due.sentence
    summary = folder.finish({**log.seconds, "total": round(time.monotonic() - started, 2)})
    print(result_table.comparison(summary))
    print(f"\nreport    {shown(folder.report)}\nsummary   {shown(folder.summary)}", flush=True)
    if summary["decision"]["outcome"] == PENDING:
        registry = shlex.quote(shown(Path(folder.arguments()["registry"])))
        print(f"approve   {PROGRAM} approve {summary['decision']['new_version']} --registry {registry}", flush=True)
    outcome: str = summary["decision"]["sentence"]
    if due is None:
        return 0, outcome
    print(watched.lines(folder, due, outcome), flush=True)
    return 0, f"{outcome} (watched: {due.watched.said})"


def _container_start(engine: Engine, folder: RunFolder, log: StageLog) -> kfp_runner.Start:
    """What starts each task's container. A task that did not say that it is done has failed, whatever its exit code."""
    if left := engine.end(folder.path):
        print(f"ended {left} container(s) that the interrupted run left running", flush=True)
    seen = containers.places(folder)
    engine.hand_over(seen)
    environment = {name: os.environ[name] for name in (WORK_DIR, EVENTS)}
    in_container = engine.task(folder.path, seen, environment)

    def start(command: Sequence[str], variables: Mapping[str, str]) -> int:
        ended = log.ended()
        try:
            code = in_container(command, variables)
        except Failure as error:  # into the log, where the stage's last words are
            print(error)
            return 1
        if code == 0 and log.ended() == ended:
            print("the container ended with exit code 0, but its stage did not report that it is done")
            return 1
        return code

    return start


def _report_failure(folder: RunFolder, log: StageLog, failure: StageFailure) -> tuple[int, str]:
    """Prints what failed and how to resume."""
    print(f"\nfailed: {failure.stage}", file=sys.stderr)
    if failure.cause in ("bad input", "failure"):
        print(f"error: {failure.error}", file=sys.stderr)
    else:
        print("\n".join(f"    {line}" for line in failure.tail), file=sys.stderr)
    print(f"whole log: {shown(folder.log)}", file=sys.stderr)
    if log.origins:
        print(f"reused from earlier runs: {', '.join(log.origins)} (--no-cache runs them again)", file=sys.stderr)
    print(f"resume with: {_resume_command(folder)}", file=sys.stderr)
    return 2 if failure.cause == "bad input" else 1, f"failed in {failure.stage}"


def _resume_command(folder: RunFolder) -> str:
    return f"{PROGRAM} run --resume {shlex.quote(shown(folder.path))}"
