"""The keys of Model Garden's configuration classes: which have an effect here, and what they mean. No TensorFlow."""

LIVE_KEYS = {
    "trainer": {
        "train_steps",
        "steps_per_loop",
        "checkpoint_interval",
        "max_to_keep",
        "validation_interval",
        "validation_steps",
        "continuous_eval_timeout",
        "optimizer_config",
        "holdout_fraction",
        "choose_checkpoint",
    },
    "runtime": {
        "distribution_strategy",
        "num_gpus",
        "tpu",
        "all_reduce_alg",
        "mixed_precision_dtype",
        "loss_scale",
        "enable_xla",
    },
    "task": {
        "model",
        "train_data",
        "validation_data",
        "augmentation",
        "losses",
        "gradient_clip_norm",
        "init_checkpoint",
        "init_checkpoint_modules",
    },
    "task.train_data": {"input_path", "global_batch_size", "shuffle_buffer_size"},
    "task.validation_data": {"input_path", "global_batch_size"},
    "task.model.backbone.hourglass": {"model_id", "input_channel_dims", "num_hourglasses"},
    "task.model.backbone.resnet": {
        "model_id",
        "depth_multiplier",
        "stem_type",
        "se_ratio",
        "scale_stem",
        "resnetd_shortcut",
        "replace_stem_max_pool",
        "bn_trainable",
    },
    "task.model.backbone.mobilenet": {"model_id", "filter_size_scale"},
    "task.model.backbone.efficientnet": {"model_id", "se_ratio"},
    "task.model.decoder.fpn": {"num_filters", "use_separable_conv"},
}
"""The keys of Model Garden's classes that do something here; setting another one is an error.

The backbones' stochastic depth is not among them: it draws random numbers that a resumed run can't repeat."""

OPTIONS = {
    "task.model.backbone": ("hourglass", "resnet", "mobilenet", "efficientnet"),
    "task.model.decoder": ("fpn",),
}
"""Sections with a `type` to the options that work here, where not all of Model Garden's do."""

UNRELEASED_OPTIMIZERS = ("slide", "adafactor")
"""Model Garden has their configuration, but not their code."""

CHOICES = ("last", "best")
"""What `trainer.choose_checkpoint` takes."""

INITIAL_MODULES = ("backbone", "matching", "all")
"""What `task.init_checkpoint` provides: the backbone; backbone and the head layers whose shapes match; both whole."""

