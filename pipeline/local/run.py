"""Runs the pipeline on this machine, through kfp's own local runner, and says what came out."""

import contextlib
import logging
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from components.support.stage import WORK_DIR
from pipeline.graph.request import SPLITS
from pipeline.local import cache as local_cache
from pipeline.local import demo_data, result_table, run_folder
from pipeline.local.run_folder import RunFolder
from pipeline.local.stage_log import Failure, StageLog
from pipeline.preflight.configuration import ConfigCheck
from pipeline.preflight.data import check_data
from pipeline.preflight.folders import check_writable
from pipeline.preflight.processes import child_environment
from pipeline.preflight.texts import check_texts
from trainer.config.sections import find_config, parse_config

DEMO_CONFIG = "demo"
OWN_DATA_CONFIG = "custom-small"
NOTHING_NEW = "nothing new"
"""Name of the stage that ends a run which has nothing to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What `python -m pipeline run` was asked for; data arguments are "" when not given."""

    train_images: str = ""
    train_annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    coco_dir: str = ""
    demo_data_dir: str = ".demo-data"
    config: str = ""
    """A YAML file or the name of a shipped config; "" takes the demo's, or custom-small for own data."""
    max_reject_fraction: float | None = None
    """Instead of the config's."""
    seed: int = 0
    registry: str = "registry"
    runs_dir: str = "runs"
    resume: str = ""
    only_if_changed: bool = False
    """End after the data check when data, config and image are the last completed run's."""
    no_cache: bool = False
    """Do every stage's work again, also where an earlier run has the result."""
    notify: str = ""
    """Whom a run on Vertex AI would mail; here the outcome is printed."""
    verbose: bool = False


def run(options: RunOptions) -> int:
    """Runs the pipeline, or an earlier run's remaining stages.

    Returns:
      0: done, promoted or held. 1: a stage failed, or the run was interrupted. 2: a stage found the input to be bad.

    Raises:
      InputError: bad input that was found before the pipeline started.
    """
    started = time.monotonic()
    folder = _resumed(options) if options.resume else _prepared(options)
    print(f"run folder           {_shown(folder.path)}", flush=True)
    code, outcome = _execute(folder, options, started)
    if options.notify:
        print(f"notify    {options.notify}: {outcome} (printed: only a run on Vertex AI mails)", flush=True)
    return code


def _resumed(options: RunOptions) -> RunFolder:
    folder = run_folder.resume(Path(options.resume))
    arguments = folder.arguments()
    check_texts(arguments)
    check_data(arguments)
    check_writable(Path(arguments["registry"]), "--registry")
    return folder


def _prepared(options: RunOptions) -> RunFolder:
    arguments = _data_arguments(options)
    demo = not arguments
    config_path = find_config(options.config or (DEMO_CONFIG if demo else OWN_DATA_CONFIG))
    config = _with_reject_limit(config_path.read_text(), options.max_reject_fraction)
    parse_config(config, str(config_path))
    runs, registry = Path(options.runs_dir).absolute(), Path(options.registry).absolute()
    demo_folder = Path(options.demo_data_dir).absolute()
    texts = {"config": config, "registry": registry, "runs-dir": runs, **arguments}
    check_texts({**texts, "demo-data-dir": demo_folder} if demo else texts)
    check_writable(runs, "--runs-dir")
    check_writable(registry, "--registry")
    config_check = ConfigCheck(ConfigText(text=config, where=str(config_path)))
    try:
        if demo:
            arguments = _coco_layout(demo_data.generate(demo_folder))
            print(f"demo data            {_shown(demo_folder)}", flush=True)
        check_data(arguments)
        config_check.wait()
    finally:
        config_check.stop()
    values: dict[str, Any] = {**arguments, "config": config, "registry": str(registry), "seed": options.seed}
    if options.only_if_changed:
        values["only_if_changed"] = True
    return run_folder.create(runs, values)


def _data_arguments(options: RunOptions) -> dict[str, str]:
    """The four data arguments as absolute paths; empty for the demo."""
    given = {
        f"{split}_{kind}": getattr(options, f"{split}_{kind}") for split in SPLITS for kind in ("images", "annotations")
    }
    named = [name for name, value in given.items() if value]
    if options.coco_dir:
        if named:
            raise InputError(
                f"--coco-dir {options.coco_dir}: given together with --{named[0].replace('_', '-')}; give one"
            )
        given = _coco_layout(Path(options.coco_dir))
    elif not named:
        return {}
    missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if not value]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: not given; give all four data flags, or --coco-dir, or none for the demo"
        )
    return {name: str(Path(value).absolute()) for name, value in given.items()}


def _coco_layout(folder: Path) -> dict[str, str]:
    arguments = {}
    for split in SPLITS:
        arguments[f"{split}_images"] = str(folder / f"{split}2017")
        arguments[f"{split}_annotations"] = str(folder / "annotations" / f"instances_{split}2017.json")
    return arguments


