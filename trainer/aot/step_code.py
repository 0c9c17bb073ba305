"""The source files that make up the training step: everything its module imports, found by following imports."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("trainer", "beam_preprocess")
STEP = "trainer.aot.step"


@functools.cache
def step_files(module: str = STEP, root: Path = ROOT) -> tuple[Path, ...]:
    """The files of a module and of all modules of our packages that it imports, directly or not, sorted.

    Imports inside functions count. A list by hand would miss the next module somebody adds, and an outdated step would
    be reused.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.split(".")[0] not in PACKAGES or (path := _file(name, root)) is None:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_imported(path)]
    return tuple(sorted(found.values()))


def _file(module: str, root: Path) -> Path | None:
    """The module's file; None for a name that is not a module, such as a function."""
    place = root.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
