"""From a request to the folder of a run: everything that can be known to be wrong is refused before it exists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base.config_text import ConfigText, resolve
from beam_preprocess.base.errors import InputError
from pipeline.graph.request import RunRequest, coco_layout
from pipeline.local import demo_data, run_folder
from pipeline.local.run_folder import RunFolder, shown
from pipeline.preflight.configuration import ConfigCheck
from pipeline.preflight.data import check_data
from pipeline.preflight.folders import check_writable
from trainer.config.sections import parse_config

DEMO_CONFIG = "demo"
OWN_DATA_CONFIG = "custom-small"
REGISTRY = "registry"
JUDGING = ("gate", "export")
"""Sections that a resumed run may change: they judge a trained model, and training does not read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """What only runs on this machine have."""

    runs_dir: str = "runs"
    demo_data_dir: str = ".demo-data"
    resume: str = ""
    """Folder of an earlier run."""
    verbose: bool = False


def new_run(request: RunRequest, options: LocalOptions) -> RunFolder:
    """The folder of a new run. Without data, the demo's data is generated.

    Raises:
      InputError: data, configuration or a folder can't be used.
    """
    data = {name: str(Path(value).absolute()) for name, value in request.data().items()}
    config = resolve(request.config or (OWN_DATA_CONFIG if data else DEMO_CONFIG), request.changes)
    parse_config(config.text, config.where)
    runs, registry = Path(options.runs_dir).absolute(), Path(request.registry or REGISTRY).absolute()
    check_writable(runs, "--runs-dir")
    check_writable(registry, "--registry")
    config_check = ConfigCheck(config)
    try:
        if not data:
            data = _demo_data(Path(options.demo_data_dir).absolute())
        check_data(data)
        config_check.wait()
    finally:
        config_check.stop()
    values: dict[str, Any] = {**data, "config": config.text, "registry": str(registry), "seed": request.seed}
    if request.only_if_changed:
        values["only_if_changed"] = True
    return run_folder.create(runs, values)


def resumed_run(request: RunRequest, options: LocalOptions) -> RunFolder:
    """The folder of an earlier run, with the request's changes in its configuration.

    Raises:
      InputError: not the folder of a run, its data is gone, or a change that would train again.
    """
    folder = run_folder.resume(Path(options.resume))
    changed = _judged_again(folder, request.changes) if request.changes else None
    arguments = folder.arguments()
    check_data(arguments)
    check_writable(Path(arguments["registry"]), "--registry")
    if changed:
        folder.change(changed.text, request.changes)
    return folder


def _judged_again(folder: RunFolder, changes: Sequence[str]) -> ConfigText:
    for change in changes:
        if change.partition("=")[0].partition(".")[0].strip() not in JUDGING:
            sections = " and ".join(f"{name}:" for name in JUDGING)
            raise InputError(
                f"--set {change}: --resume takes keys of {sections} only; leave out --resume for a new run"
            )
    config = resolve(str(folder.config), changes)
    parse_config(config.text, config.where)
    return config


def _demo_data(folder: Path) -> dict[str, str]:
    made = demo_data.generate(folder)
    print(f"demo data            {shown(folder)}", flush=True)
    return coco_layout(str(made))
