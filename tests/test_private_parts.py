"""Other libraries' private parts are touched in one adapter module per library, which has a test of them.

Move a new touch into the adapter of its library, and add to that adapter's test what to do when it breaks.
"""

import ast
from pathlib import Path

import pytest

from tests.test_imports import REPOSITORY, modules

ADAPTERS = {
    "pipeline/service/kubeflow/client.py": "kfp's client",
    "trainer/aot/xla.py": "JAX",
    "trainer/model/garden.py": "Model Garden",
    "trainer/training/optimizer.py": "tf_keras",
    "trainer/weights/object_graph.py": "TensorFlow",
}
"""Two more adapt habits of kfp that are not private: pipeline/graph/kfp_spec.py and pipeline/local/kfp_runner.py."""
NOT_PRIVATE = {"_replace", "_fields", "_asdict", "_exit"}
"""Public methods of named tuples, and os._exit."""
SUBSTITUTED = {"cn_nn_blocks"}
"""Modules whose names an adapter replaces."""


def private_parts(tree: ast.AST) -> list[str]:
    """Uses of `thing._name`, except a class's own, and imports of private modules."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            if ast.unparse(node.value) not in ("self", "cls", "super()") and node.attr not in NOT_PRIVATE:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {*node.module.split("."), *(alias.name for alias in node.names)}
            private = node.module.startswith(("tensorflow.core", "tensorflow.python")) or names & SUBSTITUTED
            if private or any(name.startswith("_") and not name.endswith("__") for name in names):
                found.append(ast.unparse(node))
    return found


def test_only_adapters_touch_private_parts() -> None:
    names = {path.relative_to(REPOSITORY).as_posix(): path for _, path in modules()}
    found = {name: parts for name, path in names.items() if (parts := private_parts(ast.parse(path.read_text())))}
    assert found.keys() == ADAPTERS.keys(), found


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_has_its_test(adapter: str) -> None:
    path = Path(adapter)
    assert (REPOSITORY / "tests" / path.parent / f"test_{path.name}").exists()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("optimizer._create_all_weights(x)", ["optimizer._create_all_weights"]),
        ("class A:\n    def f(self):\n        return self._x + client._run_api.rest.__class__", ["client._run_api"]),
        ("from tensorflow.python.eager import context", ["from tensorflow.python.eager import context"]),
        ("from tensorflow import _api", ["from tensorflow import _api"]),
        ("self._steps = labels._replace(x=1)", []),
        ("import tensorflow as tf\ntf.__version__", []),
    ],
)
def test_the_rule_sees_a_touch(source: str, found: list[str]) -> None:
    assert private_parts(ast.parse(source)) == found
