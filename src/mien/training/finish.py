"""From a run folder to a model: settle, calibrate, export, check against PyTorch (extra: train)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mien.data.dataset import Dataset
from mien.data.votes import majority
from mien.errors import DatasetError, RunError
from mien.evaluation.calibration import fit_temperature
from mien.files import make_folder
from mien.labels import FERPLUS
from mien.models.onnx_file import check_target, write_with_spec
from mien.models.preprocess import preprocess
from mien.models.spec import ModelSpec
from mien.nets.export import Parity, Storage, check_parity, export, torch_logits
from mien.nets.nets import Net, freeze, normalize
from mien.structures import FloatArray
from mien.training.checkpoint import load_average
from mien.training.fit import CHECKPOINT, fitted_pictures, read_metrics
from mien.training.recipe import current_settings

N_STATISTICS = 8192  # pictures that batch statistics are taken from
CHUNK = 256  # pictures that statistics are taken of at a time
LARGE = 112  # pixels a side, above which it is a quarter of that, or a deep net's features would take many GB
N_PARITY = 512  # pictures on which the export is compared with PyTorch


def export_run(
    run: Path, dataset: Dataset, *, target: Path | None = None, storage: str = "float16", install: Path | None = None
) -> tuple[Path, Parity]:
    """Write the averaged net of a run as ONNX.

    Args:
        run: The run's folder.
        dataset: The data it was trained on; the pictures it was fitted on give the batch statistics, "valid"
            calibrates.
        target: The .onnx file to write; `run`/NAME.onnx when None.
        storage: "float32", "float16" or "int8".
        install: Models directory to put a copy into; none when None.

    Returns:
        The file, and how far it is from PyTorch on real pictures.

    Raises:
        RunError: There is no run, it has no checkpoint yet, or it was fitted on a selection of other data.
        ConfigError: The target is no .onnx file.
        OutputError: The file cannot be written.
    """
    if not run.is_dir():
        raise RunError(f"no run at '{run}'; expected a folder that mien train made")
    if not (run / CHECKPOINT).exists() or not read_metrics(run):  # one that starts from weights has one at once
        raise RunError(f"{run} has no checkpoint yet; go on with it: mien train --resume {run}")
    net, spec = load_average(run / CHECKPOINT)
    path = target or run / f"{spec.name}.onnx"
    check_target(path)
    for folder in [path.parent] if install is None else [path.parent, install]:
        make_folder(folder)  # now, not after the work
    recompute_batch_norm(net, fitted_pictures(run, dataset), spec)
    try:
        pictures = dataset.split("valid")
    except DatasetError:
        pictures = None
    if pictures is not None:
        logits = torch_logits(net, pictures.images, spec)
        spec = spec.with_temperatures({name: _temperature(logits[name], pictures, name) for name in spec.names})
    export(net, spec, path, storage=cast(Storage, storage))
    parity = check_parity(net, path, (dataset if pictures is None else pictures).images[:N_PARITY])
    if install is not None:
        write_with_spec(path, install / f"{spec.name}.onnx", spec)
    return path, parity


@torch.no_grad()
def recompute_batch_norm(net: Net, train: Dataset, spec: ModelSpec) -> None:
    """Take the statistics of batch normalisation anew, from plain pictures, for the averaged weights; in place.

    While training they were those of other weights and of augmented pictures, which sampling has smoothed. Precise
    batch norm: Wu & Johnson 2021, arXiv:2105.07576.

    Args:
        net: The averaged net.
        train: Pictures it was trained on; a fixed random choice of them is used.
        spec: Says how they are preprocessed, and which parts were frozen and so keep their statistics.
    """
    frozen = freeze(net, current_settings(spec.recipe).get("freeze", ()))
    for norm in net.modules():
        if not isinstance(norm, _BatchNorm) or norm in frozen:
            continue
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    chosen = np.random.default_rng(0).permutation(len(train))[:N_STATISTICS]
    size = CHUNK if spec.preprocess.size <= LARGE else CHUNK // 4
    for rows in np.array_split(chosen, -(-len(chosen) // size)):  # of nearly equal sizes, as each counts the same
        pixels = torch.from_numpy(preprocess(train.images[rows], spec.preprocess))
        net(normalize(pixels.permute(0, 3, 1, 2).float(), spec.preprocess.normalize))
    net.eval()


def _temperature(logits: FloatArray, pictures: Dataset, head: str) -> float:
    """Fit a head's temperature to the dataset's labels, or, for the FER+ head, to the raters' majority.

    Without a picture whose raters agree on an expression it is 1.
    """
    targets = pictures.targets
    if head == FERPLUS.name and pictures.votes is not None and pictures.labels.name != FERPLUS.name:
        targets = majority(pictures).targets
        agreed = targets < len(FERPLUS)  # "unknown" and "not a face" come after the expressions
        logits, targets = logits[agreed], targets[agreed]
    return fit_temperature(logits, targets) if len(targets) else 1.0
