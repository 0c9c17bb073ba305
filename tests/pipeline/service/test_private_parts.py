"""Private parts of other libraries are used only in one adapter per library."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
ADAPTERS = {"pipeline/service/kubeflow/client.py": "tests/pipeline/service/kubeflow/test_client.py"}
"""Adapter to the test that says what to do when the library changes. Google's SDK is used without private parts."""


def private_parts(tree: ast.AST) -> list[str]:
    """Uses of `thing._name`, except a class's own."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls", "super()")
    ]


@pytest.mark.parametrize("room", ["commands", "preflight", "service"])
def test_only_adapters_use_private_parts(room: str) -> None:
    found = {}
    for path in sorted((REPOSITORY / "pipeline" / room).rglob("*.py")):
        if parts := private_parts(ast.parse(path.read_text())):
            found[str(path.relative_to(REPOSITORY))] = parts
    assert set(found) == {adapter for adapter in ADAPTERS if f"/{room}/" in adapter}, found


def test_every_adapter_has_its_test() -> None:
    for test in ADAPTERS.values():
        assert "upgrade" in (ast.get_docstring(ast.parse((REPOSITORY / test).read_text())) or "")


def test_the_rule_sees_a_private_part() -> None:
    source = "class A:\n    def f(self):\n        return self._x + client._run_api.rest.__class__"
    assert private_parts(ast.parse(source)) == ["client._run_api"]
