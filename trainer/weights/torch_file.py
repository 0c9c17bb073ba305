"""Reads the tensors of a PyTorch file with numpy alone: no torch, and no code of the file is run.

The file is PyTorch's format from before 1.6: five pickles (magic number, version, machine, object, names of storages),
then the storages. A tensor is a view of a storage with an offset, sizes and strides; the strides matter, because some
files hold their kernels in another order of axes than the sizes suggest.
"""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_preprocess.base.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    size: int


@dataclass(frozen=True, slots=True)
class _View:
    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class _Restricted(pickle.Unpickler):
    """Knows the five names that a file of tensors needs; any other would be code to run."""

    def find_class(self, module: str, name: str) -> Any:
        """See base class."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return lambda storage, offset, sizes, strides, *_: _View(storage, offset, tuple(sizes), tuple(strides))
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """See base class."""
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or (len(pid) > 5 and pid[5] is not None):
            raise pickle.UnpicklingError("it has a storage of an unknown kind")
        return _Storage(key, dtype, size)


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name.

    Raises:
      InputError: the file is missing, cut, or not a PyTorch file of float and integer tensors.
    """
    try:
        with open(path, "rb") as file:
            if _Restricted(file).load() != _MAGIC:
                raise pickle.UnpicklingError("it has another format")
            _Restricted(file).load()  # the version of the format
            _Restricted(file).load()  # sizes of types on the machine that wrote it; storages are little-endian
            views = _Restricted(file).load()
            keys = _Restricted(file).load()
            found = {view.storage.key: view.storage for view in views.values()}
            storages = {}
            for key in keys:
                (size,) = np.frombuffer(file.read(8), "<i8")
                if size != found[key].size:
                    raise pickle.UnpicklingError("the size of a storage contradicts its header")
                storages[key] = np.frombuffer(file.read(size * found[key].dtype.itemsize), found[key].dtype)
                if len(storages[key]) != size:
                    raise pickle.UnpicklingError("it ends within a tensor")
            return {name: _viewed(view, storages[view.storage.key]) for name, view in views.items()}
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path}: not a whole PyTorch file of weights ({reason}); install or download it again") from (
            error
        )


def _viewed(view: _View, storage: np.ndarray) -> np.ndarray:
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.sizes, view.strides, strict=True))
    if view.offset < 0 or min(view.strides, default=0) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.sizes, strides).copy()