MEANINGS = {
    # trainer
    "trainer.train_steps": "Length of the training; 0 exports and judges the initial weights as they are.",
    "trainer.steps_per_loop": "Steps from one progress line, row of history.jsonl and check for NaN to the next.",
    "trainer.checkpoint_interval": "Steps from one checkpoint to the next.",
    "trainer.max_to_keep": "Number of checkpoints that are kept; older ones are deleted.",
    "trainer.validation_interval": "Steps from one validation to the next.",
    "trainer.validation_steps": "Batches per validation; -1 takes all monitored images.",
    "trainer.continuous_eval_timeout": "With --mode=continuous_eval: how long to wait for the next checkpoint.",
    "trainer.optimizer_config.ema": "Moving average of the weights, which is then exported; null switches it off.",
    "ema.trainable_weights_only": "Average the trainable weights only, not the statistics of batch norm.",
    "ema.average_decay": "Weight of the old average at every step: new = decay * old + (1 - decay) * weights.",
    "ema.start_step": "Step at which the averaging begins.",
    "ema.dynamic_decay": "Start with a decay of 0.1 that rises to average_decay.",
    "optimizer.type": "The optimizer; its own keys are in the section of that name.",
    "learning_rate.type": "The schedule of the learning rate; its own keys are in the section of that name.",
    "warmup.type": "How the learning rate rises at the start; null switches the warm-up off.",
    # runtime
    "runtime.distribution_strategy": "How training is spread over devices, such as one_device, mirrored or tpu.",
    "runtime.num_gpus": "Number of GPUs.",
    "runtime.tpu": "The TPU: local on a TPU VM, or an address.",
    "runtime.all_reduce_alg": "How replicas add their gradients, such as nccl; null lets TensorFlow choose.",
    "runtime.mixed_precision_dtype": "Precision of the network: float32, float16 or bfloat16; null is float32.",
    "runtime.loss_scale": "Loss scale for float16: dynamic, or a fixed number.",
    "runtime.enable_xla": "Compile the training step with XLA.",
    # task
    "backbone.type": "The backbone network; hourglass stands alone, the others need task.model.decoder.",
    "hourglass.model_id": "Size of each Hourglass: 10, 20, 32, 52 or 100 (52 twice is Hourglass-104).",
    "hourglass.input_channel_dims": "Channels at the start of the network; those of the other layers grow with it.",
    "hourglass.num_hourglasses": "Number of Hourglasses in a row.",
    "head.heatmap_bias": "Initial bias of the heatmap: the logarithm of the odds of a centre.",
    "resnet.model_id": "Number of layers: 10, 18, 26, 34, 50, 101, 152, 200, 270, 350 or 420.",
    "resnet.depth_multiplier": "Factor of the number of channels.",
    "resnet.stem_type": "First layers: v0 (one 7x7 convolution) or v1 (three 3x3, as in ResNet-D).",
    "resnet.se_ratio": "Squeeze-and-excitation: channels inside, as a fraction; 0 has none.",
    "resnet.scale_stem": "Whether depth_multiplier also scales the first layers.",
    "resnet.resnetd_shortcut": "Shortcuts as in ResNet-D: average pooling before the 1x1 convolution.",
    "resnet.replace_stem_max_pool": "A convolution with stride 2 instead of the first max pooling.",
    "resnet.bn_trainable": "Whether batch norm is trained; false keeps the averages and factors of init_checkpoint.",
    "mobilenet.model_id": "MobileNetV1, -V2, -V3Large, -V3Small, -V3EdgeTPU, -V4ConvSmall, -V4ConvMedium or "
    "-V4ConvLarge.",
    "mobilenet.filter_size_scale": "Factor of the number of channels.",
    "efficientnet.model_id": "Size: b0 to b7.",
    "efficientnet.se_ratio": "Squeeze-and-excitation: channels inside, as a fraction. The original has 0.25; 0 has "
    "none, as EfficientNet-lite.",
    "decoder.type": "The decoder that joins levels 2 to 5 of a backbone at level 2; none for the hourglass.",
    "fpn.num_filters": "Channels of the decoder, and of the heads.",
    "fpn.use_separable_conv": "Depthwise separable convolutions in the decoder: fewer weights and less computation.",
    "head.input_levels": "The outputs that have heads: with an Hourglass 2 for one, 2_0 and 2 for two; always 2 with a "
    "decoder.",
    "norm_activation.activation": "Activation of the backbone. The published Hourglasses and ResNets have relu, "
    "EfficientNet swish and EfficientNet-lite relu6; a MobileNet has its own.",
    "norm_activation.use_sync_bn": "Batch norm uses the batch of all replicas instead of each replica's own.",
    "norm_activation.norm_momentum": "Batch norm, as in Keras: new = momentum * old + (1 - momentum) * batch.",
    "norm_activation.norm_epsilon": "Batch norm: added to the variance before the division.",
    "detection.object_center_weight": "Weight of the focal loss of the heatmap.",
    "detection.offset_weight": "Weight of the loss of the centre's position within its cell.",
    "detection.scale_weight": "Weight of the loss of width and height.",
    # optimizers
    "name": "Name of the operation in TensorFlow.",
    "clipnorm": "Clip the gradient of each weight to this norm; null does not clip.",
    "clipvalue": "Clip each entry of the gradient to this value; null does not clip.",
    "global_clipnorm": "Clip all gradients to this common norm; task.gradient_clip_norm replaces it unless that is 0.",
    "gradient_clip_norm": "Clip all gradients to this common norm, inside the optimizer.",
    "decay": "Decay of the learning rate per step, by the optimizer itself.",
    "nesterov": "Use Nesterov's momentum.",
    "momentum": "Momentum.",
    "classic_momentum": "Apply the learning rate during the update of the momentum instead of after it.",
    "jit_compile": "Compile the optimizer's update with XLA.",
    "rho": "Decay of the mean of squared gradients.",
    "centered": "Normalize by the estimated variance of the gradients.",
    "initial_accumulator_value": "Initial value of the accumulators.",
    "epsilon": "Added to denominators for numerical stability.",
    "beta_1": "Decay of the first moment.",
    "beta_2": "Decay of the second moment.",
    "amsgrad": "Use the AMSGrad variant.",
    "weight_decay": "Weight decay.",
    "weight_decay_rate": "Weight decay.",
    "include_in_weight_decay": "Patterns of weight names that decay; null includes all.",
    "exclude_from_weight_decay": "Patterns of weight names that do not decay.",
    "exclude_from_layer_adaptation": "Patterns of weight names without layer adaptation.",
    "eeta": "Coefficient of layer adaptation in LARS.",
    "decay_rate": "Factor of the learning rate per decay_steps.",
    "clip_threshold": "Maximum root mean square of an update.",
    "epsilon_1": "Added to denominators for numerical stability.",
    "epsilon_2": "Keeps the learning rate from becoming too small over time.",
    "beta_2_decay": "Decay rate of beta_2.",
    "relative_step": "Adapt a constant learning rate to the step number.",
    # schedules
    "learning_rate": "The learning rate.",
    "initial_learning_rate": "The learning rate at the start.",
    "end_learning_rate": "The learning rate at the end.",
    "decay_steps": "Length of the decay; normally trainer.train_steps.",
    "total_decay_steps": "Length of the decay; normally trainer.train_steps.",
    "alpha": "The learning rate at the end, as a fraction of the initial one.",
    "offset": "Step at which the schedule starts.",
    "power": "Exponent.",
    "cycle": "Start again after decay_steps.",
    "staircase": "Decay in steps instead of continuously.",
    "boundaries": "Steps at which the learning rate changes, ascending.",
    "values": "The learning rates between the boundaries, one more than there are boundaries.",
    "linear_decay_fraction": "Fraction of the steps, at the end, with an additional linear decay.",
    "pre_offset_learning_rate": "The learning rate before `offset`.",
    "warmup_steps": "Length of the warm-up.",
    "warmup_learning_rate": "The learning rate at which the warm-up starts.",
}
"""Key, or the end of its dotted name, to its meaning; the longest end counts."""

