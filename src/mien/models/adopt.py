"""Adopt ONNX models of other origin: give them a spec, try them, and install them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast, get_args

import numpy as np

from mien.errors import ConfigError, MissingSpec, ModelError
from mien.escape import shell_word
from mien.files import as_path
from mien.labels import LabelSet, named_label_set
from mien.models.classifier import OnnxClassifier, are_probabilities
from mien.models.limited import call_limited, try_model
from mien.models.onnx_file import check_target, read_spec, whole_model, write_with_spec
from mien.models.other_files import KERAS_SUFFIXES
from mien.models.preprocess import NORMALIZATIONS
from mien.models.runtime import Session, Tensor
from mien.models.spec import Graph, Head, Layout, ModelSpec, Normalize, Output, Preprocess
from mien.models.store import add_model, check_name, how_to_convert
from mien.structures import FloatArray, ImageArray

SCORES = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(uint8)", "tensor(int8)"})
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}  # of ONNX Runtime
GREY_OR_RGB = (1, 3)


def adopt_model(
    source: Path,
    *,
    labels: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    equalize: bool = False,
    normalize: str | None = None,
    bgr: bool = False,
    mean: Sequence[float] = (),
    deviation: Sequence[float] = (),
    layout: Layout | None = None,
    output: Output | None = None,
    scores: str = "",
    columns: Sequence[int] = (),
    name: str | None = None,
    license: str = "",
    models_dir: Path | None = None,
    target: Path | None = None,
) -> Path:
    """Store a copy of an ONNX file with a spec in the user's models directory, once it has predicted some images.

    A model that has a spec needs no description; one with labels replaces its spec.

    Args:
        source: The ONNX file. Weights in a second file beside it are put inside the copy.
        labels: Comma-separated class names in the order of the outputs, or the name of a known label set.
        size: Side of the input in pixels; that of the graph when None.
        channels: 1 for grey, 3 for RGB; those of the graph when None.
        equalize: Whether images were histogram-equalised in training.
        normalize: A mode of `Preprocess.normalize`, or one of `NORMALIZATIONS`; "unit" when None, or "none" where the
            graph takes uint8.
        bgr: Whether the channels of the graph are blue, green, red.
        mean: Subtracted from normalised pixels, see `Graph`.
        deviation: Divides them, see `Graph`.
        layout: Type and axes of the input; those of the graph when None.
        output: "probabilities" or "logits"; found by the trial when None. A warning says so if declared logits
            look like probabilities.
        scores: Name of the output; when empty, the only one with as many columns as there are labels.
        columns: Columns of the output that belong to the labels, in their order; all when empty.
        name: Name of the model; when None that in its spec, or else the file's stem.
        license: Licence of the weights; when empty that in its spec.
        models_dir: The user's models directory; the default one when None.
        target: The .onnx file to write in place of one in the models directory.

    Returns:
        Path of the stored model.

    Raises:
        ModelError: Not ONNX, or it does not match the description. Nothing is written.
        ConfigError: There are no labels and no spec, the labels are an unknown set, or the name cannot be a file name.
        DatasetError: The labels are not two or more different names.
        OutputError: The copy cannot be written.
    """
    source, target = as_path(source), None if target is None else as_path(target)
    if source.suffix.lower() in KERAS_SUFFIXES:
        raise ModelError(how_to_convert(source, models_dir))
    if not all(map(isfinite, mean)):
        raise ConfigError(f"--mean is {', '.join(map(str, mean))}; expected numbers such as 0.5")
    if not all(isfinite(number) and number > 0 for number in deviation):
        raise ConfigError(f"--std is {', '.join(map(str, deviation))}; expected positive numbers such as 0.25")
    if target is not None:
        check_target(target)
    if name is not None:
        check_name(name)
    description = {
        "labels": labels, "size": size, "channels": channels, "equalize": equalize, "normalize": normalize, "bgr": bgr,
        "mean": list(mean), "deviation": list(deviation), "layout": layout, "output": output, "scores": scores,
        "columns": list(columns),
    }  # fmt: skip
    spec = _spec_inside(source, [key for key, value in description.items() if value])
    if spec is None:
        spec = _described(source, {"name": name or source.stem, "license": license, **description})
    else:
        try_model(source)
        spec = replace(spec, name=name or spec.name, license=license or spec.license)
    if target is None:
        return add_model(source, spec, models_dir=models_dir)
    write_with_spec(source, target, spec)
    return target


def _spec_inside(source: Path, described: Sequence[str]) -> ModelSpec | None:
    """Return the spec of a model that has one and is not described anew, for which labels are the least."""
    if "labels" in described:
        return None
    try:
        spec = read_spec(source)
    except MissingSpec as error:
        raise ConfigError(
            f"{source} has no mien spec; give its labels in the order of its outputs: mien models add "
            f"{shell_word(str(source))} --labels angry,disgust,…"
        ) from error
    if described:
        raise ConfigError(
            f"{source} is a mien model, which describes itself; give labels too to replace its description, or omit "
            f"{' and '.join(described)}"
        )
    return spec


def _described(source: Path, description: dict[str, object]) -> ModelSpec:
    """Return the spec of a foreign model, found in a process with limits, once its labels are known to be some."""
    labels = named_label_set(str(description["labels"]), name=str(description["name"]))
    description = {**description, "labels": list(labels), "label_set": labels.name}
    with TemporaryDirectory() as folder:
        file = whole_model(source, Path(folder))
        try:
            return ModelSpec.from_json(call_limited("mien.models.adopt:describe", file, **description))
        except ModelError as error:
            raise ModelError(str(error).replace(str(file), str(source))) from error


def describe(
    source: Path,
    *,
    labels: Sequence[str],
    label_set: str,
    name: str,
    license: str,
    size: int | None,
    channels: int | None,
    equalize: bool,
    normalize: str | None,
    bgr: bool,
    mean: Sequence[float],
    deviation: Sequence[float],
    layout: Layout | None,
    output: Output | None,
    scores: str,
    columns: Sequence[int],
) -> str:
    """Return the spec, as JSON, of a foreign model as it is described and as its graph says; see `adopt_model`."""
    try:
        session = Session(source, threads=1)
        known = LabelSet(label_set, tuple(labels))
        layout, size, channels = _input(session.inputs, layout, size, channels)
        mode, bgr, mean, deviation = _normalization(normalize, layout, channels, bgr, mean, deviation)
        scores = _scores(session.outputs, known, scores, columns)
        batch = session.inputs[0].shape[0]
        try:
            spec = ModelSpec(
                name=name,
                arch="foreign",
                heads=(Head(known),),
                preprocess=Preprocess(size=size, channels=channels, equalize=equalize, normalize=mode),
                graph=Graph(
                    input=layout,
                    bgr=bgr,
                    mean=tuple(mean),
                    deviation=tuple(deviation),
                    scores=scores,
                    columns=tuple(columns),
                    batch=batch if isinstance(batch, int) else 0,
                ),
                license=license,
            )
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from error
        spec, found = _trial(source, spec)
        kind = _output_kind(found, columns, len(known), output)
        return replace(spec, graph=replace(spec.graph, output=kind)).to_json()
    except ModelError as error:
        text = str(error)
        raise ModelError(text if text.startswith(("ONNX Runtime", str(source))) else f"{source} {text}") from error


def _input(
    inputs: Sequence[Tensor], layout: str | None, size: int | None, channels: int | None
) -> tuple[Layout, int, int]:
    """Return layout, size and channels of the input: those of the graph, or those given where it leaves them open."""
    if len(inputs) != 1:
        raise ModelError(f"has {len(inputs)} inputs, {', '.join(tensor.name for tensor in inputs)}; expected one image")
    _, kind, shape = inputs[0]
    if kind not in DTYPES or len(shape) != 4:
        raise ModelError(
            f"takes {kind} of shape {_dims(shape)}; expected float32, float16 or uint8 images: [n, channels, height, "
            "width] or [n, height, width, channels]"
        )
    if any(isinstance(axis, int) and axis < 1 for axis in shape):
        raise ModelError(f"takes images of shape {_dims(shape)}; expected no axis of 0: export it with a free batch")
    dtype, ends = DTYPES[kind], [shape[axis] in GREY_OR_RGB for axis in (1, 3)]
    found = {(True, False): "nchw", (False, True): "nhwc"}.get((ends[0], ends[1]))
    axes = found or (layout or "nchw").partition("-")[2] or "nchw"
    if layout and layout != f"{dtype}-{axes}":
        raise ModelError(f"takes {dtype}-{axes}, {_dims(shape)}, not {layout}; omit --graph-input")
    graph_channels, height, width = shape[1:] if axes == "nchw" else (shape[3], *shape[1:3])
    if isinstance(height, int) and isinstance(width, int) and height != width:
        raise ModelError(f"takes images of {height}×{width} pixels (height × width), but mien's crops are square")
    side = height if isinstance(height, int) else width
    size = _agreed("pixels a side", "--size", side, size, "48")
    channels = _agreed("channels", "--channels", graph_channels, channels, "1 for grey, 3 for RGB")
    return cast(Layout, f"{dtype}-{axes}"), size, channels


def _agreed(what: str, option: str, graph: int | str | None, given: int | None, example: str) -> int:
    """Return a number that the graph has, or that was given where it is open in the graph; they must not differ."""
    if not isinstance(graph, int):
        if given is None:
            raise ModelError(f"takes any number of {what}; give that of its training: {option} {example}")
        return given
    if given not in (None, graph):
        raise ModelError(f"takes {graph} {what}, not {given}; omit {option}, or give {option} {graph}")
    return graph


def _dims(shape: Sequence[object]) -> str:
    return f"[{', '.join(str(axis) if isinstance(axis, int) else 'n' for axis in shape)}]"


def _normalization(
    name: str | None, layout: str, channels: int, bgr: bool, mean: Sequence[float], deviation: Sequence[float]
) -> tuple[Normalize, bool, Sequence[float], Sequence[float]]:
    """Return the mode of a spec, whether the channels are BGR, mean and deviation."""
    if name is None:
        name = "none" if layout.startswith("uint8") else "unit"
    if layout.startswith("uint8") and name != "none":
        raise ModelError("takes uint8 and so normalises pixels itself; omit --normalize")
    if name in get_args(Normalize):
        return cast(Normalize, name), bgr, mean, deviation
    known = [*get_args(Normalize), *(other for other in NORMALIZATIONS if other not in get_args(Normalize))]
    if name not in known:
        raise ConfigError(f"unknown normalisation '{name}'; choose from {', '.join(known)}")
    if mean or deviation:
        raise ConfigError(f"'{name}' contains a mean and a deviation; give others with unit, signed or none")
    if channels != 3:
        raise ConfigError(f"normalisation '{name}' is for RGB, but the model takes grey; choose unit, signed or none")
    return "none", *NORMALIZATIONS[name]


def _scores(outputs: Sequence[Tensor], labels: LabelSet, name: str, columns: Sequence[int]) -> str:
    """Return the name of the output with the scores: the given one, or the only one that fits."""
    kinds = {tensor.name: tensor.type for tensor in outputs}
    outputs = [tensor for tensor in outputs if tensor.type in SCORES]
    if not outputs or (name in kinds and kinds[name] not in SCORES):
        listed = ", ".join(f"'{key}' of {kind}" for key, kind in kinds.items())
        raise ModelError(
            f"has as outputs: {listed}; expected a score per label, as float32: export it without what follows the "
            "scores, such as ArgMax"
        )
    widths = {tensor.name: _width(tensor) for tensor in outputs}
    listed = ", ".join(f"'{key}' with {'any number of' if n is None else n} columns" for key, n in widths.items())
    if name and name not in widths:
        raise ModelError(f"has no output '{name}'; choose from {listed}")
    least = max(columns) + 1 if columns else len(labels)
    chosen = {name: widths[name]} if name else widths
    fitting = [key for key, n in chosen.items() if n is None or n == least or (columns and n > least)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ModelError(f"has several outputs that fit {len(labels)} labels; choose one with --output: {listed}")
    if columns:
        raise ModelError(f"has as outputs: {listed}; column {max(columns)}, counted from 0, is beyond them")
    raise ModelError(
        f"has as outputs: {listed}; but {len(labels)} labels were given; give a label per column, or name the columns "
        "that belong to the labels, in their order, with --columns"
    )


def _width(tensor: Tensor) -> int | None:
    """Return the number of columns of an output; None if the graph leaves it open."""
    axes = tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape
    if not axes or not all(isinstance(axis, int) for axis in axes):
        return None
    return int(np.prod([axis for axis in axes if isinstance(axis, int)]))


def _trial(source: Path, spec: ModelSpec) -> tuple[ModelSpec, FloatArray]:
    """Return the scores of a few images, and the spec; with a batch of one if the graph mixes up the images of one."""
    images = _trial_images(spec.preprocess.size)
    single = replace(spec, graph=replace(spec.graph, batch=spec.graph.batch or 1))
    alone = OnnxClassifier(source, threads=1, spec=single)
    expected = alone.scores(images)
    if not np.isfinite(expected).all():
        raise ModelError("gives scores that are not finite; export it again, as float32")
    if not _alike(alone.scores(images), expected):
        raise ModelError("gives other scores for the same image each time; export it for inference: model.eval()")
    if (expected == expected[0]).all():
        raise ModelError(
            "gives the same scores for noise, black, white and a gradient; check --normalize, --mean and --std, or "
            "export a trained model"
        )
    if spec.graph.batch:
        return spec, expected
    try:
        together = OnnxClassifier(source, threads=1, spec=spec).scores(images)
    except ModelError:
        return single, expected
    return (spec if _alike(together, expected) else single), expected


def _alike(one: FloatArray, other: FloatArray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-2, atol=1e-2)


def _trial_images(size: int) -> list[ImageArray]:
    """Return noise, black, white and a gradient, uint8 (size, size, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    gradient = np.broadcast_to(ramp[:, None, None], (size, size, 3)).copy()
    return [noise, np.zeros_like(noise), np.full_like(noise, 255), gradient]


def _output_kind(found: FloatArray, columns: Sequence[int], n_labels: int, declared: Output | None) -> Output:
    """Return whether scores are probabilities or logits, by the declaration and by their values."""
    if columns and max(columns) >= found.shape[1]:
        raise ModelError(f"has {found.shape[1]} columns, numbered from 0, but column {max(columns)} was chosen")
    chosen = found[:, list(columns)] if columns else found
    if chosen.shape[1] != n_labels:
        raise ModelError(
            f"returns {chosen.shape[1]} scores per image, but {n_labels} labels were given; give a label per score, or "
            "name the columns that belong to the labels, in their order, with --columns"
        )
    likely = are_probabilities(found) or are_probabilities(chosen)
    if declared == "probabilities" and not likely:
        sums = chosen.sum(1)
        raise ModelError(
            f"has scores from {chosen.min():.3g} to {chosen.max():.3g} with sums from {sums.min():.3g} to "
            f"{sums.max():.3g}, which are no probabilities; add it with --graph-output logits, or without"
        )
    if declared == "logits" and likely:
        warnings.warn(
            "the model's outputs look like probabilities, which a second softmax would flatten; add it again with "
            "--graph-output probabilities",
            stacklevel=2,
        )
    total = found.sum(1).mean()
    if declared is None and total > 2 and are_probabilities(found / np.float32(total)):
        raise ModelError(
            f"has scores that sum to {total:.3g} for every image, as percentages do; export it so that they sum to 1"
        )
    if declared is None and not likely and (found >= 0).all() and (found <= 1).all():
        raise ModelError(
            "has scores from 0 to 1 that don't sum to 1, as after a sigmoid, which rates each class by itself; end it "
            "in a softmax, or add it with --graph-output logits to apply one to them"
        )
    return declared or ("probabilities" if likely else "logits")


def parse_columns(text: str) -> list[int]:
    """Return the column numbers in a text such as "0-6" or "3,4,0".

    Raises:
        ConfigError: It is something else.
    """
    columns: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (not dash or last.isdecimal()) and len(first) < 6 and len(last) < 6):
            raise ConfigError(f"'{text}' names no columns; expected numbers from 0, such as 0-6 or 3,4,0")
        begin, end = int(first), int(last or first)
        columns += range(begin, end + 1) if begin <= end else range(begin, end - 1, -1)
    return columns


def parse_numbers(text: str, option: str) -> list[float]:
    """Return the numbers in a text such as "0.485,0.456,0.406".

    Raises:
        ConfigError: It is something else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} is '{text}'; expected one number, or one per channel: 0.485,0.456,0.406") from None
