import subprocess
import sys
from pathlib import Path

import pytest

from trainer.aot.step_code import ROOT, step_files


def test_every_module_that_the_step_loads_is_found() -> None:
    """Against Python itself: whatever importing the step's module loads from our packages."""
    program = (
        "import sys, trainer.aot.step\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('trainer', 'beam_preprocess'): print('file', module.__file__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {Path(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("file ")}
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
