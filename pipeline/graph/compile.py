"""Compiles a graph to `pipeline.yaml` or `watch.yaml`, and compares a file with what the code compiles to."""

import difflib
import tempfile
from pathlib import Path

import yaml
from kfp import compiler

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from pipeline.graph import pipelines
from pipeline.graph.request import TRAINING
from pipeline.graph.targets import Target


def compile_pipeline(target: Target, output: str | Path, pipeline: str = TRAINING) -> None:
    """Writes the compiled pipeline: the whole file, or nothing.

    Args:
      target: where the pipeline will run.
      output: a path, or a URI such as gs://….
      pipeline: which graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipelines.make_pipeline(target, pipeline), str(compiled))
        write_text(str(output), compiled.read_text())


def staleness(target: Target, committed: Path, pipeline: str = TRAINING) -> str:
    """A unified diff from the file to what the code compiles to; "" if the file is current.

    The kfp version that wrote the file is ignored: an upgrade alone doesn't make a file stale.

    Raises:
      InputError: the file exists and is not a compiled pipeline.
    """
    with tempfile.TemporaryDirectory() as folder:
        before = _text(committed) if committed.exists() else ""
        current = Path(folder) / "pipeline.yaml"
        compile_pipeline(target, current, pipeline)
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
        # A second document is for Kubernetes alone.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content, *platform = list(yaml.load_all(path.read_text(), loader)) or [None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"--output {path}: cannot be read ({' '.join(str(error).split())[:200]}); compile it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"--output {path}: not a compiled pipeline; compile it again")
    content.pop("sdkVersion", None)
    text: str = yaml.dump_all([content, *platform], Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))
    return text