UNITS = {
    "preprocess.image_size": "pixels",
    "preprocess.stride": "pixels",
    "preprocess.train_views": "views",
    "preprocess.crop_border": "fraction",
    "preprocess.min_visible": "fraction",
    "preprocess.min_box_side": "pixels",
    "preprocess.gaussian_iou": "fraction",
    "preprocess.max_reject_fraction": "fraction",
    "export.score_threshold": "fraction",
    "export.parity_images": "images",
    "export.max_score_delta": "fraction",
    "export.max_box_delta": "pixels",
    "export.max_ap_delta": "fraction",
    "export.max_unmatched": "fraction",
    "gate.min_ap": "fraction",
    "gate.min_delta": "fraction",
    "gate.max_class_drop": "fraction",
    "gate.max_size_drop": "fraction",
    "gate.min_support": "objects",
    "gate.max_latency_ms": "milliseconds",
    "gate.resamples": "resamples",
    "deploy.traffic": "percent",
    "deploy.min_replicas": "replicas",
    "deploy.max_replicas": "replicas",
    "deploy.max_latency_ms": "milliseconds",
    "global_batch_size": "images",
    "shuffle_buffer_size": "records",
    "augmentation.brightness": "fraction",
    "augmentation.contrast": "fraction",
    "augmentation.saturation": "fraction",
    "augmentation.hue": "turns",
    "detection_generator.max_detections": "boxes",
    "detection_generator.peak_extract_kernel_size": "cells",
    "hourglass.input_channel_dims": "channels",
    "fpn.num_filters": "channels",
    "model.num_classes": "classes",
    "model.input_size": "pixels",
    "trainer.train_steps": "steps",
    "trainer.steps_per_loop": "steps",
    "trainer.checkpoint_interval": "steps",
    "trainer.max_to_keep": "checkpoints",
    "trainer.validation_interval": "steps",
    "trainer.validation_steps": "batches",
    "trainer.continuous_eval_timeout": "seconds",
    "trainer.holdout_fraction": "fraction",
    "ema.start_step": "steps",
    "runtime.num_gpus": "GPUs",
    "decay_steps": "steps",
    "total_decay_steps": "steps",
    "warmup_steps": "steps",
    "boundaries": "steps",
    "offset": "steps",
    "linear_decay_fraction": "fraction",
}
"""The units of keys that have one, looked up as `MEANINGS` are."""


def by_longest_end(table: dict[str, str], path: str) -> str | None:
    """The entry for the whole dotted path, or else for the longest end of it."""
    names = path.split(".")
    ends = (".".join(names[first:]) for first in range(len(names)))
    return next((table[end] for end in ends if end in table), None)
