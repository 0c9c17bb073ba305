"""Which devices train, in which precision: the `runtime:` section; and who of several workers writes."""

from collections.abc import Callable

import tensorflow as tf
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.modeling import performance

from beam_preprocess.errors import InputError

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


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes to the model folder; of several workers one does."""
    return bool(strategy.extended.should_checkpoint)


def anywhere(strategy: tf.distribute.Strategy) -> Callable[[bool], bool]:
    """Whether something is so in any worker, told to all of them; every worker must ask at the same step."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return bool

    @tf.function
    def count(mine: tf.Tensor) -> tf.Tensor:
        def sum_of_workers() -> tf.Tensor:
            # A tensor of the replica's device: the argument has none, and reducing needs one.
            flag = tf.identity(mine)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flag)

        return strategy.run(sum_of_workers)

    return lambda mine: bool(strategy.experimental_local_results(count(tf.constant(float(mine))))[0] > 0)


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
