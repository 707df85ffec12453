"""From averaged weights to a model: batch statistics, calibration, export, check against PyTorch (extra: train).

See docs/decisions/0019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mien.data.dataset import SPLITS, Dataset
from mien.data.votes import majority
from mien.evaluation.calibration import fit_temperature
from mien.labels import FERPLUS
from mien.models.preprocess import preprocess
from mien.models.spec import ModelSpec
from mien.nets.export import Parity, Storage, check_parity, export, torch_logits
from mien.nets.nets import Net, freeze, normalize
from mien.structures import FloatArray
from mien.training.recipe import current_settings

N_STATISTICS = 8192  # images that batch statistics are computed from
CHUNK = 256  # images per batch of them
LARGE = 112  # pixels per side above which a batch is a quarter of that: a deep net's features would take many GB
N_PARITY = 512  # images on which the export is compared with PyTorch


def finish(
    net: Net, spec: ModelSpec, fitted: Dataset, dataset: Dataset, path: Path, *, storage: Storage
) -> tuple[ModelSpec, Parity]:
    """Recompute batch statistics, calibrate, write as ONNX and compare with PyTorch.

    Args:
        net: The averaged net; its batch statistics change.
        spec: Of the model, not calibrated yet.
        fitted: Images that it was fitted on; they give the batch statistics.
        dataset: The whole data; "valid" calibrates, if there is one.
        path: The .onnx file to write.
        storage: How weights are stored.

    Returns:
        The spec with its temperatures, and the file's difference from PyTorch on real images.

    Raises:
        OutputError: The file cannot be written.
    """
    recompute_batch_norm(net, fitted, spec)
    measured = dataset
    if (dataset.splits == SPLITS.index("valid")).any():
        measured = dataset.split("valid")
        logits = torch_logits(net, measured.images, spec)
        spec = spec.with_temperatures({name: _temperature(logits[name], measured, name) for name in spec.names})
    export(net, spec, path, storage=storage)
    return spec, check_parity(net, path, measured.images[:N_PARITY])


# Not swa_utils.update_bn: it would switch dropout on and reset the statistics of frozen parts.
@torch.no_grad()
def recompute_batch_norm(net: Net, train: Dataset, spec: ModelSpec) -> None:
    """Recompute the statistics of batch normalisation from plain images for the averaged weights, in place.

    During training they are those of other weights, and of augmented images, which resampling has smoothed. Precise
    batch norm: Wu & Johnson 2021, arXiv:2105.07576.

    Args:
        net: The averaged net.
        train: Images it was trained on; a fixed random choice of them is used.
        spec: Names the preprocessing, and the frozen parts, which keep their statistics.
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
    for rows in np.array_split(chosen, -(-len(chosen) // size)):  # nearly equal sizes, since each has the same weight
        pixels = torch.from_numpy(preprocess(train.images[rows], spec.preprocess))
        net(normalize(pixels.permute(0, 3, 1, 2).float(), spec.preprocess.normalize))
    net.eval()


def _temperature(logits: FloatArray, images: Dataset, head: str) -> float:
    """Fit a head's temperature to the dataset's labels or, for the FER+ head, to the raters' majority.

    It is 1 where there is no image whose raters agree on an expression.
    """
    targets = images.targets
    if head == FERPLUS.name and images.votes is not None and images.labels.name != FERPLUS.name:
        targets = majority(images).targets
        agreed = targets < len(FERPLUS)  # "unknown" and "not a face" come after the expressions
        logits, targets = logits[agreed], targets[agreed]
    return fit_temperature(logits, targets) if len(targets) else 1.0
