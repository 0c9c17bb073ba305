import importlib
import sys
from pathlib import Path

import pytest

from trainer.aot.step_code import step_files

OURS = ("trainer", "beam_preprocess")


def _ours() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in OURS]


def test_every_module_that_the_step_loads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against Python itself: whatever importing the step's module loads from our packages, none of which is loaded. (A
    new process would also load TensorFlow again.)"""
    for name in _ours():
        monkeypatch.delitem(sys.modules, name)
    try:
        importlib.import_module("trainer.aot.step")
        loaded = {Path(str(sys.modules[name].__file__)) for name in _ours()}
    finally:
        for name in _ours():
            del sys.modules[name]
    assert len(loaded) > 10
    assert loaded <= set(step_files())


@pytest.mark.parametrize(
    "line",
    [
        "import trainer.inner.deep",
        "import trainer.inner.deep as other",
        "from trainer.inner import deep",
        "from trainer.inner.deep import value",
        "def f():\n    from trainer.inner.deep import value",
    ],
)
def test_imports_are_followed(tmp_path: Path, line: str) -> None:
    inner = tmp_path / "trainer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "trainer" / "__init__.py").touch()
    (inner / "__init__.py").touch()
    (inner / "unused.py").touch()
    (inner / "deep.py").write_text("from trainer import last\nimport numpy\n")
    (tmp_path / "trainer" / "last.py").write_text("from trainer.first import value\n")  # a circle ends, too
    (tmp_path / "trainer" / "first.py").write_text(f"{line}\n")
    found = [str(path.relative_to(tmp_path / "trainer")) for path in step_files("trainer.first", tmp_path)]
    assert found == ["__init__.py", "first.py", "inner/__init__.py", "inner/deep.py", "last.py"]
