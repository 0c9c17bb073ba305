"""`centernet VERB …`: one command for all that the project does. `python -m pipeline VERB …` is the same.

A verb is a module with `parser()` and `main(argv)`. Only the module of the verb that was asked for is imported, so that
help does not wait for TensorFlow.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from beam_preprocess.base.command import PROGRAM
from trainer.shared.versions import VERSION


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of the command line."""

    name: str
    group: str
    help: str
    """One line in the list of verbs."""
    module: str

    def load(self) -> Any:
        """Its module."""
        return importlib.import_module(self.module)


_PROJECT, _DATA, _MODEL, _PROMOTION = "project", "data", "model", "promotion"
_USE, _SERVICE = "production", "pipeline service"
_TABLE = (
    Verb("run", _PROJECT, "run the whole pipeline on this machine", "pipeline.commands.run"),
    Verb("compile", _PROJECT, "compile the pipeline to a YAML file for one target", "pipeline.commands.compile"),
    Verb("runs", _PROJECT, "remove old runs on this machine", "pipeline.commands.runs"),
    Verb("init", _PROJECT, "write a configuration from a data set", "pipeline.commands.init"),
    Verb("config", _PROJECT, "show and check configurations", "trainer.config.__main__"),
    Verb("check", _DATA, "report what is wrong with a data set", "beam_preprocess.check"),
    Verb("preprocess", _DATA, "write training records from a data set", "beam_preprocess.preprocess"),
    Verb("inspect", _DATA, "print and draw records", "beam_preprocess.inspect_records"),
    Verb("preview-augmentation", _DATA, "draw augmented training images", "trainer.preview_augmentation"),
    Verb("init-weights", _MODEL, "make an initial checkpoint from pretrained weights", "trainer.init_weights"),
    Verb("train", _MODEL, "train a model", "trainer.train"),
    Verb("export", _MODEL, "export a checkpoint as a SavedModel", "trainer.export"),
    Verb("convert", _MODEL, "convert a SavedModel to another format", "trainer.convert"),
    Verb("predict", _MODEL, "detect objects in images with a SavedModel", "trainer.predict"),
    Verb("evaluate", _MODEL, "score a SavedModel on validation data", "trainer.evaluate"),
    Verb("aot", _MODEL, "check that training fits a TPU, without a TPU", "trainer.aot.__main__"),
    Verb("gate", _PROMOTION, "decide whether a candidate may replace the champion", "trainer.gate"),
    Verb("promote", _PROMOTION, "publish a candidate that passed the gate", "trainer.promote"),
    Verb("approve", _PROMOTION, "make a version that is waiting for approval the champion", "trainer.approve"),
    Verb("registry", _PROMOTION, "list, show, roll back and prune published versions", "trainer.registry.__main__"),
    Verb("report", _PROMOTION, "write the report page of a run", "trainer.report.__main__"),
    Verb("serve", _USE, "serve a model over HTTP on this machine, with a page to try it", "trainer.serve"),
    Verb("score", _USE, "write a model's detections on many images", "trainer.score"),
    Verb("watch", _USE, "compare new images with what the champion was validated on", "pipeline.commands.watch"),
    Verb("deploy", _USE, "serve a published version on an endpoint, as a canary", "pipeline.commands.deploy"),
    Verb("submit", _SERVICE, "run the pipeline on Vertex AI or a Kubeflow endpoint", "pipeline.commands.submit"),
    Verb("schedule", _SERVICE, "run the pipeline on a schedule", "pipeline.commands.schedule"),
    Verb("status", _SERVICE, "show a run and its tasks", "pipeline.commands.status"),
    Verb("list", _SERVICE, "list the newest runs", "pipeline.commands.list"),
    Verb("logs", _SERVICE, "print the logs of a run's tasks", "pipeline.commands.logs"),
    Verb("cancel", _SERVICE, "cancel a run", "pipeline.commands.cancel"),
)
VERBS = {verb.name: verb for verb in _TABLE}
"""All verbs by name, in the order in which help lists them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; see its own help for its exit codes.

    Returns:
      The verb's exit code, 2 for an unknown verb, or 141 if nobody reads the output any more.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does Python's own flush at exit complain
        return 141


def _run(words: list[str]) -> int:
    first = words[0] if words else ""
    if first in ("-h", "--help", "help"):
        print(overview())
        return 0
    if first in ("-V", "--version"):
        print(f"{PROGRAM} {VERSION}")
        return 0
    if first not in VERBS:
        print(f"error: {_unknown(first)}", file=sys.stderr)
        return 2
    return int(VERBS[first].load().main(words[1:]) or 0)


def overview() -> str:
    """The text of `centernet --help`."""
    width = max(map(len, VERBS))
    lines = [
        f"usage: {PROGRAM} VERB [arguments]",
        "",
        "CenterNet, from a COCO data set to a promoted model.",
    ]
    group = ""
    for verb in VERBS.values():
        if verb.group != group:
            group = verb.group
            lines += ["", f"{group}:"]
        lines.append(f"  {verb.name:<{width}}  {verb.help}")
    lines += [
        "",
        f"{PROGRAM} VERB --help   the flags of one verb, with examples",
        f"{PROGRAM} --version     the version",
    ]
    return "\n".join(lines)


def _unknown(name: str) -> str:
    if not name:
        return f"no verb given; {PROGRAM} --help lists them"
    near = get_close_matches(name, VERBS, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{name}: unknown verb; {meant}{PROGRAM} --help lists all"
