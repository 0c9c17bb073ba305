"""How fast the newest loop of steps ran, and how much of its time it spent waiting for input."""

import time

import tensorflow as tf


class Throughput:
    """Measures one loop of steps at a time.

    Evaluations and checkpoints between two loops don't count, nor does the first step, in which TensorFlow builds the
    graph. Create it outside the strategy's scope: its counter exists once per host, not once per replica.

    Args:
      batch: global batch size.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._waited = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self._begin = self._since = 0, 0.0, 0.0

    def begin_loop(self, step: int) -> None:
        """Starts to measure a loop."""
        self._begin = self._since = self._now(step)

    def exclude_until(self, step: int) -> None:
        """Restarts the measurement within a loop."""
        self._since = self._now(step)

    def end_loop(self, step: int) -> None:
        """Measures the whole loop after all if it ended where the measurement was restarted."""
        if self._since[0] == step:
            self._since = self._begin

    def add_wait(self, seconds: tf.Tensor) -> tf.Operation:
        """Adds time spent waiting for input; called inside the graph."""
        return self._waited.assign_add(seconds, read_value=False)

    def measure(self, step: int) -> tuple[float, float]:
        """(images per second, fraction of the time spent waiting for input)."""
        (_, now, waited), (first, started, waited_before) = self._now(step), self._since
        elapsed = now - started
        return (step - first) * self._batch / elapsed, min((waited - waited_before) / elapsed, 1.0)

    def _now(self, step: int) -> tuple[int, float, float]:
        """(step, clock, seconds spent waiting for input)."""
        return step, time.monotonic(), float(self._waited.numpy())
