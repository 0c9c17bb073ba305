"""Which devices train, and in which precision (the `runtime:` section), and what several workers share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.modeling import performance

from beam_preprocess.base.errors import Failure, InputError

STRATEGIES = ("one_device", "mirrored", "multi_worker_mirrored", "tpu")


class WorkerLost(Failure):
    """Another worker of the job ended. The checkpoints are whole; the whole job must be restarted."""


def make_strategy(runtime: cfg.RuntimeConfig) -> tf.distribute.Strategy:
    """The strategy; call it before any other operation, because workers connect here.

    `mirrored` without GPUs mirrors over the logical CPU devices if there are several (tests). Otherwise it is one
    device: a single CPU has nothing to mirror, and XLA can't compile a mirrored step.

    Raises:
      InputError: the machine doesn't have what the section asks for.
    """
    name = runtime.distribution_strategy
    if name not in STRATEGIES:
        raise InputError(f"runtime.distribution_strategy: {name!r}; use one of {', '.join(STRATEGIES)}")
    gpus = len(tf.config.list_physical_devices("GPU"))
    if runtime.num_gpus > gpus:
        raise InputError(f"runtime.num_gpus: {runtime.num_gpus}, but this machine has {gpus}; lower it")
    if name == "tpu":
        return _tpu_strategy(runtime.tpu)
    if name == "mirrored" and not runtime.num_gpus:
        cpus = tf.config.list_logical_devices("CPU")
        if len(cpus) > 1:
            return tf.distribute.MirroredStrategy([device.name for device in cpus])
        name = "one_device"
    return distribute_utils.get_distribution_strategy(
        distribution_strategy=name, all_reduce_alg=runtime.all_reduce_alg, num_gpus=runtime.num_gpus
    )


def _tpu_strategy(address: str | None) -> tf.distribute.Strategy:
    if not address:
        raise InputError("runtime.distribution_strategy: tpu needs runtime.tpu (local on a TPU VM, or an address)")
    try:
        strategy = distribute_utils.get_distribution_strategy("tpu", tpu_address=address)
    except (ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise InputError(
            f"runtime.tpu: {address}: no TPU there ({type(error).__name__}: {' '.join(str(error).split())[:160]}); "
            "run on a TPU VM with the tpu image, or choose another runtime.distribution_strategy"
        ) from error
    if strategy.extended.num_hosts > 1:
        raise InputError(
            f"runtime.tpu: {address}: a slice of {strategy.extended.num_hosts} hosts; each host would read all records "
            "and write all checkpoints. Use a slice of one host (v3-8; v5e up to 2x4)"
        )
    return strategy


@contextmanager
def report_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Reports in one line that another worker is gone; TensorFlow's own report fills pages.

    Raises:
      WorkerLost: that line.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if workers(strategy) == 1:
            raise
        raise WorkerLost(
            f"another worker is gone ({' '.join(str(error.message).split())[:160]}); restart all workers to resume "
            "from the newest checkpoint"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes to the model folder; only one of several workers does."""
    return bool(strategy.extended.should_checkpoint)


def workers(strategy: tf.distribute.Strategy) -> int:
    """Number of processes that train together; each has its own input and its own part of the results."""
    return _place(strategy)[1]


def _place(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(index of this worker, number of workers); the chief is 0."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    tasks = resolver.cluster_spec().as_dict()
    chiefs = len(tasks.get("chief", []))
    index = resolver.task_id or 0
    return index + (chiefs if resolver.task_type == "worker" else 0), max(chiefs + len(tasks.get("worker", [])), 1)


CrossWorkerSum = Callable[[npt.ArrayLike], npt.NDArray[np.float32]]


def cross_worker_sum(strategy: tf.distribute.Strategy) -> CrossWorkerSum:
    """A function that adds arrays up over all workers; every worker must call it at the same step."""
    if workers(strategy) == 1:
        return lambda mine: np.asarray(mine, np.float32)
    replicas = strategy.num_replicas_in_sync // workers(strategy)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # one trace for all lengths
    def total(mine: tf.Tensor) -> tf.Tensor:
        def sum_of_replicas() -> tf.Tensor:
            # Reducing needs a tensor on the replica's device, and the argument has no device.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(mine))

        return strategy.run(sum_of_replicas)

    def of_all(mine: npt.ArrayLike) -> npt.NDArray[np.float32]:
        array = np.asarray(mine, np.float32)
        found = strategy.experimental_local_results(total(tf.constant(array.ravel())))[0]
        return np.asarray(found.numpy() / replicas, np.float32).reshape(array.shape)

    return of_all


def gather(strategy: tf.distribute.Strategy, batches: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The rows of all workers' batches, at every worker; every worker must call it.

    Values travel as float32, so integers must be below 2^24. It is one sum of arrays that are 0 in the rows of other
    workers, because TensorFlow's own gathering ends the process (a segmentation fault) at an array without columns.

    Args:
      strategy: of the training.
      batches: this worker's; each maps a name to an array with one row per image.

    Returns:
      The same batches; with several workers, one batch.
    """
    if workers(strategy) == 1:
        return batches
    total, (me, count) = cross_worker_sum(strategy), _place(strategy)
    mine = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    flat = np.concatenate([array.reshape(len(array), -1) for array in mine.values()], axis=1, dtype=np.float32)
    counts = np.zeros(count)
    counts[me] = len(flat)
    ends = np.cumsum(total(counts)).astype(int)
    table = np.zeros((ends[-1], flat.shape[1]), np.float32)
    table[ends[me] - len(flat) : ends[me]] = flat
    columns = np.cumsum([np.prod(array.shape[1:], dtype=int) for array in mine.values()])
    parts = np.split(total(table), columns[:-1], axis=1)
    return [
        {
            name: part.reshape(len(table), *array.shape[1:]).astype(array.dtype)
            for (name, array), part in zip(mine.items(), parts, strict=True)
        }
    ]


def check_batch(batch: int, strategy: tf.distribute.Strategy, key: str) -> None:
    """Refuses a batch that replicas can't share equally: their gradients would weight images unequally.

    Raises:
      InputError: they can't.
    """
    replicas = strategy.num_replicas_in_sync
    if batch % replicas:
        raise InputError(f"{key}: {batch} is not a multiple of the {replicas} replicas; change it")


def set_precision(runtime: cfg.RuntimeConfig) -> None:
    """Keras's global policy; variables, losses and decoding stay in float32.

    Raises:
      InputError: an unknown precision.
    """
    dtype = runtime.mixed_precision_dtype or "float32"
    if dtype not in ("float32", "float16", "bfloat16"):
        raise InputError(f"runtime.mixed_precision_dtype: {dtype!r}; use float32, float16 or bfloat16")
    performance.set_mixed_precision_policy(tf.as_dtype(dtype))
