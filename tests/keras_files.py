"""Small files as Keras 2 saved them, written without Keras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def save_linear(path: Path, *, n_outputs: int = 7, channels: int = 1, inner: str = "flatten") -> Path:
    """Save a linear model of 12×12 pictures with random weights; `inner` names its layer without weights."""
    import h5py

    kernel = np.random.default_rng(0).normal(0, 0.1, (144 * channels, n_outputs)).astype(np.float32)
    layers = [
        ("InputLayer", {"name": "input", "batch_input_shape": [None, 12, 12, channels]}),
        ("Flatten", {"name": inner}),
        ("Dense", {"name": "dense", "units": n_outputs, "activation": "softmax", "use_bias": False}),
    ]
    made = [{"class_name": kind, "config": config} for kind, config in layers]
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "net", "layers": made}}
        ).encode()
        file["model_weights/dense/dense/kernel:0"] = kernel
        file["model_weights/dense"].attrs["weight_names"] = [b"dense/kernel:0"]
    return path
