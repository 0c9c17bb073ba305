"""One fixed batch through an exported model's signature: always the same number of images, whatever is in them."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, refusals, refused
from trainer.registry.digest import model_digest
from trainer.saved_model.inference import load_signature
from trainer.saved_model.layout import FEATURES, SERVED
from trainer.saved_model.pixel_count import LIMIT, announced_pixels
from trainer.saved_model.signatures import decode_image
from trainer.scoring.problems import Problem, explain

PLACEHOLDER = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde"
    b"\x00\x00\x00\x0cIDATx\x9cc```\x00\x00\x00\x04\x00\x01\xf6\x178U\x00\x00\x00\x00IEND\xaeB`\x82"
)
"""A black pixel. It fills the places of images that can't be used, and those behind the last image."""

Found = dict[str, np.ndarray]
"""The signature's outputs for one image, without the batch axis."""

_LOADING = threading.Lock()


class FixedBatches:
    """The served signature of an exported model, called with `size` images at a time.

    Args:
      model: path or URI of the SavedModel's folder.
      digest: its `model_digest`.
      size: number of images.
      features: call the signature that also returns the backbone's features, if the model has it.

    Raises:
      InputError: the folder isn't one of our models, can't be loaded, or has another digest.
    """

    def __init__(self, model: str, digest: str, size: int, features: bool = False) -> None:
        _one_thread_per_operation()
        self._size = size
        with _local_copy(model) as folder:
            if (found := model_digest(folder)) != digest:
                raise InputError(f"{model}: changed since the job began (digest {found[:12]}, not {digest[:12]})")
            self._signature = load_signature(folder, *([FEATURES] if features else []), SERVED)

    def __call__(self, images: Sequence[bytes | None]) -> list[Found | Problem]:
        """One answer per image, in their order; None, for a file that couldn't be read, is answered by a reject too."""
        places = [PLACEHOLDER if image is None else image for image in images]
        places += [PLACEHOLDER] * (self._size - len(places))
        refused: set[int] = set()
        arrays = self._outputs(places)
        if arrays is None:
            refused = {i for i, image in enumerate(places) if not _decodes(image)}
            arrays = self._outputs(_without(places, refused))
        if arrays is None:  # an export with a decoder of its own: it is asked about each image
            refused = {
                i for i in range(len(places)) if self._outputs(_without(places, {*range(self._size)} - {i})) is None
            }
            arrays = self._outputs(_without(places, refused))
        if arrays is None:
            raise RuntimeError("the signature refuses the batch, whichever of its images are left out")
        return [
            explain(places[i]) if i in refused else {name: array[i] for name, array in arrays.items()}
            for i in range(len(images))
        ]

    def _outputs(self, images: Sequence[bytes]) -> dict[str, Any] | None:
        """The outputs as arrays; None if the signature refuses an image."""
        try:
            outputs = self._signature(image_bytes=tf.constant(images, tf.string))
        except tf.errors.InvalidArgumentError:
            return None
        return {name: tensor.numpy() for name, tensor in outputs.items()}


@lru_cache(maxsize=1)
def _loaded(model: str, digest: str, size: int, features: bool) -> FixedBatches:
    return FixedBatches(model, digest, size, features)


def load(model: str, digest: str, size: int, *, features: bool = False) -> FixedBatches:
    """`FixedBatches`; a process keeps the last one for a call with the same arguments."""
    with _LOADING:
        return _loaded(model, digest, size, features)


def _one_thread_per_operation() -> None:
    """Makes sums independent of the machine: with more threads, their order depends on how many there are.

    All cores are used all the same, by several batches at a time.
    """
    threads = tf.config.threading
    if threads.get_intra_op_parallelism_threads() == 1:
        return
    try:
        threads.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        print("note: TensorFlow is already in use in this process; scores may differ in their last bits", flush=True)


@contextmanager
def _local_copy(model: str) -> Iterator[str]:
    """The model's folder, downloaded if it is elsewhere.

    Raises:
      InputError: it can't be downloaded.
    """
    if "://" not in model:
        yield model
        return
    fs, path = file_system(model)
    with tempfile.TemporaryDirectory(prefix="centernet-model-") as folder:
        try:
            fs.get(path.rstrip("/") + "/", f"{folder}/", recursive=True)
        except refusals() as error:
            raise refused(model, error) from error
        yield folder


def _without(images: Sequence[bytes], places: set[int]) -> list[bytes]:
    return [PLACEHOLDER if i in places else image for i, image in enumerate(images)]


def _only(images: Sequence[bytes], place: int) -> list[bytes]:
    return _without(images, {*range(len(images))} - {place})


def _decodes(image: bytes) -> bool:
    """Whether the signature's own operations take the image."""
    encoded = tf.constant(image, tf.string)
    try:
        if announced_pixels(encoded) > LIMIT:
            return False
        decode_image(encoded)
    except tf.errors.OpError:
        return False
    return True
