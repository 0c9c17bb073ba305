"""Loads some modules when something of them is first used, not when they are imported. Standard library only.

TensorFlow, Keras and Model Garden import pandas, pyplot, TensorFlow Datasets and others at their tops, for functions
that no command of this project calls: a quarter of the time until a training's first line, and 100 MB of each process.
Python's own `importlib.util.LazyLoader` doesn't do: in Python 3.11 the second `import` of a module already loads it,
and a thread that comes while another one loads it sees half of it.
"""

import importlib.abc
import sys
import threading
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

LATE = frozenset(
    {
        "googleapiclient.discovery",  # TensorFlow, to find a cluster of Compute Engine
        "matplotlib.pyplot",  # Model Garden's drawings of boxes
        "pandas",  # Keras, for data frames
        "scipy.linalg",  # Keras, for whitened images
        "scipy.ndimage",  # and turned ones
        "tensorflow_datasets",  # Model Garden's own input
    }
)
_NOTHING_LOADED = frozenset({"__class__", "__file__", "__loader__", "__name__", "__package__", "__spec__"})
"""Attributes that a module has before its code ran; Python reads them of modules that nobody uses."""
_LOCK = threading.RLock()


class _LateModule(types.ModuleType):
    """A module whose code runs before its first attribute is read or set."""

    def __getattribute__(self, name: str) -> Any:
        """See base class."""
        if name not in _NOTHING_LOADED:
            _load(self)
        return types.ModuleType.__getattribute__(self, name)  # it may be one by now

    def __setattr__(self, name: str, value: object) -> None:
        """See base class."""
        if not name.startswith("__"):
            _load(self)
        types.ModuleType.__setattr__(self, name, value)


def _load(module: types.ModuleType) -> None:
    """Runs the module's code, unless this or another thread has done so; waits for a thread that is doing it."""
    with _LOCK:
        spec = module.__spec__
        loader = spec.loader if spec else None
        if spec is None or not isinstance(loader, _LateLoader):
            return  # loaded, or being loaded by this thread
        spec.loader = module.__loader__ = loader.real
        try:
            loader.real.exec_module(module)
        except BaseException:
            spec.loader = module.__loader__ = loader  # the next use tries again
            raise
        module.__class__ = types.ModuleType


class _LateLoader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        """See base class."""
        return self.real.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        """See base class: its code doesn't run yet."""
        module.__class__ = _LateModule

    def __getattr__(self, name: str) -> Any:
        """What else the real loader can, such as giving the files of a package."""
        return getattr(self.real, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """See base class. Nothing is found for a missing module, so its `import` fails at once."""
        spec = PathFinder.find_spec(name, path, target) if name in LATE else None
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)
        return spec


def load_late() -> None:
    """From now on, the modules of LATE load late in this process. A second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
