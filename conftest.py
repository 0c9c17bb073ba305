"""Settings of all tests. The fixtures of a package's tests are next to them; those with servers are in a plugin."""

import gc
import os
import sys
from typing import Any

import pytest
from hypothesis import settings

from beam_preprocess.base.command import LEGACY_KERAS, start_light

pytest_plugins = ["tests.loopback.fixtures", "tests.loopback.deployments"]

# Collecting tests imports what all of them need; nothing of it becomes garbage before `pytest_collection_finish`.
gc.disable()
# The processes that tests start compile the project, and pytest the tests with their assertions: once, not in each run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Before any test imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ |= LEGACY_KERAS
# The threads of NumPy's BLAS would spin after each small product.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The programs run a few times, on tiny data: XLA compiles a step in 7 s like this and in 15 s with its own settings.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

# Examples are the same on every machine, and no test depends on how fast one is. `make test-all` tries more of them.
settings.register_profile("few", derandomize=True, deadline=None, print_blob=True, max_examples=30)
settings.register_profile("many", settings.get_profile("few"), max_examples=100)

start_light()

LONG_GROUPS = ("local_run", "exported", "od_api", "compiled")
"""Groups of `pytest.mark.xdist_group` that take longest: a worker that began one last would end minutes later."""
LONG_ROOM = "tests/trainer/training/"
"""Files of this room come next."""


def pytest_configure(config: pytest.Config) -> None:
    """Loads the profile of Hypothesis before any test module, which takes its defaults from it, is imported."""
    settings.load_profile("few" if config.option.markexpr else "many")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shortens the names of cases that are long texts, up to 80,000 characters, which workers send with each result."""
    return f"{ascii(val[:60])[1:-1]}..." if isinstance(val, str) and len(val) > 100 else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run with workers, puts what takes longest first."""

    def place(item: pytest.Item) -> int:
        mark = item.get_closest_marker("xdist_group")
        if mark and mark.args[0] in LONG_GROUPS:
            return LONG_GROUPS.index(mark.args[0])
        return len(LONG_GROUPS) + (not item.nodeid.startswith(LONG_ROOM))

    if hasattr(config, "workerinput"):
        items.sort(key=place)


def pytest_collection_finish() -> None:
    """Lets the garbage collector look again, but not at what was imported."""
    if "tensorflow" in sys.modules:
        _free_iterators_at_once()
    gc.enable()
    gc.collect()
    gc.freeze()


def _free_iterators_at_once() -> None:
    """In the processes of pytest, tf.data doesn't tune its parallelism.

    The thread that tunes an iterator sleeps for up to a minute. On a busy core it misses the iterator's end (TensorFlow
    2.20), and whatever frees the iterator, such as a search for garbage in another test, waits for it.
    """
    import tensorflow as tf
    from tensorflow.python.data.ops.dataset_ops import DatasetV2

    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    options = DatasetV2._apply_debug_options  # a private method, called for every iterator: it may move
    DatasetV2._apply_debug_options = lambda dataset: options(dataset).with_options(untuned)


def pytest_sessionfinish() -> None:
    """Spares pytest its five searches for unreachable objects at the end: TensorFlow makes very many."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file without a group to one worker: otherwise both would make its fixtures and build its graphs."""
    from xdist.scheduler import LoadGroupScheduling

    class GroupsAndFiles(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            return scope.split("::")[0]

    return GroupsAndFiles(config, log)
