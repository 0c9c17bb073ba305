"""Import boundaries: what each part may import, and what importing it must not do."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("beam_preprocess", "components", "pipeline", "trainer")

BEAM = {f"beam_preprocess.{name}" for name in ("dataflow", "options", "pipeline", "transforms")}
TENSORFLOW = {
    f"trainer.{name}"
    for name in (
        "aot_step",
        "augmentation",
        "averaging",
        "checkpoints",
        "convert",
        "distribution",
        "eval_modes",
        "evaluate",
        "experiment",
        "experiment_rules",
        "export",
        "heatmap",
        "init_weights",
        "initial_weights",
        "input_pipeline",
        "loop",
        "losses",
        "modeling",
        "parity",
        "predict",
        "preview_augmentation",
        "schedule",
        "serving",
        "task",
        "train",
        "training_digest",
        "tta",
        "validation",
    )
}
KFP = {"pipeline.compile", "pipeline.custom_job", "pipeline.tasks", "pipeline.training_pipeline"} | {
    f"components.{path.stem}" for path in (REPOSITORY / "components").glob("*.py")
} - {"components.__init__", "components.stage", "components.report_inputs"}

VERTEX = {
    *("pipeline.vertex_runs", "pipeline.vertex_schedules"),
    *("trainer.vertex_client", "trainer.vertex_registry"),
}
"""Who may use Google's SDK, inside functions only."""

HEAVY = {"tensorflow", "apache_beam", "kfp", "google.cloud.aiplatform"}
OWNERS = {"tensorflow": TENSORFLOW, "apache_beam": BEAM, "kfp": KFP, "google.cloud.aiplatform": set()}
"""Who may load a heavy library by being imported."""

TRAINER_MAY_USE = {
    f"beam_preprocess.{name}"
    for name in (
        "annotations",
        "config",
        "errors",
        "geometry",
        "images",
        "manifest",
        "records",
        "targets",
        "yaml_loader",
    )
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            if path.stem != "__main__":  # a program, not a module that others import
                yield name, path


def imported(tree: ast.AST) -> set[str]:
    """Full names of everything imported anywhere in a module, functions included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which package is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


def wrong_imports(module: str, tree: ast.AST) -> list[str]:
    package = module.split(".")[0]
    return [name for name in sorted(imported(tree)) if not may_import(module, package, name)]


def may_import(module: str, package: str, name: str) -> bool:
    first = name.split(".")[0]
    if first in PACKAGES and first not in PACKAGES_BELOW[package]:
        return False
    if package == "trainer" and first == "beam_preprocess":
        return any(within(name, allowed) for allowed in TRAINER_MAY_USE)
    if first in ("tensorflow", "tf_keras", "official", "orbit"):
        return module in TENSORFLOW
    if first == "apache_beam":
        return module in BEAM
    if first == "kfp":
        return package in ("components", "pipeline")
    return not within(name, "google.cloud") or module in VERTEX


PACKAGES_BELOW = {
    "beam_preprocess": {"beam_preprocess"},
    "trainer": {"trainer", "beam_preprocess"},
    "components": {"components", "trainer", "beam_preprocess"},
    "pipeline": {"pipeline", "components", "trainer", "beam_preprocess"},
}


def environment_reads(tree: ast.Module) -> list[int]:
    """Lines that touch the environment while the module is imported."""
    lines = []
    waiting: list[ast.AST] = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))  # only runs as a program
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv"):
            lines.append(node.lineno)
        waiting += ast.iter_child_nodes(node)
    return lines


@pytest.mark.parametrize(("module", "path"), modules())
def test_imports_go_one_way(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert wrong_imports(module, tree) == []
    assert environment_reads(tree) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("beam_preprocess.check", "from trainer.config import parse_config", ["trainer.config.parse_config"]),
        ("trainer.gate", "import components.stage", ["components.stage"]),
        ("trainer.config", "def f():\n    from pipeline import targets", ["pipeline.targets"]),
        ("trainer.train", "from beam_preprocess.views import x", ["beam_preprocess.views.x"]),
        ("trainer.train", "from beam_preprocess.records import x", []),
        ("trainer.gate", "import tensorflow as tf", ["tensorflow"]),
        ("trainer.train", "import tensorflow as tf", []),
        ("trainer.gate", "from kfp import dsl", ["kfp.dsl"]),
        ("beam_preprocess.check", "import apache_beam as beam", ["apache_beam"]),
        ("pipeline.cli", "from google.cloud import aiplatform", ["google.cloud.aiplatform"]),
        ("pipeline.vertex_runs", "def f():\n    from google.cloud import aiplatform_v1", []),
        ("components.train", "from pipeline.targets import x", ["pipeline.targets.x"]),
    ],
)
def test_the_rule_sees_a_wrong_import(module: str, source: str, wrong: list[str]) -> None:
    assert wrong_imports(module, ast.parse(source)) == wrong


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import os\nX = os.environ['A']", [2]),
        ("import os\nclass C:\n    x = os.getenv('A')", [3]),
        ("import os\ndef f():\n    return os.environ['A']", []),
        ("import os\nif __name__ == '__main__':\n    os.environ['A'] = 'b'", []),
    ],
)
def test_the_rule_sees_an_environment_read(source: str, lines: list[int]) -> None:
    assert environment_reads(ast.parse(source)) == lines


# Imports one module after another, so that the one that brings in a forbidden library is named.
PROBE = """
import importlib, json, sys
names, forbidden = json.loads(sys.argv[1])
connections = []
sys.addaudithook(lambda event, _: connections.append(event) if event == "socket.connect" else None)
for name in names:
    importlib.import_module(name)
    loaded = sorted(f for f in forbidden if f in sys.modules)
    assert not loaded, f"importing {name} loads {loaded}"
    assert not connections, f"importing {name} opens a connection"
"""


@pytest.mark.parametrize("owned", ["nothing heavy", "kfp", "apache_beam", "tensorflow"])
def test_importing_loads_no_heavy_library_of_others(owned: str) -> None:
    heavy_owners = set().union(*OWNERS.values())
    names = sorted(
        name for name, _ in modules() if (name in OWNERS[owned] if owned in OWNERS else name not in heavy_owners)
    )
    assert names, "an empty list would prove nothing"
    forbidden = sorted(HEAVY - {owned})
    process = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([names, forbidden])],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
