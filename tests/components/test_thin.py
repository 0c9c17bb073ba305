"""Rules that every component follows."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "components"
COMPONENTS = [path for path in FOLDER.glob("*.py") if path.stem != "__init__"]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_thin_and_self_contained(path: Path) -> None:
    """kfp ships the function's source alone: nothing else in the module may be needed by the body."""
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    kinds = [type(node) for node in ast.parse(text).body if not isinstance(node, ast.ImportFrom)]
    assert kinds == [ast.Expr, ast.FunctionDef]
    assert f"def {path.stem}(" in text


def test_every_component_reports_its_events_and_has_its_time_limit() -> None:
    assert len(COMPONENTS) == 20
    for path in COMPONENTS:
        text = path.read_text()
        assert (" with stage(" in text) != (" with step(" in text), path.stem
