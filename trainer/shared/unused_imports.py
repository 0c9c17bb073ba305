"""Modules that Model Garden imports and that nothing of ours uses: each is an empty one until something of it is used.

With what they import, they take a tenth of the time in which TensorFlow and Model Garden are imported, as most stages
of a run do. If a release of Model Garden moves one of these imports, tests/test_imports.py names what is loaded.
"""

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

UNUSED = (
    "tensorflow_datasets",
    "official.vision.utils.object_detection.visualization_utils",  # and with it matplotlib
)


class Placeholders(MetaPathFinder, Loader):
    """Finds these modules before Python does."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See base class."""
        return ModuleSpec(fullname, self) if fullname in self._names else None

    def exec_module(self, module: ModuleType) -> None:
        """See base class."""

        def first_use(attribute: str) -> Any:
            if attribute.startswith("__"):  # Python itself looks at every module
                raise AttributeError(attribute)
            name = module.__name__
            if name in self._names:
                self._names.remove(name)
                del sys.modules[name]
            return getattr(importlib.import_module(name), attribute)

        module.__dict__["__getattr__"] = first_use


def install() -> None:
    """Call it before Model Garden is imported."""
    sys.meta_path.insert(0, Placeholders(UNUSED))
