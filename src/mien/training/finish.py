"""From averaged weights to a model: batch statistics, calibration, export, check against PyTorch (extra: train).

See docs/decisions/0019.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mien.data.dataset import SPLITS, Dataset
from mien.evaluation.calibration import NONE, calibration_targets, fit_temperature
from mien.labels import LabelSet
from mien.models.preprocess import preprocess
from mien.models.quantize import N_CALIBRATION
from mien.models.spec import ModelSpec
from mien.nets.export import Parity, Storage, check_parity, export, torch_logits
from mien.nets.nets import Net, freeze, normalize
from mien.structures import ImageArray
from mien.training.recipe import TrainConfig, current_settings
from mien.training.sampling import epoch_rows, expected_draws
from mien.training.targets import dataset_targets, trained_heads

N_STATISTICS = 8192  # images that batch statistics are computed from
CHUNK = 256  # images per batch of them
LARGE = 112  # pixels per side above which a batch is a quarter of that: a deep net's features would take many GB
N_PARITY = 512  # images on which the export is compared with PyTorch


def finish(
    net: Net, spec: ModelSpec, fitted: Sequence[Dataset], datasets: Sequence[Dataset], path: Path, *,
    config: TrainConfig, storage: Storage,
) -> tuple[ModelSpec, Parity]:  # fmt: skip
    """Recompute batch statistics, calibrate, write as ONNX and compare with PyTorch.

    Args:
        net: The averaged net; its batch statistics change.
        spec: Of the model, not calibrated yet.
        fitted: Images that it was fitted on, of each dataset; they give the batch statistics, and
            the ranges of 8-bit numbers.
        datasets: The whole data; each "valid" calibrates the heads that it has targets for, if there is one.
        path: The .onnx file to write.
        config: The recipe.
        storage: How weights are stored.

    Returns:
        The spec with its temperatures, and the file's difference from PyTorch on real images.

    Raises:
        OutputError: The file cannot be written.
    """
    heads = [head.labels for head in spec.heads]
    trained = trained_heads(config, datasets, heads)
    images = statistics_images(fitted, heads, trained, config)
    recompute_batch_norm(net, images, spec)
    valid = [
        (dataset.split("valid"), head)
        for dataset, head in zip(datasets, trained, strict=True)
        if (dataset.splits == SPLITS.index("valid")).any()
    ]
    if valid:
        spec = spec.with_temperatures(_temperatures(net, spec, valid))
    export(net, spec, path, storage=storage, images=images[:N_CALIBRATION])
    measured = valid[0][0] if valid else datasets[0]
    return spec, check_parity(net, path, measured.images[:N_PARITY])


def statistics_images(
    fitted: Sequence[Dataset], heads: Sequence[LabelSet], trained: Sequence[str | None], config: TrainConfig
) -> list[ImageArray]:
    """Return up to `N_STATISTICS` of the fitted images, drawn as in an epoch but the same each time."""
    sizes = [len(dataset) for dataset in fitted]
    parts = [dataset_targets(dataset, heads, head) for dataset, head in zip(fitted, trained, strict=True)]
    draws = expected_draws(parts, sizes, heads, config)
    rows = epoch_rows(draws, sum(sizes), np.random.default_rng(0))[:N_STATISTICS]
    starts = np.cumsum([0, *sizes])
    of = np.searchsorted(starts, rows, side="right") - 1
    return [fitted[i].images[row - starts[i]] for i, row in zip(of.tolist(), rows.tolist(), strict=True)]


# Not swa_utils.update_bn: it would switch dropout on and reset the statistics of frozen parts.
@torch.no_grad()
def recompute_batch_norm(net: Net, images: Sequence[ImageArray], spec: ModelSpec) -> None:
    """Recompute the statistics of batch normalisation from plain images for the averaged weights, in place.

    During training they are those of other weights, and of augmented images, which resampling has smoothed. Precise
    batch norm: Wu & Johnson 2021, arXiv:2105.07576.

    Args:
        net: The averaged net.
        images: uint8, each (H, W, C), from those it was trained on.
        spec: Names the preprocessing, and the frozen parts, which keep their statistics.
    """
    frozen = freeze(net, current_settings(spec.recipe).get("freeze", ()))
    for norm in net.modules():
        if not isinstance(norm, _BatchNorm) or norm in frozen:
            continue
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    size = CHUNK if spec.preprocess.size <= LARGE else CHUNK // 4
    # Nearly equal sizes, since each chunk has the same weight.
    for rows in np.array_split(np.arange(len(images)), -(-len(images) // size)):
        pixels = torch.from_numpy(preprocess((images[row] for row in rows), spec.preprocess))
        net(normalize(pixels.permute(0, 3, 1, 2).float(), spec.preprocess.normalize))
    net.eval()


def _temperatures(net: Net, spec: ModelSpec, valid: Sequence[tuple[Dataset, str | None]]) -> dict[str, float]:
    """Fit each head's temperature on the validation images that have targets for it; 1 where none has."""
    logits = [torch_logits(net, images.images, spec) for images, _ in valid]
    temperatures = {}
    for head in spec.heads:
        name = head.labels.name
        targets = [calibration_targets(images, head.labels, trained) for images, trained in valid]
        counted = [ids != NONE for ids in targets]
        rows = np.concatenate([each[name][kept] for each, kept in zip(logits, counted, strict=True)])
        ids = np.concatenate([each[kept] for each, kept in zip(targets, counted, strict=True)])
        temperatures[name] = fit_temperature(rows, ids) if len(ids) else 1.0
    return temperatures
