"""Keras layers as ONNX nodes: one function per class, in `LAYERS` and `MERGES` (extra: keras)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import h5py
import numpy as np
import onnx
from onnx import helper, numpy_helper

from mien.convert.keras_file import Json, numbers_of
from mien.errors import ModelError
from mien.structures import FloatArray

PICTURES = "pictures"  # name of the net's input
# A layer beyond these would take gigabytes: 2^26 numbers are 64 channels of the largest images, 1024×1024, and 2^28
# weights twice VGG16's largest layer.
MAX_NUMBERS, MAX_WEIGHTS = 2**26, 2**28
ADVICE = (
    "build it from Keras' own layers, or export it in Keras, model.export('net.onnx', format='onnx'), and add that: "
    "mien models add net.onnx --labels angry,disgust,…"
)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph.

    Args:
        name: Its name in the graph.
        shape: Its shape in Keras' order: without the batch, channels last.
        first: Whether channels come first in the graph.
    """

    name: str
    shape: tuple[int, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a Keras model.

    Args:
        name: Name of the layer, without those of the models around it.
        kind: Class of the layer.
        config: Settings.
        read: Returns the weights, not read yet.
    """

    name: str
    kind: str
    config: Json
    read: Callable[[], list[h5py.Dataset]]

    def weights(self, *shapes: Sequence[int]) -> list[FloatArray]:
        """Return the weights; they are read only if their shapes are right.

        Raises:
            ModelError: They have other shapes, or are too many.
        """
        found = self.read()
        if [data.shape for data in found] != [tuple(shape) for shape in shapes]:
            have, want = (
                " ".join(str(tuple(shape)) for shape in some) or "none" for some in ([d.shape for d in found], shapes)
            )
            raise ModelError(
                f"the weights of layer '{self.name}' ({self.kind}) have shapes {have}, expected {want}; "
                "save the model again"
            )
        if (n := sum(math.prod(shape) for shape in shapes)) > MAX_WEIGHTS:
            raise ModelError(
                f"layer '{self.name}' has {n:,} weights, expected at most {MAX_WEIGHTS:,}; make it smaller"
            )
        return [numbers_of(data) for data in found]

    def refused(self, why: str) -> ModelError:
        """Return the error for a layer that is not converted."""
        return ModelError(f"layer '{self.name}' {why}; {ADVICE}")


class Builder:
    """Collects the nodes and constants of a graph.

    Args:
        legacy: Whether Keras before 3 wrote the model.
    """

    def __init__(self, *, legacy: bool) -> None:
        self.legacy = legacy
        self.nodes: list[onnx.NodeProto] = []
        self.n_nodes = 0  # nodes added so far, for their names
        self.constants: list[onnx.TensorProto] = []
        self.normalizes = False  # whether the model begins with a layer that normalises pixels

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        self.n_nodes += 1
        output = output or f"{op}_{self.n_nodes}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def each(self, op: str, x: Value, *others: str, **attributes: Any) -> Value:
        """Add a node whose output has the shape and layout of its first input."""
        return replace(x, name=self.add(op, x.name, *others, **attributes))

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values).astype(dtype), name))
        return name

    def beside(self, values: Any, x: Value) -> str:
        """Add a constant in Keras' axis order, to be combined with a tensor."""
        array = np.asarray(values)
        array = array.reshape((1,) * (len(x.shape) - array.ndim) + array.shape)
        return self.constant(array.transpose(2, 0, 1) if x.first else array)

    def first(self, x: Value) -> Value:
        """Move channels to the front."""
        if len(x.shape) != 3:
            raise ValueError(f"expected an image, not {x.shape}")
        return x if x.first else Value(self.add("Transpose", x.name, perm=[0, 3, 1, 2]), x.shape, first=True)

    def last(self, x: Value) -> Value:
        """Move channels to the end."""
        return Value(self.add("Transpose", x.name, perm=[0, 2, 3, 1]), x.shape) if x.first else x

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Reshape all axes but the batch, in Keras' axis order."""
        return Value(self.add("Reshape", self.last(x).name, self.constant([-1, *shape], np.int64)), tuple(shape))

    def affine(self, x: Value, scale: Any, shift: Any) -> Value:
        """Compute x · scale + shift."""
        x = self.each("Mul", x, self.beside(scale, x))
        return self.each("Add", x, self.beside(shift, x))


def same(builder: Builder, layer: Layer, x: Value) -> Value:
    """Return the input: dropout, noise and augmentation do nothing outside training."""
    return x


def _pair(value: Any) -> tuple[int, int]:
    height, width = value if isinstance(value, list | tuple) else (value, value)
    return int(height), int(width)


def _slide(layer: Layer, x: Value, window: tuple[int, int]) -> tuple[tuple[int, int], dict[str, Any]]:
    """Return the output size of a sliding window and its ONNX attributes.

    Where the padding of "same" is odd, TensorFlow puts the extra pixel at the bottom and right, whatever the stride.
    """
    strides, dilations = _pair(layer.config.get("strides") or window), _pair(layer.config.get("dilation_rate", 1))
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
    if layer.config["padding"] == "same":
        size = [-(-n // s) for n, s in zip(x.shape[:2], strides, strict=True)]
        spare = zip(size, strides, reach, x.shape[:2], strict=True)
        pads = [max((m - 1) * s + r - n, 0) for m, s, r, n in spare]
    else:
        size = [(n - r) // s + 1 for n, s, r in zip(x.shape[:2], strides, reach, strict=True)]
        pads = [0, 0]
    if min(size) < 1:
        raise ModelError(f"the window of layer '{layer.name}' is larger than its {x.shape[0]}×{x.shape[1]} map")
    ends = [pad // 2 for pad in pads] + [pad - pad // 2 for pad in pads]
    return (size[0], size[1]), {"kernel_shape": window, "strides": strides, "dilations": dilations, "pads": ends}


def _convolve(builder: Builder, layer: Layer, x: Value, kernel: FloatArray, bias: list[FloatArray]) -> Value:
    """Convolve with a kernel (height, width, channels of one group, filters)."""
    size, attributes = _slide(layer, x, _pair(kernel.shape[:2]))
    constants = [builder.constant(kernel.transpose(3, 2, 0, 1)), *map(builder.constant, bias)]
    name = builder.add("Conv", builder.first(x).name, *constants, group=x.shape[2] // kernel.shape[2], **attributes)
    return Value(name, (*size, kernel.shape[3]), first=True)


def _bias(layer: Layer, n: int) -> list[tuple[int]]:
    return [(n,)] if layer.config["use_bias"] else []


def _conv(builder: Builder, layer: Layer, x: Value) -> Value:
    n = layer.config["filters"]
    shape = (*_pair(layer.config["kernel_size"]), x.shape[2] // layer.config.get("groups", 1), n)
    kernel, *bias = layer.weights(shape, *_bias(layer, n))
    return activate(builder, layer, _convolve(builder, layer, x, kernel, bias))


def _depthwise_conv(builder: Builder, layer: Layer, x: Value) -> Value:
    size, factor = _pair(layer.config["kernel_size"]), layer.config["depth_multiplier"]
    n = x.shape[2] * factor
    kernel, *bias = layer.weights((*size, x.shape[2], factor), *_bias(layer, n))
    return activate(builder, layer, _convolve(builder, layer, x, kernel.reshape(*size, 1, n), bias))


def _separable_conv(builder: Builder, layer: Layer, x: Value) -> Value:
    size, factor, n = _pair(layer.config["kernel_size"]), layer.config["depth_multiplier"], layer.config["filters"]
    middle = x.shape[2] * factor
    depthwise, pointwise, *bias = layer.weights((*size, x.shape[2], factor), (1, 1, middle, n), *_bias(layer, n))
    x = _convolve(builder, layer, x, depthwise.reshape(*size, 1, middle), [])
    plain = replace(layer, config={"padding": "valid"})
    return activate(builder, layer, _convolve(builder, plain, x, pointwise, bias))


def _pool(op: str, builder: Builder, layer: Layer, x: Value) -> Value:
    """Pool by "MaxPool" or "AveragePool"; neither counts the padding, as in TensorFlow."""
    size, attributes = _slide(layer, x, _pair(layer.config["pool_size"]))
    del attributes["dilations"]
    return replace(builder.each(op, builder.first(x), **attributes), shape=(*size, x.shape[2]))


def _global_pool(op: str, builder: Builder, layer: Layer, x: Value) -> Value:
    pooled = Value(builder.add(op, builder.first(x).name, axes=[2, 3], keepdims=0), x.shape[2:])
    return builder.reshape(pooled, (1, 1, *pooled.shape)) if layer.config.get("keepdims") else pooled


def _zero_padding(builder: Builder, layer: Layer, x: Value) -> Value:
    (top, bottom), (left, right) = layer.config["padding"]
    ends = builder.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
    # ONNX Runtime (1.31) folds a padding by exactly 0 into a MaxPool after it, which then pads by -inf.
    zero = builder.constant(np.finfo(np.float32).tiny)
    shape = (x.shape[0] + top + bottom, x.shape[1] + left + right, x.shape[2])
    return replace(builder.each("Pad", builder.first(x), ends, zero), shape=shape)


def _dense(builder: Builder, layer: Layer, x: Value) -> Value:
    x, n = builder.last(x), layer.config["units"]
    kernel, *bias = layer.weights((x.shape[-1], n), *_bias(layer, n))
    constants = [builder.constant(kernel), *map(builder.constant, bias)]
    if len(x.shape) == 1:
        y = builder.each("Gemm", x, *constants)
    else:
        y = builder.each("MatMul", x, constants[0])
        y = builder.each("Add", y, constants[1]) if bias else y
    return activate(builder, layer, replace(y, shape=(*x.shape[:-1], n)))


def _flatten(builder: Builder, layer: Layer, x: Value) -> Value:
    return builder.reshape(x, [math.prod(x.shape)])


def _reshape(builder: Builder, layer: Layer, x: Value) -> Value:
    return builder.reshape(x, np.empty(x.shape, np.bool_).reshape(layer.config["target_shape"]).shape)


def _axes(axes: int | list[int] | None, x: Value) -> list[int]:
    """Convert Keras' axes, where the batch is 0, to axes of `Value.shape`."""
    wanted = axes if isinstance(axes, list) else [] if axes is None else [axes]
    return sorted(axis - 1 if axis > 0 else len(x.shape) + axis for axis in wanted)


def _batch_norm(builder: Builder, layer: Layer, x: Value) -> Value:
    axes = _axes(layer.config["axis"], x)
    (n,) = (x.shape[axis] for axis in axes)
    has_scale, has_shift = layer.config["scale"], layer.config["center"]
    arrays = layer.weights(*[(n,)] * (2 + has_scale + has_shift))
    *learnt, mean, variance = (array.astype(np.float64) for array in arrays)
    scale = (learnt[0] if has_scale else 1) / np.sqrt(variance + layer.config["epsilon"])
    shift = (learnt[-1] if has_shift else 0) - mean * scale
    shape = [n if axis in axes else 1 for axis in range(len(x.shape))]
    return builder.affine(x, scale.reshape(shape), shift.reshape(shape))


def _rescaling(builder: Builder, layer: Layer, x: Value) -> Value:
    builder.normalizes |= x.name == PICTURES
    return builder.affine(x, layer.config["scale"], layer.config["offset"])


def _normalization(builder: Builder, layer: Layer, x: Value) -> Value:
    builder.normalizes |= x.name == PICTURES
    axes = _axes(layer.config["axis"], x)
    shape = [x.shape[axis] for axis in axes]
    if layer.config.get("mean") is not None:
        mean, variance = (np.broadcast_to(layer.config[key], shape) for key in ("mean", "variance"))
    else:
        mean, variance, _ = layer.weights(shape, shape, ())
    full = [n if axis in axes else 1 for axis, n in enumerate(x.shape)]
    centre = mean.astype(np.float64).reshape(full)
    deviation = np.maximum(np.sqrt(variance.astype(np.float64)), 1e-7).reshape(full)  # Keras' own epsilon
    if layer.config.get("invert"):
        return builder.affine(x, deviation, centre)
    return builder.affine(x, 1 / deviation, -centre / deviation)


def _relu(builder: Builder, layer: Layer, x: Value) -> Value:
    slope, most = layer.config.get("negative_slope") or 0.0, layer.config.get("max_value")
    if layer.config.get("threshold"):
        raise layer.refused("has a threshold, which mien does not convert")
    x = builder.each("LeakyRelu", x, alpha=float(slope))
    return x if most is None else builder.each("Clip", x, "", builder.constant(most))


def _leaky_relu(builder: Builder, layer: Layer, x: Value) -> Value:
    slope = layer.config["alpha" if "alpha" in layer.config else "negative_slope"]  # "alpha" before Keras 3
    return builder.each("LeakyRelu", x, alpha=float(slope))


def _elu(builder: Builder, layer: Layer, x: Value) -> Value:
    return builder.each("Elu", x, alpha=float(layer.config["alpha"]))


def _prelu(builder: Builder, layer: Layer, x: Value) -> Value:
    shared = _axes(layer.config.get("shared_axes"), x)
    (slope,) = layer.weights([1 if axis in shared else n for axis, n in enumerate(x.shape)])
    return builder.each("PRelu", x, builder.beside(slope, x))


def _softmax(builder: Builder, layer: Layer, x: Value) -> Value:
    if _axes(layer.config.get("axis", -1), x) != [len(x.shape) - 1]:
        raise layer.refused("has a softmax along another axis than the last")
    return builder.each("Softmax", builder.last(x), axis=-1)


def activate(builder: Builder, layer: Layer, x: Value) -> Value:
    """Apply the activation in a layer's settings, a name or a layer of its own.

    Raises:
        ModelError: An unknown activation.
    """
    wanted = layer.config.get("activation") or "linear"
    if isinstance(wanted, dict) and wanted.get("class_name") in ("ReLU", "LeakyReLU", "ELU", "Softmax"):
        return LAYERS[wanted["class_name"]](builder, replace(layer, config=wanted["config"]), x)
    name = wanted.get("config") if isinstance(wanted, dict) else wanted
    if name not in ACTIVATIONS:
        raise layer.refused(f"has the activation {name!r}, which mien does not know")
    return ACTIVATIONS[name](builder, x)


def _op(op: str, **attributes: float) -> Activation:
    return lambda builder, x: builder.each(op, x, **attributes)


def _relu6(builder: Builder, x: Value) -> Value:
    return builder.each("Clip", x, builder.constant(0), builder.constant(6))


def _hard_sigmoid(builder: Builder, x: Value) -> Value:
    return builder.each("HardSigmoid", x, alpha=0.2 if builder.legacy else 1 / 6, beta=0.5)


def _swish(builder: Builder, x: Value) -> Value:
    return builder.each("Mul", x, builder.each("Sigmoid", x).name)


def _mish(builder: Builder, x: Value) -> Value:
    return builder.each("Mul", x, builder.each("Tanh", builder.each("Softplus", x)).name)


def _gelu(builder: Builder, x: Value) -> Value:
    """Hendrycks & Gimpel 2016, arXiv:1606.08415, without the approximation."""
    half = builder.each("Mul", x, builder.constant(0.5))
    erf = builder.each("Erf", builder.each("Mul", x, builder.constant(2**-0.5)))
    return builder.each("Add", half, builder.each("Mul", half, erf.name).name)


def _softmax_activation(builder: Builder, x: Value) -> Value:
    return builder.each("Softmax", builder.last(x), axis=-1)


def _merge(op: str, builder: Builder, layer: Layer, inputs: list[Value]) -> Value:
    """Combine tensors elementwise; one with fewer axes is broadcast over the first axes, as in Keras."""
    rank = max(len(x.shape) for x in inputs)
    inputs = [x if len(x.shape) == rank else builder.reshape(x, (1,) * (rank - len(x.shape)) + x.shape) for x in inputs]
    if not all(x.first for x in inputs):
        inputs = [builder.last(x) for x in inputs]
    total = inputs[0]
    shape = np.broadcast_shapes(*(x.shape for x in inputs))
    if op in ("Add", "Sub", "Mul"):
        for x in inputs[1:]:
            total = builder.each(op, total, x.name)
    else:
        total = builder.each(op, total, *(x.name for x in inputs[1:]))
    return replace(total, shape=shape)


def _concatenate(builder: Builder, layer: Layer, inputs: list[Value]) -> Value:
    (axis,) = _axes(layer.config.get("axis", -1), inputs[0])
    if not 0 <= axis < len(inputs[0].shape):
        raise layer.refused("concatenates along the batch")
    inputs = [builder.last(x) for x in inputs]
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)
    return Value(builder.add("Concat", *(x.name for x in inputs), axis=axis + 1), tuple(shape))


Activation: TypeAlias = Callable[[Builder, Value], Value]
ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda builder, x: x,
    "relu": _op("Relu"),
    "relu6": _relu6,
    "leaky_relu": _op("LeakyRelu", alpha=0.2),
    "elu": _op("Elu", alpha=1.0),
    "selu": _op("Selu"),
    "sigmoid": _op("Sigmoid"),
    "hard_sigmoid": _hard_sigmoid,
    "tanh": _op("Tanh"),
    "softplus": _op("Softplus"),
    "softsign": _op("Softsign"),
    "exponential": _op("Exp"),
    "swish": _swish,
    "silu": _swish,
    "hard_swish": _op("HardSwish"),
    "hard_silu": _op("HardSwish"),
    "mish": _mish,
    "gelu": _gelu,
    "softmax": _softmax_activation,
    "softmax_v2": _softmax_activation,  # some versions of TensorFlow wrote its inner name
}
LAYERS: dict[str, Callable[[Builder, Layer, Value], Value]] = {
    "InputLayer": same,
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise_conv,
    "SeparableConv2D": _separable_conv,
    "MaxPooling2D": partial(_pool, "MaxPool"),
    "AveragePooling2D": partial(_pool, "AveragePool"),
    "GlobalMaxPooling2D": partial(_global_pool, "ReduceMax"),
    "GlobalAveragePooling2D": partial(_global_pool, "ReduceMean"),
    "ZeroPadding2D": _zero_padding,
    "Dense": _dense,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "BatchNormalization": _batch_norm,
    "BatchNormalizationV1": _batch_norm,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Activation": activate,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "PReLU": _prelu,
    "Softmax": _softmax,
    **dict.fromkeys(
        (
            "ActivityRegularization", "AlphaDropout", "AugMix", "CutMix", "Dropout", "GaussianDropout", "GaussianNoise",
            "Identity", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
            "RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
            "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization",
            "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
            "SpatialDropout2D",
        ),
        same,
    ),
}  # fmt: skip
MERGES: dict[str, Callable[[Builder, Layer, list[Value]], Value]] = {
    "Add": partial(_merge, "Add"),
    "Subtract": partial(_merge, "Sub"),
    "Multiply": partial(_merge, "Mul"),
    "Average": partial(_merge, "Mean"),
    "Maximum": partial(_merge, "Max"),
    "Minimum": partial(_merge, "Min"),
    "Concatenate": _concatenate,
}
