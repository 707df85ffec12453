"""Real Keras models, saved with their predictions: the oracle for conversion.

Run as a program, in a process of its own, since Keras asks for its backend before it is imported and logs as it likes:

    python keras_models.py FOLDER

writes NAME.h5, NAME.keras and NAME.npz (pictures, expected) for each of `MODELS`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Build = Callable[[Any], Any]  # from the module keras to a model


def chain(size: int, channels: int, *layers: Callable[[Any], Any], softmax: bool = True) -> Build:
    """Layers one after the other, and a dense one with three outputs after them."""

    def build(keras: Any) -> Any:
        made = [layer(keras.layers) for layer in layers]
        last = keras.layers.Dense(3, activation="softmax" if softmax else None)
        return keras.Sequential([keras.Input((size, size, channels)), *made, keras.layers.Flatten(), last])

    return build


def graph(size: int, channels: int, connect: Callable[[Any, Any], Any]) -> Build:
    """A functional model: `connect(keras, input)` returns the input of the dense layer."""

    def build(keras: Any) -> Any:
        start = keras.Input((size, size, channels))
        end = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(connect(keras, start)))
        return keras.Model(start, end)

    return build


def wide(L: Any) -> Any:
    """A layer that spreads values so far that activations are seen beyond their bends; see `randomize`."""
    return L.BatchNormalization(name="wide")


def model2020(keras: Any) -> Any:
    L = keras.layers
    body: list[Any] = []
    for width in (64, 128, 256):
        body += [L.Conv2D(width, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D()]
    head = [L.Flatten(), L.Dropout(0.5), L.Dense(256, activation="relu"), L.Dense(128, activation="relu"), L.Dense(7)]
    return keras.Sequential([keras.Input((48, 48, 1)), *body, *head, L.Activation("softmax")], name="model2020")


def vgg_b(keras: Any) -> Any:
    L = keras.layers
    body: list[Any] = []
    for width in (64, 128, 256, 512):
        for _ in range(2):
            body += [L.Conv2D(width, 3, padding="same"), L.BatchNormalization(), L.Activation("relu")]
        body += [L.MaxPooling2D(), L.Dropout(0.25)]
    head = [L.Flatten(), L.Dense(1024, activation="relu"), L.Dropout(0.5), L.Dense(7, activation="softmax")]
    return keras.Sequential([keras.Input((48, 48, 1)), *body, *head])


def ferg(keras: Any) -> Any:
    L = keras.layers
    body: list[Any] = []
    for width in (32, 64, 128):
        body += [L.Conv2D(width, 3, activation="relu"), L.MaxPooling2D()]
    head = [L.Dropout(0.5), L.Flatten(), L.Dense(256, activation="relu"), L.Dense(7, activation="softmax")]
    return keras.Sequential([keras.Input((100, 100, 3)), *body, *head])


def small_net(keras: Any, *, name: str) -> Any:
    """A functional model to be put inside another: two batch norms, so that the order of weights in .h5 matters."""
    L = keras.layers
    start = keras.Input((12, 12, 3))
    x = L.BatchNormalization()(L.Conv2D(4, 3, strides=2, padding="same")(start))
    return keras.Model(start, L.BatchNormalization()(L.Conv2D(4, 3)(L.ReLU()(x))), name=name)


def transfer(keras: Any, *, frozen: bool) -> Any:
    """As transfer models are: a functional model inside a sequential one, which may be frozen as a whole."""
    inner = small_net(keras, name="vgg16")
    inner.trainable = not frozen
    L = keras.layers
    return keras.Sequential(
        [keras.Input((12, 12, 3)), inner, L.Flatten(), L.Dense(5), L.Dense(3, activation="softmax")]
    )


def deep(keras: Any) -> Any:
    """A functional model in a sequential one in a functional one, beside augmentation and rescaling in another."""
    L = keras.layers
    head = keras.Sequential([L.RandomFlip(), L.RandomRotation(0.1), L.Rescaling(1 / 127.5, offset=-1)], name="augment")
    body = keras.Sequential([keras.Input((12, 12, 3)), small_net(keras, name="inner"), L.Conv2D(2, 3)], name="body")
    start = keras.Input((12, 12, 3))
    x = L.GlobalAveragePooling2D()(body(head(start)))
    return keras.Model(start, L.Softmax()(L.Dense(3)(x)))


def ends_in_a_model(keras: Any) -> Any:
    """Functional models throughout, whose calls Keras numbers from 1 where they are an output and from 0 elsewhere."""
    start, features = keras.Input((12, 12, 3)), keras.Input((64,))
    head = keras.Model(features, keras.layers.Dense(3)(features), name="head")
    return keras.Model(start, head(keras.layers.Flatten()(small_net(keras, name="inner")(start))))


def twice(keras: Any, x: Any) -> Any:
    """The same layers called twice."""
    L = keras.layers
    conv, norm = L.Conv2D(3, 3, padding="same", activation="elu"), L.BatchNormalization()
    return norm(conv(norm(conv(x))))


def squeeze_excite(keras: Any, x: Any) -> Any:
    L = keras.layers
    x = L.Conv2D(6, 3, padding="same", activation="swish")(x)
    weights = L.Dense(6, activation="sigmoid")(L.GlobalAveragePooling2D()(x))
    return L.Multiply()([x, weights])


def branches(keras: Any, x: Any) -> Any:
    """Every way of bringing tensors together; one branch has channels last in the graph, the others first."""
    L = keras.layers
    a, b = L.Conv2D(3, 3, padding="same")(x), L.DepthwiseConv2D(3, padding="same")(x)
    merged = [merge([a, b, x]) for merge in (L.Add(), L.Multiply(), L.Average(), L.Maximum(), L.Minimum())]
    return L.Concatenate()([*merged, L.Subtract()([a, x])])


def concatenated(keras: Any, x: Any) -> Any:
    L = keras.layers
    a, b = L.Conv2D(3, 3, padding="same")(x), L.MaxPooling2D(2, strides=1, padding="same")(x)
    rows = L.Concatenate(axis=1)([a, b])
    return L.Concatenate(axis=-2)([rows, rows])


def adapted(L: Any, **settings: Any) -> Any:
    layer = L.Normalization(**settings)
    layer.adapt(np.random.default_rng(1).normal(100, 50, (4, 9, 9, 3)).astype(np.float32))
    return layer


PROTOTYPES: dict[str, Build] = {"model2020": model2020, "vgg-b": vgg_b, "ferg": ferg}

ACTIVATIONS = (
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign",
    "swish", "silu", "hard_silu", "mish", "gelu", "softmax",
)  # fmt: skip

# Some of the others cannot be saved as .h5: Keras 3.15 stumbles over its own configuration.
AUGMENTATIONS = (
    "RandomContrast", "RandomErasing", "RandomGrayscale", "RandomHue", "RandomRotation", "RandomShear",
    "RandomZoom",
)  # fmt: skip

LAYERS: dict[str, Build] = {
    "conv": chain(11, 3, lambda L: L.Conv2D(4, 3)),
    "conv-same-odd": chain(11, 1, lambda L: L.Conv2D(4, 3, padding="same", strides=2)),
    "conv-same-even": chain(12, 1, lambda L: L.Conv2D(4, 3, padding="same", strides=2)),
    "conv-same-oblong": chain(13, 3, lambda L: L.Conv2D(4, (5, 2), padding="same", strides=(2, 3))),
    "conv-same-dilated": chain(11, 3, lambda L: L.Conv2D(4, (3, 2), padding="same", dilation_rate=2)),
    "conv-dilated": chain(11, 3, lambda L: L.Conv2D(4, 3, dilation_rate=(1, 3))),
    "conv-groups": chain(11, 3, lambda L: L.Conv2D(6, 3, groups=3, use_bias=False, activation="tanh")),
    "separable": chain(12, 3, lambda L: L.SeparableConv2D(4, 3, padding="same", strides=2, depth_multiplier=2)),
    "separable-dilated": chain(11, 3, lambda L: L.SeparableConv2D(5, 3, dilation_rate=2, use_bias=False)),
    "depthwise": chain(
        12, 3, lambda L: L.DepthwiseConv2D((3, 2), padding="same", strides=2, depth_multiplier=2, activation="relu")
    ),
    "max-pool": chain(11, 3, lambda L: L.MaxPooling2D()),
    "max-pool-same": chain(12, 3, lambda L: L.BatchNormalization(), lambda L: L.MaxPooling2D(3, 2, padding="same")),
    "average-pool": chain(11, 3, lambda L: L.AveragePooling2D((2, 3), strides=(3, 2))),
    "average-pool-same": chain(11, 3, lambda L: L.AveragePooling2D(3, 2, padding="same")),
    "global-average": chain(11, 3, lambda L: L.GlobalAveragePooling2D()),
    "global-max": chain(11, 3, lambda L: L.GlobalMaxPooling2D(keepdims=True), lambda L: L.Conv2D(4, 1)),
    "zero-padding": chain(11, 3, lambda L: L.ZeroPadding2D(((1, 2), (3, 0))), lambda L: L.Conv2D(2, 3)),
    "zero-padding-pool": chain(
        11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.ZeroPadding2D(2), lambda L: L.MaxPooling2D(3, 2),
        lambda L: L.ZeroPadding2D(1), lambda L: L.AveragePooling2D(2),
    ),
    "norm": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.BatchNormalization(epsilon=0.1)),
    "norm-rows": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.BatchNormalization(axis=1)),
    "norm-plain": chain(
        11, 3, lambda L: L.BatchNormalization(center=False), lambda L: L.BatchNormalization(scale=False)
    ),
    "norm-vector": chain(11, 3, lambda L: L.Flatten(), lambda L: L.BatchNormalization(center=False, scale=False)),
    "dense-vector": chain(11, 1, lambda L: L.Flatten(), lambda L: L.Dense(5, use_bias=False, activation="relu")),
    "dense-picture": chain(
        11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.Dense(5), lambda L: L.Dense(2, use_bias=False)
    ),
    "reshape-vector": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.Reshape((-1,))),
    "reshape-picture": chain(
        11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.Reshape((6, -1, 2)), lambda L: L.Conv2D(2, 3)
    ),
    "dropouts": chain(
        11, 3, lambda L: L.Dropout(0.5), lambda L: L.SpatialDropout2D(0.5), lambda L: L.GaussianNoise(1.0),
        lambda L: L.GaussianDropout(0.5), lambda L: L.AlphaDropout(0.5), lambda L: L.Identity(),
        lambda L: L.ActivityRegularization(0.1),
    ),
    "augmentation": chain(11, 3, *(lambda L, n=n: getattr(L, n)(0.2) for n in AUGMENTATIONS)),
    "relu": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.ReLU(0.5, negative_slope=0.2)),
    "leaky-relu": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.LeakyReLU(0.4)),
    "elu": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.ELU(0.7)),
    "prelu": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.PReLU()),
    "prelu-shared": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.PReLU(shared_axes=[1, 2])),
    "prelu-plain": chain(11, 3, lambda L: L.BatchNormalization(), lambda L: L.PReLU(shared_axes=[2])),
    "softmax": chain(11, 3, lambda L: L.Conv2D(4, 3), lambda L: L.Softmax()),
    "layer-as-activation": chain(11, 3, lambda L: L.Conv2D(4, 3, activation=L.LeakyReLU(0.4))),
    "rescaling": chain(11, 3, lambda L: L.Rescaling([0.01, 0.02, 0.03], offset=[-1.0, 0.0, 0.5])),
    "normalization": chain(11, 3, lambda L: adapted(L)),
    "normalization-all": chain(11, 3, lambda L: adapted(L, axis=None)),
    "normalization-given": chain(11, 3, lambda L: L.Normalization(mean=[90.0, 80.0, 70.0], variance=[9e3, 8e3, 7e3])),
    "normalization-inverted": chain(
        11, 3, lambda L: L.Rescaling(1 / 255), lambda L: L.Normalization(mean=0.1, variance=0.3, invert=True)
    ),
    **{f"activation-{n}": chain(11, 3, wide, lambda L, n=n: L.Conv2D(4, 3, activation=n)) for n in ACTIVATIONS},
    "exponential": chain(11, 3, lambda L: L.Conv2D(4, 3, activation="exponential")),
    "logits": chain(11, 3, lambda L: L.Conv2D(4, 3), softmax=False),
    "branches": graph(11, 3, branches),
    "concatenated": graph(11, 3, concatenated),
    "squeeze-excite": graph(11, 3, squeeze_excite),
    "twice": graph(11, 3, twice),
    "transfer": lambda keras: transfer(keras, frozen=False),
    "transfer-frozen": lambda keras: transfer(keras, frozen=True),
    "deep": deep,
    "ends-in-a-model": ends_in_a_model,
}  # fmt: skip

MODELS = PROTOTYPES | LAYERS


def randomize(model: Any, rng: np.random.Generator) -> None:
    """Make all weights random, kernels of a size that keeps the answers apart, batch statistics far from 0 and 1."""
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.name
        if weight.path == "wide/gamma" or weight.path.endswith("/wide/gamma"):
            weight.assign(rng.uniform(5, 15, shape))
        elif name in ("moving_variance", "gamma"):
            weight.assign(rng.uniform(0.3, 2, shape))
        elif name in ("bias", "beta", "moving_mean", "alpha"):
            weight.assign(rng.normal(0, 0.3, shape))
        elif name.endswith("kernel"):
            fan_in = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
            weight.assign(rng.normal(0, (2 / fan_in) ** 0.5, shape))


def pictures_for(model: Any, rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Return random pixels and parts of a photo, uint8 (n, size, size, channels)."""
    _, size, _, channels = model.input_shape
    random = rng.integers(0, 256, (3, size, size, channels), np.uint8)
    parts = [photo[top : top + size, left : left + size] for top, left in ((60, 170), (90, 190), (0, 0))]
    parts = [part if channels == 3 else part.mean(2, keepdims=True).astype(np.uint8) for part in parts]
    return np.concatenate([random, np.stack(parts)])


def scale_of(model: Any) -> float:
    """Return the divisor of the pixels outside the model."""
    kinds = [type(layer).__name__ for layer in model._flatten_layers(include_self=False)]
    return 1 if {"Rescaling", "Normalization"} & set(kinds) else 255


def main(folder: Path, photo: np.ndarray) -> None:
    os.environ.update(KERAS_BACKEND="torch", KERAS_HOME=str(folder))  # whatever the user's own settings say
    import keras

    for name, build in MODELS.items():
        rng = np.random.default_rng(0)
        keras.utils.clear_session()
        model = build(keras)
        randomize(model, rng)
        pictures = pictures_for(model, rng, photo)
        expected = keras.ops.convert_to_numpy(model(pictures.astype(np.float32) / scale_of(model), training=False))
        model.save(folder / f"{name}.h5")
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", pictures=pictures, expected=expected)


if __name__ == "__main__":
    import cv2

    root = Path(__file__).parent.parent
    main(Path(sys.argv[1]), cv2.imread(str(root / "docs" / "images" / "astronaut.png"))[:, :, ::-1])
