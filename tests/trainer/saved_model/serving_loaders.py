"""Serves images with an exported model, in three ways: by the TensorFlow of the environment that runs this program.

    python serving_loaders.py MODEL IMAGES.npz OUTPUT.npz

It knows nothing of this repository, and runs in an environment of its own. The results are named LOADER/OUTPUT, where
LOADER is
  v1       tf.compat.v1.saved_model.load into a session
  v2       tf.saved_model.load, called by its signature
  session  TF_LoadSessionFromSavedModel of the C library: the C++ loader that TensorFlow Serving uses
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

DEFAULT = "serving_default"
C_TYPES = {1: np.float32, 3: np.int32, 9: np.int64}
"""TF_DataType's numbers."""
C_STRING = 7
STRING_BYTES = 24
"""sizeof(TF_TString)."""


class Port(ctypes.Structure):
    """TF_Output: an output of an operation."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def main(model: str, images: str, output: str) -> None:
    encoded = [image.tobytes() for image in np.load(images).values()]
    session, (feed, fetched) = tf.compat.v1.Session(graph=tf.Graph()), ("", {})
    with session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], model)
        signature = loaded.signature_def[DEFAULT]
        feed = signature.inputs["image_bytes"].name
        fetched = {name: info.name for name, info in signature.outputs.items()}
        results = {"v1": session.run(fetched, {feed: encoded})}
    served = tf.saved_model.load(model).signatures[DEFAULT](image_bytes=tf.constant(encoded))
    results["v2"] = {name: value.numpy() for name, value in served.items()}
    results["session"] = by_c_library(model, feed, fetched, encoded)
    arrays = {f"{loader}/{name}": value for loader, values in results.items() for name, value in values.items()}
    np.savez(output, **arrays)
    print(tf.__version__)


def by_c_library(model: str, feed: str, fetched: dict[str, str], images: list[bytes]) -> dict[str, np.ndarray]:
    """The outputs of a session that the C++ loader made, without Python's TensorFlow."""
    (path,) = Path(tf.__file__).parent.glob("libtensorflow_cc.so.*")
    c = ctypes.CDLL(str(path))
    for name in (
        *("TF_NewStatus", "TF_Message", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"),
        *("TF_AllocateTensor", "TF_TensorData", "TF_GraphOperationByName"),
    ):
        getattr(c, name).restype = ctypes.c_void_p
    c.TF_Dim.restype = ctypes.c_int64
    status = ctypes.c_void_p(c.TF_NewStatus())

    def check() -> None:
        if c.TF_GetCode(status):
            raise RuntimeError(ctypes.string_at(c.TF_Message(status)).decode())

    graph = ctypes.c_void_p(c.TF_NewGraph())
    options = ctypes.c_void_p(c.TF_NewSessionOptions())
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = ctypes.c_void_p(
        c.TF_LoadSessionFromSavedModel(options, None, model.encode(), tags, 1, graph, None, status)
    )
    check()

    def port(name: str) -> Port:
        operation, _, index = name.partition(":")
        found = c.TF_GraphOperationByName(graph, operation.encode())
        assert found, name
        return Port(found, int(index))

    shape = (ctypes.c_int64 * 1)(len(images))
    size = ctypes.c_size_t(len(images) * STRING_BYTES)
    given = ctypes.c_void_p(c.TF_AllocateTensor(C_STRING, shape, 1, size))
    start = c.TF_TensorData(given)
    for index, image in enumerate(images):
        place = ctypes.c_void_p(start + index * STRING_BYTES)
        c.TF_StringInit(place)
        c.TF_StringCopy(place, image, ctypes.c_size_t(len(image)))
    names = list(fetched)
    outputs = (ctypes.c_void_p * len(names))()
    c.TF_SessionRun(
        *(session, None),
        *(ctypes.byref(port(feed)), ctypes.byref(given), 1),
        *((Port * len(names))(*(port(fetched[name]) for name in names)), outputs, len(names)),
        *(None, 0, None, status),
    )
    check()
    return {name: as_array(c, ctypes.c_void_p(tensor)) for name, tensor in zip(names, outputs, strict=True)}


def as_array(c: ctypes.CDLL, tensor: ctypes.c_void_p) -> np.ndarray:
    shape = [c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor))]
    kind = np.dtype(C_TYPES[c.TF_TensorType(tensor)])
    content = ctypes.string_at(c.TF_TensorData(tensor), int(np.prod(shape)) * kind.itemsize)
    return np.frombuffer(content, kind).reshape(shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