def _with_reject_limit(config: str, limit: float | None) -> str:
    """The config text with another preprocess.max_reject_fraction; comments are lost then."""
    if limit is None:
        return config
    import yaml

    from beam_preprocess.base.yaml import FileLoader

    parse_config(config)
    values: dict[str, Any] = yaml.load(config, Loader=FileLoader)
    values["preprocess"] = {**(values.get("preprocess") or {}), "max_reject_fraction": limit}
    return yaml.safe_dump(values, sort_keys=False)


def _execute(folder: RunFolder, options: RunOptions, started: float) -> tuple[int, str]:
    """(exit code, outcome in a sentence)."""
    # kfp takes a second to import: only once the input is known to be good.
    from kfp import local

    from pipeline.graph.targets import TARGETS
    from pipeline.graph.training_pipeline import make_pipeline

    # No image is started. Its name tells runs of one code from those of another, as a built image's does.
    target = TARGETS["local"]
    pipeline = make_pipeline(replace(target, image=f"{target.image}-{local_cache.code_digest()}"))
    # By the environment: as an argument it would make every run's cache keys its own.
    arguments = {**folder.arguments(), "work_dir": ""}
    os.environ.update(child_environment())
    os.environ[WORK_DIR] = str(folder.stages)
    cache = local_cache.open_cache(folder.path.parent)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder.pipeline_root),
        raise_on_error=True,
        enable_caching=not options.no_cache,
        cache_root=str(cache),
    )
    log = StageLog(
        folder.log,
        _display_names(pipeline.pipeline_spec),
        verbose=options.verbose,
        origin=lambda key: _shown(Path(local_cache.origin(cache, key))),
    )
    try:
        with (
            _sigterm_interrupts(),
            log,
            _cache_hits(log),
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            # The image's name lacks "python", which the subprocess runner remarks on; it starts no image at all.
            warnings.filterwarnings("ignore", message="You may be attemp", category=RuntimeWarning)
            pipeline(**arguments)
    except KeyboardInterrupt:
        _end_children()
        print(f"\ninterrupted during: {log.stage}; what earlier stages wrote is kept", file=sys.stderr)
        print(f"resume with: {_resume_command(folder)}", file=sys.stderr)
        return 1, f"interrupted during {log.stage}"
    except RuntimeError as error:
        return _failed(folder, log, error)
    if NOTHING_NEW in log.seconds:
        seconds = time.monotonic() - started
        print(f"\nnothing new: data, configuration and image are those of the last completed run ({seconds:.1f} s)")
        return 0, "nothing new"
    summary = folder.finish({**log.seconds, "total": round(time.monotonic() - started, 2)})
    print(result_table.table(summary))
    print(f"\nreport    {_shown(folder.report)}\nsummary   {_shown(folder.summary)}", flush=True)
    return 0, summary["decision"]["sentence"]


def _failed(folder: RunFolder, log: StageLog, error: RuntimeError) -> tuple[int, str]:
    """Tells what failed and how to go on; kfp's own message is only the name of the task."""
    failure = log.failure or Failure(str(error), (), "")
    print(f"\nfailed: {failure.stage}", file=sys.stderr)
    if failure.input_error:
        print(f"error: {failure.input_error}", file=sys.stderr)
    else:
        print("\n".join(f"    {line}" for line in failure.tail), file=sys.stderr)
    print(f"whole log: {_shown(folder.log)}", file=sys.stderr)
    if log.reused:
        print(f"reused from earlier runs: {', '.join(log.reused)} (--no-cache does them again)", file=sys.stderr)
    print(f"resume with: {_resume_command(folder)}", file=sys.stderr)
    return 2 if failure.input_error else 1, f"failed in {failure.stage}"


def _resume_command(folder: RunFolder) -> str:
    python = _shown(Path(sys.executable))
    return f"{shlex.quote(python)} -m pipeline run --resume {shlex.quote(_shown(folder.path))}"


def _shown(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _display_names(spec: Any) -> dict[str, str]:
    """kfp's local name of every task (its component's) to the name that the graph shows."""
    names = {}
    for dag in [spec.root.dag, *(component.dag for component in spec.components.values())]:
        for task in dag.tasks.values():
            names[task.component_ref.name.removeprefix("comp-")] = task.task_info.name
    return names


@contextlib.contextmanager
def _cache_hits(log: StageLog) -> Iterator[None]:
    """kfp tells of a cache hit on the root logger, which is at INFO only while a task runs."""
    root, handler = logging.getLogger(), logging.StreamHandler(log)
    handler.addFilter(lambda record: "cache hit" in record.getMessage())
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """A polite kill (a time limit, a service manager) ends the run as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _end_children() -> None:
    """Ends the stage that still runs, so that it does not write beside a resumed run.

    Ctrl-C in a terminal reaches it anyway; a signal to this process alone does not. Linux tells who our children are;
    elsewhere only the terminal's way works.
    """
    waiting = [os.getpid()]
    found: list[int] = []
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids = [int(pid) for pid in children.read_text().split()]
                waiting += pids
                found += pids
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
