"""The Model Garden task: what one step computes, from our input, targets and losses and Model Garden's network."""

import copy
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import base_task
from official.core import config_definitions as cfg
from official.modeling import optimization

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import STRIDE, CenterNetTask, RecordsConfig
from trainer.data import augmentation, heatmap, input_pipeline
from trainer.data.heatmap import Labels
from trainer.data.holdout import Holdout
from trainer.model import losses, network
from trainer.training import interim_ap
from trainer.training import optimizer as optimizers
from trainer.weights import starts
from trainer.weights.origin import Origin

LOSSES = ("total_loss", "ct_loss", "scale_loss", "ct_offset_loss")


class Task(base_task.Task):
    """CenterNet on records with stored targets.

    Args:
      params: the `task:` section, fitted to the records.
      manifest: of the training records.
      first_step: where a resumed run's input starts.
      step: the global step, which seeds the augmentation; None augments every batch as step 0 does.
      holdout: which training images are held out and monitored.
    """

    def __init__(
        self,
        params: CenterNetTask,
        manifest: Manifest,
        first_step: int = 0,
        *,
        step: tf.Variable | None = None,
        holdout: Holdout = Holdout(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(params)
        self._manifest, self._first_step, self._holdout = manifest, first_step, holdout
        height, width = params.model.input_size[:2]
        self._map_size = height // STRIDE, width // STRIDE
        self.step = step
        self.origin: Origin | None = None

    def build_model(self) -> network.CenterNetModel:
        """See `network.build_model`; batch norm is synchronised where there are replicas to synchronise."""
        config = self.task_config
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            # The plain layer has the same variables and computes the same, in one kernel.
            config = copy.deepcopy(config)
            config.model.norm_activation.use_sync_bn = False
        return network.build_model(config)

    @classmethod
    def create_optimizer(
        cls,
        optimizer_config: optimization.OptimizationConfig,
        runtime_config: cfg.RuntimeConfig | None = None,
        dp_config: Any = None,
    ) -> tf_keras.optimizers.Optimizer:
        """Model Garden's optimizer, schedule and loss scaling; around them the moving average, see `optimizer`."""
        inner = copy.deepcopy(optimizer_config)
        inner.ema = None
        try:
            optimizer = super().create_optimizer(inner, runtime_config, dp_config)
        except (KeyError, TypeError, ValueError) as error:
            # What a schedule or an optimizer requires, such as boundaries for stepwise.
            raise InputError(f"trainer.optimizer_config: {' '.join(str(error).split())}") from error
        return optimizers.averaged(optimizer, optimizer_config.ema)

    def build_inputs(
        self, params: RecordsConfig, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """(uint8 images, Labels)."""
        crowd_is_object = self.task_config.losses.crowd_is_object
        if params.is_training:
            return input_pipeline.train_dataset(
                params,
                self._manifest,
                crowd_is_object=crowd_is_object,
                first_step=self._first_step,
                held_out=self._holdout.held_out,
                context=input_context,
            )
        return input_pipeline.validation_dataset(
            params,
            self._manifest if self._holdout.monitored else input_pipeline.load_manifest(params.input_path),
            crowd_is_object=crowd_is_object,
            monitored=self._holdout.monitored or None,
            context=input_context,
        )

    def initialize(self, model: tf_keras.Model) -> None:
        """Loads `init_checkpoint` into a fresh model; called if the model folder has no checkpoint yet.

        `origin` then says where the weights came from.
        """
        config = self.task_config
        if config.init_checkpoint:
            _, self.origin = starts.load(
                config.init_checkpoint,
                config.init_checkpoint_modules,
                lambda: model,
                task=config,
                build_model=network.build_model,
                class_names=starts.class_names(self._manifest),
            )

    def build_metrics(self, training: bool = True) -> list[tf_keras.metrics.Metric]:
        """One mean per part of the loss."""
        return [tf_keras.metrics.Mean(name, dtype=tf.float32) for name in LOSSES]

    @tf.autograph.experimental.do_not_convert  # no condition on a tensor
    def build_losses(
        self, outputs: dict[str, list[tf.Tensor]], labels: Labels, aux_losses: Any = None
    ) -> dict[str, tf.Tensor]:
        """Parts of the loss of this replica's images, divided by the objects of the global batch.

        Their sum over replicas is the loss of the global batch.

        Args:
          outputs: for each head, one float [B, H, W, C] per stack; of sizes and offsets, [B, N, 2] at the objects'
            cells are enough.
          labels: targets.
          aux_losses: unused; the recipe has no weight decay.
        """
        classes = self.task_config.model.num_classes
        charged = heatmap.charged(labels, self._map_size, classes)
        if self.task_config.losses.crowd_is_object:
            # A cell may belong to a crowd and to an object; the target is their maximum.
            target = heatmap.dense_heatmap(labels, self._map_size, classes)

            def focal_loss_sum(logits: tf.Tensor) -> tf.Tensor:
                return losses.focal_loss_sum(logits, target, charged)
        else:
            index = tf.stack([labels.cell_index, labels.cell_class], axis=-1)

            def focal_loss_sum(logits: tf.Tensor) -> tf.Tensor:
                return losses.sparse_focal_loss_sum(logits, index, labels.cell_value, charged)

        objects = tf.maximum(_all_reduce_sum(tf.reduce_sum(labels.object_mask)), 1.0)

        def flat(prediction: tf.Tensor) -> tf.Tensor:
            shape = prediction.shape
            return tf.reshape(tf.cast(prediction, tf.float32), [-1, shape[1] * shape[2], shape[3]])

        def mean_over_stacks(parts: list[tf.Tensor]) -> tf.Tensor:
            return tf.add_n(parts) / (len(parts) * objects)

        def at_objects(prediction: tf.Tensor) -> tf.Tensor:
            if prediction.shape.rank == 3:
                return prediction
            return tf.gather(flat(prediction), labels.object_cell, batch_dims=1)

        mask = labels.object_mask
        parts = {
            "ct_loss": mean_over_stacks([focal_loss_sum(flat(p)) for p in outputs["ct_heatmaps"]]),
            "scale_loss": mean_over_stacks(
                [losses.l1_loss_sum(at_objects(p), labels.object_size, mask) for p in outputs["ct_size"]]
            ),
            "ct_offset_loss": mean_over_stacks(
                [losses.l1_loss_sum(at_objects(p), labels.object_offset, mask) for p in outputs["ct_offset"]]
            ),
        }
        weights = self.task_config.losses.detection
        parts["total_loss"] = (
            weights.object_center_weight * parts["ct_loss"]
            + weights.scale_weight * parts["scale_loss"]
            + weights.offset_weight * parts["ct_offset_loss"]
        )
        return parts

    def train_step(
        self,
        inputs: tuple[tf.Tensor, Labels],
        model: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        metrics: list[tf_keras.metrics.Metric] | None = None,
        *,
        compiled: bool = False,
    ) -> dict[str, tf.Tensor]:
        """One optimizer step on one replica.

        Args:
          inputs: uint8 images and labels.
          model: the network.
          optimizer: with its slots.
          metrics: which the losses are added to.
          compiled: whether `runtime.enable_xla` compiles the step.
        """
        image, labels = inputs
        config, scaling = self.task_config, optimizers.loss_scaling(optimizer)
        step = tf.zeros([], tf.int64) if self.step is None else self.step
        image, labels = augmentation.augment(
            image, labels, config.augmentation, config.train_data.seed, step, self._map_size[1]
        )
        with tf.GradientTape() as tape:
            outputs = model.at_objects(model.normalize(image), labels.object_cell)
            parts = self.build_losses(outputs, labels)
            scaled = parts["total_loss"]
            if scaling:
                scaled = scaling.get_scaled_loss(scaled)
        variables = model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        if scaling:
            gradients = scaling.get_unscaled_gradients(gradients)
        if compiled:
            gradients = optimizers.apart(gradients)
        # Legacy optimizers sum over replicas and then clip (`with_clipping`): the norm is the global one.
        optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))
        return self._logs(parts, metrics)

    def validation_step(
        self,
        inputs: tuple[tf.Tensor, Labels],
        model: tf_keras.Model,
        metrics: list[tf_keras.metrics.Metric] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Parts of the loss on one batch, and what AP needs."""
        image, labels = inputs
        outputs = model(model.normalize(image), training=False)
        logs = self._logs(self.build_losses(outputs["raw_output"], labels), metrics)
        return {**logs, **interim_ap.step_outputs(outputs, labels)}

    def aggregate_logs(self, state: Any = None, step_outputs: Any = None) -> Any:
        """See `interim_ap.collect`."""
        return interim_ap.collect(state, step_outputs)

    def reduce_aggregated_logs(self, aggregated_logs: Any, global_step: Any = None) -> dict[str, float]:
        """See `interim_ap.score`."""
        return interim_ap.score(
            aggregated_logs,
            map_width=self._map_size[1],
            stride=STRIDE,
            num_classes=self.task_config.model.num_classes,
        )

    @tf.autograph.experimental.do_not_convert
    def _logs(self, parts: dict[str, tf.Tensor], metrics: list[tf_keras.metrics.Metric] | None) -> dict[str, tf.Tensor]:
        replicas = float(tf.distribute.get_strategy().num_replicas_in_sync)
        for metric in metrics or []:
            if metric.name in parts:
                # Replicas hold parts of one sum; the metric averages over replicas.
                metric.update_state(parts[metric.name] * replicas)
        return {self.loss: parts["total_loss"] * replicas}


def _all_reduce_sum(value: tf.Tensor) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
