"""What libraries do again in each of many short runs, though it can give nothing new: done once, or not at all.

Each of these was seen in a profile of the whole test command. They act in the processes of pytest alone; the processes
that tests start run the libraries as they are.
"""

import functools
import inspect
import sys
import types
import weakref
from typing import Any


def lower() -> None:
    """For the libraries that collecting the tests imported."""
    if "tensorflow" in sys.modules:
        _free_iterators_at_once()
    if "apache_beam.transforms.core" in sys.modules:
        _keep_views_of_options()
        _keep_signatures()


def _free_iterators_at_once() -> None:
    """The thread that tunes the parallelism of a tf.data iterator sleeps for up to a minute.

    On a busy core it misses the end of its iterator (TensorFlow 2.20). Whatever frees the iterator, such as a search
    for garbage in some other test, then waits for it.
    """
    import tensorflow as tf
    from tensorflow.python.data.ops.dataset_ops import DatasetV2

    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    assert callable(DatasetV2._apply_debug_options)
    DatasetV2._apply_debug_options = lambda dataset: dataset.with_options(untuned)


def _keep_views_of_options() -> None:
    """Beam builds an argument parser and parses its flags again for each look at an option, hundreds a pipeline."""
    from apache_beam.options.pipeline_options import PipelineOptions

    view_as = PipelineOptions.view_as
    views: weakref.WeakKeyDictionary[Any, dict[type, Any]] = weakref.WeakKeyDictionary()

    def kept(options: Any, kind: type) -> Any:
        made = views.setdefault(options, {})
        if kind not in made or made[kind]._all_options is not options._all_options:
            made[kind] = view_as(options, kind)
        return made[kind]

    PipelineOptions.view_as = kept


def _keep_signatures() -> None:
    """Beam inspects every method of every DoFn several times in each pipeline."""
    from apache_beam.transforms import core

    get_signature = core.get_signature

    @functools.lru_cache(maxsize=10_000)
    def signature(function: Any, bound: bool) -> inspect.Signature:
        found: inspect.Signature = get_signature(types.MethodType(function, object()) if bound else function)
        return found

    def kept(function: Any) -> inspect.Signature:
        bound = inspect.ismethod(function)
        return signature(function.__func__ if bound else function, bound)

    core.get_signature = kept
