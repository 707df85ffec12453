"""Adopt ONNX models of other origin: give them a spec, try them, and install them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mien.labels import named_label_set
from mien.models.classifier import OnnxClassifier
from mien.models.spec import Graph, Head, ModelSpec, Preprocess
from mien.models.store import add_model
from mien.structures import FloatArray


def adopt_model(
    source: Path,
    *,
    labels: str,
    preprocess: Preprocess,
    graph: Graph,
    name: str | None = None,
    license: str = "",
    models_dir: Path | None = None,
) -> Path:
    """Store a copy of an ONNX file with a spec in the user's models directory, once it has predicted two images.

    Args:
        source: The ONNX file.
        labels: Comma-separated class names in the order of the outputs, or the name of a known label set.
        preprocess: Input of the model.
        graph: Input and output format of its graph. A warning says so if its "logits" look like probabilities.
        name: Name of the model; the file's stem when None.
        license: Licence of the weights.
        models_dir: The user's models directory; the default one when None.

    Returns:
        Path of the installed model.

    Raises:
        ModelError: Not ONNX, or it does not match the spec. Nothing is written.
        ConfigError: The labels are an unknown set, or the name cannot be a file name.
        DatasetError: The labels are not two or more different names.
        OutputError: The directory cannot be written.
    """
    name = source.stem if name is None else name
    heads = (Head(named_label_set(labels, name=name)),)
    spec = ModelSpec(name=name, arch="foreign", heads=heads, preprocess=preprocess, graph=graph, license=license)
    outputs = _trial_outputs(source, spec)
    if graph.output == "logits" and (outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3):
        warnings.warn(
            "the model's outputs look like probabilities, which a second softmax would flatten; add it again with "
            "--graph-output probabilities",
            stacklevel=2,
        )
    return add_model(source, spec, models_dir=models_dir)


def _trial_outputs(source: Path, spec: ModelSpec) -> FloatArray:
    """Return the outputs of a model for two random images, without softmax; a wrong spec is an error."""
    as_they_are = replace(spec, graph=replace(spec.graph, output="probabilities"))
    images = np.random.default_rng(0).integers(0, 256, (2, spec.preprocess.size, spec.preprocess.size, 3), np.uint8)
    with TemporaryDirectory() as folder:
        return OnnxClassifier(add_model(source, as_they_are, models_dir=Path(folder))).predict_proba(list(images))
