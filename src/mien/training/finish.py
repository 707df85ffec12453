"""From a run folder to a model: calibrate on the validation split, export, check against PyTorch (extra: train)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from mien.data.dataset import Dataset
from mien.errors import DatasetError, RunError
from mien.evaluation.calibration import fit_temperature
from mien.labels import FERPLUS
from mien.models.export import Parity, Storage, check_parity, export, torch_logits
from mien.models.spec import ModelSpec
from mien.models.zoo import write_with_spec
from mien.structures import FloatArray, IntArray
from mien.training.checkpoint import load_average
from mien.training.fit import CHECKPOINT

N_PARITY = 512  # pictures on which the export is compared with PyTorch


def export_run(
    run: Path, dataset: Dataset, *, target: Path | None = None, storage: str = "float16", install: Path | None = None
) -> tuple[Path, Parity]:
    """Write the averaged net of a run as ONNX.

    Args:
        run: The run's folder.
        dataset: The data it was trained on; its "valid" split calibrates the model.
        target: The .onnx file to write; `run`/NAME.onnx when None.
        storage: "float32", "float16" or "int8".
        install: Models directory to put a copy into; none when None.

    Returns:
        The file, and how far it is from PyTorch on real pictures.

    Raises:
        RunError: The run has no checkpoint yet.
        OutputError: The file cannot be written.
    """
    if not (run / CHECKPOINT).exists():
        raise RunError(f"{run} has no checkpoint yet; go on with it: mien train --resume {run}")
    net, spec = load_average(run / CHECKPOINT)
    try:
        pictures = dataset.split("valid")
    except DatasetError:
        pictures = None
    if pictures is not None:
        logits = torch_logits(net, pictures.images, spec)
        spec = spec.with_temperatures({name: _temperature(logits[name], pictures, name) for name in spec.names})
    path = target or run / f"{spec.name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    export(net, spec, path, storage=cast(Storage, storage))
    parity = check_parity(net, path, (dataset if pictures is None else pictures).images[:N_PARITY])
    if install is not None:
        install.mkdir(parents=True, exist_ok=True)
        write_with_spec(path, install / f"{spec.name}.onnx", spec)
    return path, parity


def with_metrics(path: Path, spec: ModelSpec, metrics: dict[str, float]) -> None:
    """Note published figures in a model file's spec."""
    from dataclasses import replace

    write_with_spec(path, path, replace(spec, metrics=metrics))


def _temperature(logits: FloatArray, pictures: Dataset, head: str) -> float:
    """Fit a head's temperature to the dataset's labels, or, for the FER+ head, to the raters' majority."""
    targets: IntArray = pictures.targets
    kept = np.ones(len(targets), np.bool_)
    if head == FERPLUS.name and pictures.votes is not None and pictures.labels.name != FERPLUS.name:
        targets = pictures.votes.argmax(1).astype(np.int64)
        kept = targets < len(FERPLUS)
    return fit_temperature(logits[kept], targets[kept])
