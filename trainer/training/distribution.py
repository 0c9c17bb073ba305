"""Which devices train, in which precision: the `runtime:` section; and who of several workers writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.modeling import performance

from beam_preprocess.base.errors import InputError


class WorkerLost(RuntimeError):
    """Another worker of the job ended; the checkpoints are whole, and the whole job has to be started again."""


STRATEGIES = ("one_device", "mirrored", "multi_worker_mirrored", "tpu")


def make_strategy(runtime: cfg.RuntimeConfig) -> tf.distribute.Strategy:
    """The strategy; to be called before any other operation, since workers connect here.

    `mirrored` without GPUs mirrors over the logical CPU devices where there are several (tests), and is one device
    otherwise: a single CPU has nothing to mirror, and XLA can't compile a mirrored step.

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
def together(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Says in one line when another worker is gone: what TensorFlow says of it fills pages.

    Raises:
      WorkerLost: that line.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if workers(strategy) == 1:
            raise
        raise WorkerLost(
            f"another worker is gone ({' '.join(str(error.message).split())[:160]}); start all workers again, then the "
            "training goes on from the newest checkpoint"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes to the model folder; of several workers one does."""
    return bool(strategy.extended.should_checkpoint)


def workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together; each has its own input and its own part of the results."""
    return strategy.extended._num_workers if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else 1


Sums = Callable[[npt.ArrayLike], npt.NDArray[np.float32]]


def sums(strategy: tf.distribute.Strategy) -> Sums:
    """What adds arrays up over the workers and gives the sums to all; every worker must call at the same step."""
    if workers(strategy) == 1:
        return lambda mine: np.asarray(mine, np.float32)
    replicas = strategy.num_replicas_in_sync // workers(strategy)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # one trace for all lengths
    def total(mine: tf.Tensor) -> tf.Tensor:
        def sum_of_replicas() -> tf.Tensor:
            # A tensor of the replica's device: the argument has none, and reducing needs one.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(mine))

        return strategy.run(sum_of_replicas)

    def of_all(mine: npt.ArrayLike) -> npt.NDArray[np.float32]:
        array = np.asarray(mine, np.float32)
        found = strategy.experimental_local_results(total(tf.constant(array.ravel())))[0]
        return np.asarray(found.numpy() / replicas, np.float32).reshape(array.shape)

    return of_all


def gather(strategy: tf.distribute.Strategy, batches: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The rows of all workers' batches, at every worker; every worker must call.

    As float32, so integers must be below 2^24. One sum of arrays that are 0 in other workers' rows: TensorFlow's own
    gathering ends the process (a segmentation fault) at an array without columns.

    Args:
      strategy: of the training.
      batches: of this worker; by name an array with a row an image.

    Returns:
      The same, or, with several workers, one batch.
    """
    if workers(strategy) == 1:
        return batches
    total, me = sums(strategy), strategy.extended._id_in_cluster
    mine = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    flat = np.concatenate([array.reshape(len(array), -1) for array in mine.values()], axis=1, dtype=np.float32)
    counts = np.zeros(workers(strategy))
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
    """Refuses a batch of which replicas would get unequal parts: their gradients would count images unequally.

    Raises:
      InputError: the replicas can't share the batch equally.
    """
    replicas = strategy.num_replicas_in_sync
    if batch % replicas:
        raise InputError(f"{key}: {batch} is not a multiple of the {replicas} replicas; change it")


def set_precision(runtime: cfg.RuntimeConfig) -> None:
    """Keras's global policy; variables, losses and decoding stay in float32.

    Raises:
      InputError: no such precision.
    """
    dtype = runtime.mixed_precision_dtype or "float32"
    if dtype not in ("float32", "float16", "bfloat16"):
        raise InputError(f"runtime.mixed_precision_dtype: {dtype!r}; use float32, float16 or bfloat16")
    performance.set_mixed_precision_policy(tf.as_dtype(dtype))
