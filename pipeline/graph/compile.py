"""Compiles the graph to `pipeline.yaml`, and says how a file differs from what would be compiled."""

import difflib
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from pipeline.graph.targets import Target
from pipeline.graph.training_pipeline import make_pipeline

DEFAULT_TARGET = "vertex-gpu"
DEFAULT_OUTPUT = "pipeline.yaml"


def compile_pipeline(target: Target, output: str | Path) -> None:
    """Writes the compiled pipeline: the whole file or nothing.

    Args:
      target: where it runs.
      output: a path, or a URI such as gs://….
    """
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(make_pipeline(target), str(compiled))
        write_text(str(output), compiled.read_text())


def staleness(target: Target, committed: Path) -> str:
    """A unified diff from the file to what the code compiles to; "" when the file is current.

    The kfp version that wrote the file is left out: an upgrade that changes nothing else makes nothing stale.

    Raises:
      InputError: the file is there and is no compiled pipeline.
    """
    with tempfile.TemporaryDirectory() as folder:
        before = _text(committed) if committed.exists() else ""
        current = Path(folder) / "pipeline.yaml"
        compile_pipeline(target, current)
        after = _text(current)
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            str(committed),
            "what the code compiles to",
        )
    )


def _text(path: Path) -> str:
    # libyaml reads and writes the spec five times faster than the Python code.
    try:
        content: Any = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"--output {path}: cannot be read ({' '.join(str(error).split())[:200]}); compile it"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"--output {path}: is no compiled pipeline; compile it")
    content.pop("sdkVersion", None)
    text: str = yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    return text
