"""Rooms: what each may import, which heavy libraries it may load, and what importing it must not do.

A room is a folder with an `__init__.py`, or the top level of a package. Modules are found by walking the tree, so a
file that moves, or a folder that nobody entered here, cannot leave the test.
"""

import ast
import functools
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("beam_preprocess", "components", "pipeline", "trainer")

TENSORFLOW = ("tensorflow", "tf_keras", "official", "orbit")
BEAM = ("apache_beam",)
KFP = ("kfp",)
VERTEX = ("google.cloud",)
HEAVY = {"tensorflow": TENSORFLOW, "apache_beam": BEAM, "kfp": KFP, "google.cloud.aiplatform": VERTEX}


def _layers(*layers: tuple[str, ...], doors: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Each room may import every room of the layers before its own, and `doors` of other packages."""
    table: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        below = (*doors, *table)
        table |= dict.fromkeys(layer, below)
    return table


BEAM_ROOMS = tuple(f"beam_preprocess.{room}" for room in ("base", "format", "dataset", "inspection", "engine", "job"))
BELOW = {
    **_layers(*((room,) for room in BEAM_ROOMS), ("beam_preprocess",)),
    **_layers(
        ("trainer.shared",),
        ("trainer.config",),
        ("trainer.data", "trainer.model", "trainer.weights", "trainer.coco", "trainer.profile", "trainer.registry"),
        ("trainer.promotion",),
        ("trainer.training", "trainer.saved_model", "trainer.report"),
        ("trainer.aot", "trainer.deployment", "trainer.scoring", "trainer.serving"),
        ("trainer.watch",),
        ("trainer",),
        doors=("beam_preprocess.base", "beam_preprocess.format"),
    ),
}
BELOW["trainer.scoring"] += ("beam_preprocess.engine",)
BELOW |= _layers(("components.support",), ("components",), doors=tuple(BELOW))
BELOW |= _layers(
    ("pipeline.graph", "pipeline.preflight"),
    ("pipeline.recommend",),
    ("pipeline.local", "pipeline.service"),
    ("pipeline.commands",),
    ("pipeline",),
    doors=tuple(BELOW),
)
"""Room to the rooms that it may import, from the bottom up."""

LOADS = {
    "beam_preprocess.engine": {"apache_beam"},
    "beam_preprocess.job": {"apache_beam"},
    **{f"trainer.{room}": {"tensorflow"} for room in ("data", "model", "training", "saved_model")},
    **{"components": {"kfp"}, "pipeline.graph": {"kfp"}},
}
"""Heavy libraries that importing a room may load. A room of mixed weight names its heavy modules below."""

LOADS_IN_MODULE = {
    "trainer.aot.step": {"tensorflow"},
    "trainer.scoring.fixed_batch": {"tensorflow"},
    "trainer.scoring.run": {"apache_beam"},
    "trainer.scoring.transforms": {"apache_beam"},
    "trainer.watch.run": {"apache_beam"},
    "trainer.config.checks": {"tensorflow"},
    "trainer.config.experiment": {"tensorflow"},
    "trainer.config.key_table": {"tensorflow"},
    "trainer.config.overrides": {"tensorflow"},
    "trainer.config.records": {"tensorflow"},
    "trainer.serving.detector": {"tensorflow"},
    "trainer.weights.conversion": {"tensorflow"},
    "trainer.weights.finished": {"tensorflow"},
    "trainer.weights.loading": {"tensorflow"},
    "trainer.weights.mapping": {"tensorflow"},
    "trainer.weights.object_graph": {"tensorflow"},
    "trainer.weights.od_api": {"tensorflow"},
    "trainer.weights.starts": {"tensorflow"},
}

LAZILY = {
    "pipeline.local": {"kfp"},
    "pipeline.service.kubeflow": {"kfp"},
    "pipeline.service.vertex": {"google.cloud.aiplatform"},
    "trainer.config": {"tensorflow"},
    "trainer.deployment": {"google.cloud.aiplatform"},
    "trainer.trial": {"tensorflow"},
    "trainer.registry.vertex": {"google.cloud.aiplatform"},
    "trainer.report.tracking": {"google.cloud.aiplatform"},
    "trainer.registry.vertex_evaluation": {"google.cloud.aiplatform"},
    "trainer.shared.google_cloud": {"google.cloud.aiplatform"},
    "trainer.shared.webhook": {"google.cloud.aiplatform"},
}
"""Heavy libraries that a room or module may import inside functions only."""


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module's source, parsed once for all tests."""
    return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"), path


def room_of(module: str) -> str:
    """The room that a module is in: the longest entry of the table that it is within."""
    return max((room for room in BELOW if within(module, room)), key=len)


def within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(f"{parent}.")


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


def may_load(module: str) -> set[str]:
    """Heavy libraries that importing the module may load."""
    return LOADS_IN_MODULE.get(module, LOADS.get(room_of(module), set()))


def may_import(module: str, name: str) -> bool:
    first = name.split(".")[0]
    if first in PACKAGES:
        target = room_of(name)
        # A name of a package's top level may be a room's folder or a module of the top level's own.
        return target == room_of(module) or target in BELOW[room_of(module)]
    for library, roots in HEAVY.items():
        if any(within(name, root) for root in roots):
            places = [p for p in LAZILY if within(module, p) and room_of(p) == room_of(module)]
            return library in may_load(module) or any(library in LAZILY[p] for p in places)
    return True


def wrong_imports(module: str, tree: ast.AST) -> list[str]:
    return [name for name in sorted(imported(tree)) if not may_import(module, name)]


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


def test_imports_go_one_way() -> None:
    trees = {module: tree(path) for module, path in modules()}
    assert len(trees) > 300
    wrong = {module: found for module, tree in trees.items() if (found := wrong_imports(module, tree))}
    assert wrong == {}
    reads = {module: lines for module, tree in trees.items() if (lines := environment_reads(tree))}
    assert reads == {}


def test_every_folder_is_a_room_with_a_duty() -> None:
    folders = {name: path for name, path in modules() if path.name == "__init__.py"}
    unknown = [name for name in folders if name not in BELOW and not within(name, "pipeline.service")]
    assert unknown == [], "give the room a row in BELOW"
    missing = [room for room in BELOW if room not in folders]
    assert missing == [], "a row without a folder"
    silent = [name for name, path in folders.items() if not ast.get_docstring(tree(path))]
    assert silent == [], "say the room's duty in one sentence"
    strays = [
        str(path.parent.relative_to(REPOSITORY)) for _, path in modules() if not (path.parent / "__init__.py").exists()
    ]
    assert strays == [], "a folder without __init__.py is not installed"


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count: they only hide a circle."""
    sources = dict(modules())
    graph = {
        module: {
            found
            for name in imported(tree(path))
            for found in (name, name.rpartition(".")[0])
            if found in sources and found != module
        }
        for module, path in sources.items()
    }
    # A package is loaded before its modules; that `from package import module` names it is no edge.
    for module in graph:
        graph[module] -= {name for name in graph[module] if within(module, name)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("beam_preprocess.dataset.check", "from trainer.config.sections import x", ["trainer.config.sections.x"]),
        ("beam_preprocess.dataset.check", "import apache_beam as beam", ["apache_beam"]),
        ("beam_preprocess.format.images", "from beam_preprocess.dataset.validate import x", 1),
        ("trainer.gate", "import components.support.stage", ["components.support.stage"]),
        ("trainer.config.sections", "def f():\n    from pipeline.graph import targets", ["pipeline.graph.targets"]),
        ("trainer.train", "from beam_preprocess.job.views import x", ["beam_preprocess.job.views.x"]),
        ("trainer.train", "from beam_preprocess.format.records import x", []),
        ("trainer.coco.matching", "from trainer.registry.base import x", ["trainer.registry.base.x"]),
        ("trainer.promotion.rules", "from trainer.coco import bootstrap", []),
        ("trainer.promotion.rules", "import tensorflow as tf", ["tensorflow"]),
        ("trainer.train", "import tensorflow as tf", ["tensorflow"]),
        ("trainer.gate", "from kfp import dsl", ["kfp.dsl"]),
        ("trainer.newroom.thing", "from trainer.train import main", []),  # top level until it has a row
        ("pipeline.commands.cli", "from google.cloud import aiplatform", ["google.cloud.aiplatform"]),
        ("pipeline.service.vertex.runs", "def f():\n    from google.cloud import aiplatform_v1", []),
        ("pipeline.service.kubeflow.runs", "from google.cloud import storage", ["google.cloud.storage"]),
        ("pipeline.graph.tasks", "from pipeline.local.run import run", ["pipeline.local.run.run"]),
        ("components.train", "from pipeline.graph.targets import x", ["pipeline.graph.targets.x"]),
    ],
)
def test_the_rule_sees_a_wrong_import(module: str, source: str, wrong: list[str] | int) -> None:
    found = wrong_imports(module, ast.parse(source))
    assert len(found) == wrong if isinstance(wrong, int) else found == wrong


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


# Imports one module after another, so that the one that brings in a forbidden library is named. Light modules first:
# those of each heavy library then go on in a fork, where no other library can have come in.
PROBE = """
import gc, importlib, json, os, sys
from beam_preprocess.base.command import LEGACY_KERAS
from beam_preprocess.base.late_imports import LATE, _LateModule, load_late
gc.disable()
os.environ |= LEGACY_KERAS
load_late()
connections = []
sys.addaudithook(lambda event, _: connections.append(event) if event == "socket.connect" else None)

def load(names, forbidden):
    for name in names:
        importlib.import_module(name)
        loaded = sorted(f for f in forbidden if f in sys.modules)
        assert not loaded, f"importing {name} loads {loaded}"
        assert not connections, f"importing {name} opens a connection"

def loaded():
    return {name for name in LATE & sys.modules.keys() if not isinstance(sys.modules[name], _LateModule)}

light, *others = json.loads(sys.argv[1])
load(*light)
before = loaded()
for part in others:
    child = os.fork()
    if not child:
        load(*part)
        print(len(part[0]), *sorted(loaded() - before), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""


def test_importing_loads_no_heavy_library_of_others() -> None:
    parts = []
    for owned in ("", "kfp", "apache_beam", "tensorflow"):
        names = [name for name, _ in modules() if not name.endswith("__main__")]
        names = sorted(name for name in names if may_load(name) == ({owned} if owned else set()))
        assert names, "an empty list would prove nothing"
        parts.append((names, sorted(HEAVY.keys() - {owned})))
    process = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(parts)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    kfp, beam, tensorflow = (str(len(names)) for names, _ in parts[1:])
    assert process.stdout.splitlines() == [kfp, f"{beam} pandas", tensorflow], "the last are modules of LATE in use"
