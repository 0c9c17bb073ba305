"""Modules that load at their first use: nothing earlier, nothing twice, and errors where they can be seen."""

import importlib
import importlib.resources
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from beam_preprocess.base import late_imports

NAME = "made_for_late_imports"
RAN: list[str] = []
"""What the made module appends to when its code runs."""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes a package that loads late, with a submodule that doesn't."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(late_imports, "LATE", frozenset({NAME, f"{NAME}.late"}))
    late_imports.load_late()
    RAN.clear()

    def write(code: str = "value = 1", submodule: str = "value = 2") -> None:
        folder = tmp_path / NAME
        folder.mkdir()
        first = f"import importlib\nimportlib.import_module({__name__!r}).RAN.append(__name__)\n"
        (folder / "__init__.py").write_text(first + code)
        (folder / "now.py").write_text(first + submodule)
        (folder / "late.py").write_text(first + submodule)
        (folder / "data.txt").write_text("data")

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


def test_the_modules_are_there_and_the_finder_only_once() -> None:
    """A name that a library no longer has would load at once, unnoticed."""
    for name in sorted(late_imports.LATE):
        path = None
        if "." in name:
            path = PathFinder.find_spec(name.split(".")[0]).submodule_search_locations  # type: ignore[union-attr]
        assert PathFinder.find_spec(name, path), name
    late_imports.load_late()
    assert sum(isinstance(finder, late_imports._Finder) for finder in sys.meta_path) == 1


def test_code_runs_at_the_first_use_and_once(made: Callable[..., None]) -> None:
    made()
    module = importlib.import_module(NAME)
    assert importlib.import_module(NAME) is module
    exec(f"import {NAME}")  # the interpreter's own look at a module that is there already
    assert module.__name__ == NAME
    assert module.__file__
    assert module.__file__.endswith("__init__.py")
    inspect.getmodule(made)  # asks all modules for their files, as TensorFlow does
    assert RAN == []
    assert module.value == 1
    assert module.value == 1
    assert RAN == [NAME]
    assert type(module) is type(sys)
    assert not isinstance(module.__loader__, late_imports._LateLoader)


@pytest.mark.parametrize(
    ("statement", "ran"),
    [
        (f"from {NAME} import value", [NAME]),
        (f"import {NAME}.now", [NAME, f"{NAME}.now"]),
        (f"from {NAME} import late", [NAME]),
        (f"import {NAME} as m; m.value = 5; assert m.value == 5", [NAME]),
        (f"import {NAME} as m; vars(m)['value']", [NAME]),
        (f"import {NAME} as m, importlib.resources as r; assert r.files(m).joinpath('data.txt').is_file()", []),
        (f"import {NAME}.late as m; assert m.value == 2", [NAME, f"{NAME}.late"]),
    ],
)
def test_every_use_counts(made: Callable[..., None], statement: str, ran: list[str]) -> None:
    made()
    exec(statement, {})
    assert ran == RAN


def test_a_module_may_import_what_uses_it(made: Callable[..., None]) -> None:
    made(f"value = 1\nfrom {NAME}.now import seen", f"import {NAME}\nseen = {NAME}.value")
    assert importlib.import_module(NAME).seen == 1
    assert [NAME, f"{NAME}.now"] == RAN


def test_what_is_missing_fails_at_the_import_and_what_is_broken_at_each_use(made: Callable[..., None]) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)
    made("import not_installed_for_sure")
    module = importlib.import_module(NAME)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="not_installed_for_sure"):
            _ = module.value
    assert [NAME, NAME] == RAN


def test_a_second_thread_waits_for_the_whole_module(made: Callable[..., None]) -> None:
    made("import time\ntime.sleep(0.2)\nvalue = 1")
    module = importlib.import_module(NAME)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(module.value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 4
    assert [NAME] == RAN
