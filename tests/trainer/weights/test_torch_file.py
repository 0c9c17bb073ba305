"""PyTorch's old format, written here byte by byte: no torch at hand, and none needed."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess.base.errors import InputError
from trainer.weights import torch_file

MAGIC = 0x1950A86A20F9469CFC6C


class Global:
    """Pickled as a bare name, as torch's functions and classes are."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Tensor:
    """A view of a storage."""

    def __init__(self, key: str, storage: np.ndarray, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]):
        self.key, self.storage = key, storage
        self.view = offset, sizes, strides


class Writer(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what `torch.save` wrote before 1.6."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, tuple) and value and value[0] == "storage":
            return value
        return None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Global):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Tensor):
            storage = ("storage", Global("torch", "FloatStorage"), value.key, "cpu", len(value.storage), None)
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save((Storage(storage), *value.view, False, OrderedDict()))
            self.write(pickle.REDUCE)
        elif isinstance(value, Storage):
            self.save(value.pid, save_persistent_id=False)
            self.write(pickle.BINPERSID)
        else:
            super().save(value, save_persistent_id)


class Storage:
    """Pickled as a persistent id."""

    def __init__(self, pid: tuple[Any, ...]) -> None:
        self.pid = pid


def write(path: Path, tensors: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        for item in (MAGIC, 1001, {"little_endian": True}, OrderedDict(tensors)):
            Writer(file, 2).dump(item)
        storages = {t.key: t.storage for t in tensors.values() if isinstance(t, Tensor)}
        pickle.dump(list(storages), file, 2)
        for storage in storages.values():
            file.write(struct.pack("<q", len(storage)) + storage.astype("<f4").tobytes())


STORAGE = np.arange(12, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_offsets_and_strides_are_honoured(path: Path) -> None:
    write(
        path,
        {
            "plain": Tensor("a", STORAGE, 0, (3, 4), (4, 1)),
            "turned": Tensor("a", STORAGE, 0, (4, 3), (1, 4)),
            "end": Tensor("a", STORAGE, 10, (2,), (1,)),
        },
    )
    found = torch_file.read(path)
    np.testing.assert_array_equal(found["plain"], STORAGE.reshape(3, 4))
    np.testing.assert_array_equal(found["turned"], STORAGE.reshape(3, 4).T)
    np.testing.assert_array_equal(found["end"], [10, 11])


@pytest.mark.parametrize(
    ("tensors", "cut", "reason"),
    [
        ({"x": Tensor("a", STORAGE, 0, (3, 4), (4, 1))}, 4, "it ends within a tensor"),
        ({"x": Tensor("a", STORAGE, 1, (3, 4), (4, 1))}, 0, "reaches beyond its storage"),
        ({"x": Tensor("a", STORAGE, 0, (2,), (-1,))}, 0, "reaches beyond its storage"),
        ({"x": Global("os", "system")}, 0, "it names os.system"),
        ({"x": 3}, 0, "not a whole PyTorch file"),
    ],
)
def test_a_file_that_is_not_tensors_is_refused(path: Path, tensors: dict[str, Any], cut: int, reason: str) -> None:
    write(path, tensors)
    path.write_bytes(path.read_bytes()[: -cut or None])
    with pytest.raises(InputError, match="not a whole PyTorch file") as caught:
        torch_file.read(path)
    assert reason in str(caught.value)


def test_another_file_is_refused(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 a newer format")
    with pytest.raises(InputError, match="not a whole PyTorch file"):
        torch_file.read(path)
    with pytest.raises(InputError, match="nowhere"):
        torch_file.read(path.with_name("nowhere"))
