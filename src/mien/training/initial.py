"""The start of a run: its spec, a net with random weights, and weights to load into it (extra: train)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mien.data.audit import Selection
from mien.data.dataset import Dataset
from mien.data.reading import Reading
from mien.errors import ConfigError, DatasetError
from mien.models.spec import Head, ModelSpec
from mien.nets.nets import Net, build_net, normalize
from mien.nets.pretrained import calibrate_norms, fill, read_weights
from mien.nets.weights import Weights, of_spec
from mien.training.batches import Tensors, batches
from mien.training.checkpoint import load_average
from mien.training.recipe import TrainConfig
from mien.training.targets import dataset_names, head_labels
from mien.training.teacher import teacher_digest


def check_datasets(config: TrainConfig, datasets: Sequence[Dataset]) -> None:
    """Raise ConfigError if there isn't a weight per dataset, DatasetError if one is given twice."""
    if config.data_weights and len(config.data_weights) != len(datasets):
        raise ConfigError(
            f"there are {len(config.data_weights)} weights (--weight) for {len(datasets)} datasets (--data); "
            "give one per dataset, in the same order"
        )
    names = dict[str, str]()
    for dataset in datasets:
        if dataset.fingerprint in names:
            raise DatasetError(
                f"'{dataset.name}' is the same data as '{names[dataset.fingerprint]}'; give it once, with a --weight"
            )
        names[dataset.fingerprint] = dataset.name


def new_spec(
    config: TrainConfig, datasets: Sequence[Dataset], selection: Selection | None, weights: Weights | None
) -> ModelSpec:
    """Return the spec of a model to train.

    Args:
        config: The recipe.
        datasets: Data to train on.
        selection: Which images of the first dataset are fitted on, if not all of "train".
        weights: Initial weights, if any.
    """
    first, *others = datasets
    trained_on = {"name": first.name, "fingerprint": first.fingerprint}
    if first.found is not None:
        trained_on["detector"] = first.found.detector
    if selection is not None:
        trained_on |= selection.facts
    shares = config.data_weights or (1.0,) * len(datasets)
    if others:
        trained_on["weight"] = f"{shares[0]:g}"
    for name, dataset, share in zip(dataset_names(datasets)[1:], others, shares[1:], strict=True):
        faces = "" if dataset.found is None else f", detector {dataset.found.detector}"
        trained_on[f"with {name}"] = f"(fingerprint {dataset.fingerprint}, weight {share:g}{faces})"
    if config.teacher:
        trained_on["teacher"] = f"{Path(config.teacher).name} (SHA-256 {teacher_digest(config.teacher)})"
    if weights is not None:
        trained_on["init"] = weights.origin
    name = config.name or config.net
    files = {"init": Path(config.init).name, "teacher": Path(config.teacher).name}
    public = {"name": name, **files}  # a published model names no folder of its maker
    return ModelSpec(
        name=name,
        arch=config.net,
        heads=tuple(Head(labels) for labels in head_labels(config, datasets)),
        preprocess=config.preprocess,
        trained_on=trained_on,
        recipe=json.loads(json.dumps(asdict(config) | public)),
    )


def data_facts(
    config: TrainConfig, datasets: Sequence[Dataset], trained: Sequence[str | None],
    paths: Path | Sequence[Path] | None, votes_path: Path | None, readings: Reading | Sequence[Reading] | None,
    selection: Selection | None, audit_path: Path | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return what a run records of each dataset, as plain data."""
    given = (paths,) if isinstance(paths, Path) else paths or ("",) * len(datasets)
    ways = (readings,) if isinstance(readings, Reading) else readings or (Reading(),) * len(datasets)
    weights = config.data_weights or (1.0,) * len(datasets)
    facts: list[dict[str, Any]] = [
        {
            "name": dataset.name, "fingerprint": dataset.fingerprint, "path": str(path), "weight": weight,
            "head": head, **({"reading": options} if (options := how.facts(dataset)) else {}),
        }
        for dataset, path, how, weight, head in zip(datasets, given, ways, weights, trained, strict=True)
    ]  # fmt: skip
    if votes_path is not None:
        facts[0]["votes"] = str(votes_path)
    if audit_path is not None:
        facts[0]["audit"] = str(audit_path)
    if selection is not None:
        facts[0] |= {"fitted": int(selection.rows.sum()), "dropped": selection.dropped, "fold": selection.fold}
    return facts


def new_net(config: TrainConfig, spec: ModelSpec) -> Net:
    """Return a net with the random weights of the recipe's seed."""
    torch.manual_seed(config.seed)
    return build_net(config.net, config.preprocess, {head.labels.name: len(head.labels) for head in spec.heads})


def check_sizes(net: Net, config: TrainConfig) -> None:
    """Raise ConfigError if the net cannot take the images of a stage: it halves some sizes to nothing."""
    net.eval()
    for size in sorted({stage.size for stage in config.stages} | {config.preprocess.size}):
        try:
            with torch.no_grad():
                net(torch.zeros(1, config.preprocess.channels, size, size))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"net '{config.net}' cannot take images of {size} pixels; set larger ones in stages and preprocess.size"
            ) from error
    net.train()


def initial_weights(source: str | Path, *, arch: str) -> Weights:
    """Read the weights to start from.

    Args:
        source: A checkpoint of a run (.safetensors), or a source for `nets.pretrained.read_weights`.
        arch: Architecture of the net that they are for.

    Raises:
        RunError: The checkpoint is missing or damaged.
        ModelError: The weights cannot be read.
        ConfigError: They are of another architecture.
    """
    if Path(source).suffix == ".safetensors":
        net, spec = load_average(Path(source))
        weights = of_spec(spec, net.state_dict())
    else:
        weights = read_weights(source)
    if weights.arch != arch:
        raise ConfigError(
            f"{source} has weights of net '{weights.arch}', the recipe trains '{arch}'; "
            f"take a recipe of that net, or add --set net={weights.arch}"
        )
    return weights


def load_weights(net: Net, weights: Weights, config: TrainConfig, spec: ModelSpec, train: Tensors) -> str:
    """Load weights into a net, in place; return one line about the parts that were loaded, dropped and are new.

    Raises:
        ModelError: They don't fit.
    """
    origin = fill(net, weights, preprocess=config.preprocess, labels=[head.labels for head in spec.heads])
    if weights.convolutions:  # their batch statistics are unknown, so they are computed from the first batch
        images, _ = next(batches(train, config, config.stage_of(0), epoch=0, rank=0, world=1))
        calibrate_norms(net, normalize(images, config.preprocess.normalize))
    return origin
