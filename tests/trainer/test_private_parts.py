"""Other libraries' private parts are touched in the adapters only."""

import ast
from pathlib import Path

import pytest

TRAINER = Path(__file__).parents[2] / "trainer"
ROOMS = ("data", "model", "weights", "training")
ADAPTERS = ("model/garden.py", "weights/object_graph.py", "training/optimizer.py")
NOT_PRIVATE = {"_replace", "_fields", "_asdict", "_exit"}
"""Public methods of named tuples, and os._exit."""
SUBSTITUTED = {"cn_nn_blocks"}
"""Modules whose names an adapter replaces."""


def private_parts(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in NOT_PRIVATE:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {*node.module.split("."), *(alias.name for alias in node.names)}
            private = node.module.startswith(("tensorflow.core", "tensorflow.python")) or names & SUBSTITUTED
            if private or any(name.startswith("_") and not name.endswith("__") for name in names):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_only_adapters_touch_private_parts(room: str) -> None:
    """Move a new touch into the adapter of its library, and add to that adapter's test what to do when it breaks."""
    found = {}
    for path in sorted((TRAINER / room).glob("*.py")):
        name = path.relative_to(TRAINER).as_posix()
        if name not in ADAPTERS and (parts := private_parts(ast.parse(path.read_text()))):
            found[name] = parts
    assert found == {}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_adapters_are_needed(adapter: str) -> None:
    assert private_parts(ast.parse((TRAINER / adapter).read_text()))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("optimizer._create_all_weights(x)", 1),
        ("from tensorflow.python.eager import context", 1),
        ("from tensorflow import _api", 1),
        ("self._steps = labels._replace(x=1)", 0),
        ("import tensorflow as tf\ntf.__version__", 0),
    ],
)
def test_the_rule_sees_a_touch(source: str, count: int) -> None:
    assert len(private_parts(ast.parse(source))) == count
