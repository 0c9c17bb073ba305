"""`runs/<time>/`: what one local run leaves.

summary.json  report.html       what a person or a program reads first
label_errors.json  label_errors.coco.json       likely label errors of the validation data; links into stages/
saved_model/  checkpoint/  predictions.json      links into stages/, or into those of the run whose result was reused
config.yaml  run.json           what was run; `--resume` starts from these
watch.html                      of a watch: what the champion saw
logs/pipeline.log               everything that was printed
stages/       the output of every stage that did its work, and events.jsonl
pipeline/     kfp's own files
"""

import glob
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from pipeline.graph.request import TRAINING

_LINKS = {"saved_model": "model", "checkpoint": "checkpoint", "predictions.json": "predictions"}
"""Name in the folder to the key of its target in the summary's paths."""
_WITH_REPORT = ("label_errors.json", "label_errors.coco.json")
"""Files that the report stage writes next to the page."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def stages(self) -> Path:
        """The pipeline's work_dir."""
        return self.path / "stages"

    @property
    def pipeline_root(self) -> Path:
        """Folder of kfp's own files."""
        return self.path / "pipeline"

    @property
    def events(self) -> Path:
        """What the stages reported, see `components.support.events`."""
        return self.stages / "events.jsonl"

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        """Everything that the run printed, without colours."""
        return self.path / "logs" / "pipeline.log"

    @property
    def summary(self) -> Path:
        """The result in numbers."""
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        """The result as a page."""
        return self.path / "report.html"

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments."""
        return {**self._run()["arguments"], "config": self.config.read_text(encoding="utf-8")}

    @property
    def pipeline(self) -> str:
        """A key of `pipeline.graph.request.PIPELINES`."""
        return str(self._run().get("pipeline", TRAINING))

    @property
    def image(self) -> str:
        """The image whose containers run the stages; "" if they are processes."""
        return str(self._run().get("image", ""))

    def warnings(self) -> list[str]:
        """Warnings about the data that the user read before the run."""
        return list(self._run().get("warnings", []))

    def change(self, config: str, changes: Sequence[str]) -> None:
        """Replaces the configuration, and notes the changes in run.json."""
        run = self._run()
        run["changes"] = [*run.get("changes", []), *changes]
        write_text(str(self.config), config)
        write_text(str(self.path / "run.json"), json.dumps(run, indent=1) + "\n")

    def _run(self) -> dict[str, Any]:
        run: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return run

    def finish(self, seconds: dict[str, float]) -> dict[str, Any]:
        """Puts the result at the top of the folder.

        Args:
          seconds: wall seconds by stage. They replace those in the summary, which lack the start of each process and
            the report stage.

        Returns:
          The content of summary.json.
        """
        write_text(str(self.report), (self.stages / "report" / "report.html").read_text(encoding="utf-8"))
        summary: dict[str, Any] = json.loads((self.stages / "report" / "summary.json").read_text(encoding="utf-8"))
        for name, output in _LINKS.items():  # a reused result is in an earlier run's folder
            _link(self.path / name, os.path.relpath(summary["paths"][output], self.path))
        for name in _WITH_REPORT:
            if (self.stages / "report" / name).is_file():
                _link(self.path / name, os.path.join(self.stages.name, "report", name))
        summary["seconds"] = seconds
        write_text(str(self.summary), json.dumps(summary, indent=1) + "\n")
        return summary


def create(
    runs: Path, arguments: dict[str, Any], warnings: Sequence[str] = (), image: str = "", pipeline: str = TRAINING
) -> RunFolder:
    """Creates the folder of a new run and points `runs/latest` at it.

    Args:
      runs: parent of all runs.
      arguments: the pipeline's; `run_id` and `work_dir` are added here.
      warnings: what the user has read about the data.
      image: see `RunFolder.image`.
      pipeline: see `RunFolder.pipeline`.
    """
    runs.mkdir(parents=True, exist_ok=True)
    name = stamp = time.strftime("%Y%m%d-%H%M%S")
    for attempt in range(2, 1000):
        try:
            (runs / name).mkdir()
            break
        except FileExistsError:
            name = f"{stamp}-{attempt}"
    folder = RunFolder((runs / name).absolute())
    for path in (folder.stages, folder.pipeline_root, folder.log.parent):
        path.mkdir()
    # The folder's name alone is not unique: two folders of runs may share a registry.
    run_id = f"{name}-{uuid.uuid4().hex[:8]}"
    filled = {**arguments, "run_id": run_id, "work_dir": str(folder.stages)}
    write_text(str(folder.path / "config.yaml"), filled.pop("config"))
    run = {"arguments": filled, "warnings": list(warnings), **({"image": image} if image else {})}
    run |= {"pipeline": pipeline} if pipeline != TRAINING else {}
    write_text(str(folder.path / "run.json"), json.dumps(run, indent=1) + "\n")
    _link(runs / "latest", name)
    return folder


def resume(path: Path) -> RunFolder:
    """Opens the folder of an earlier run.

    Raises:
      InputError: it is not the folder of a run, or was moved.
    """
    folder = RunFolder(path.resolve())
    for name in ("run.json", "config.yaml"):
        if not (folder.path / name).is_file():
            raise InputError(
                f"--resume {path}: has no {name}, so it is not the folder of a run; name one below --runs-dir"
            )
    work_dir = folder.arguments()["work_dir"]
    if work_dir != str(folder.stages):
        raise InputError(
            f"--resume {path}: the run was made as {Path(work_dir).parent}; move the folder back to resume it"
        )
    for kfp_files in folder.pipeline_root.iterdir():
        shutil.rmtree(kfp_files)
    _link(folder.path.parent / "latest", folder.path.name)
    return folder


def shown(path: Path) -> str:
    """The path as messages show it: relative to the current folder, if it is below that."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def existing_folder(images: str) -> Path:
    """The folder of images that are named by a folder, a glob pattern or a file."""
    path = Path(images)
    while glob.has_magic(str(path)):
        path = path.parent
    return path.parent if path.is_file() else path


def _link(link: Path, target: str) -> None:
    """Creates or replaces a symbolic link in one step."""
    temporary = link.with_name(f".{link.name}.tmp-{uuid.uuid4().hex}")
    temporary.symlink_to(target)
    os.replace(temporary, link)
