"""The training loop (extra: train).

Everything random in an epoch follows from (seed, epoch), so a run that is stopped at any moment and resumed from its
last checkpoint ends with the same weights, bit for bit on the same machine, as one that was left alone.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from mien.data.audit import BoolArray, Selection
from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError, RunError
from mien.files import atomic_path, make_folder
from mien.labels import FERPLUS
from mien.machine.facts import git_commit
from mien.models.preprocess import preprocess
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.nets.nets import Net, build_net, freeze, normalize
from mien.nets.pretrained import calibrate_norms, fill, read_weights
from mien.nets.weights import Weights, of_spec
from mien.settings import from_dict
from mien.structures import ImageArray
from mien.training.augment import augment
from mien.training.checkpoint import Checkpoint, load_average, load_checkpoint, save_checkpoint
from mien.training.precision import fastest_precision, training_facts
from mien.training.recipe import Stage, TrainConfig, current_settings

CHECKPOINT = "last.safetensors"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
ROWS = "rows.npy"
PRECISION_VARIABLE = "MIEN_TRAINING_PRECISION"  # from the first process of a run to its others

EMA_EVERY = 4  # steps between updates of the average; with decay⁴ it is the same average at a quarter of the cost


class Reporter(Protocol):
    """Who wants to hear how a run goes; `cli` draws it."""

    def begun(self, origin: str) -> None: ...

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def begun(self, origin: str) -> None: ...

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


@dataclass(frozen=True)
class Tensors:
    """One split as tensors.

    Args:
        pictures: uint8 (n, H, W, C), preprocessed.
        targets: int64 (n,).
        votes: Distribution over the FER+ labels, float32 (n, 8).
        has_votes: float32 (n,), 1 where the votes count.
    """

    pictures: Tensor
    targets: Tensor
    votes: Tensor
    has_votes: Tensor


def start(
    config: TrainConfig,
    dataset: Dataset,
    run: Path,
    *,
    data_path: Path | None = None,
    selection: Selection | None = None,
    audit_path: Path | None = None,
    devices: int = 1,
    report: Reporter | None = None,
) -> Path:
    """Train a new model.

    Args:
        config: The recipe.
        dataset: Data with a "train" split, and a "valid" one if progress is to be measured.
        run: Folder to make; it holds config, environment, metrics, curves and the last checkpoint.
        data_path: Where the dataset was read from; noted, for `resume`.
        selection: Which pictures of "train" to fit on, if not all of them; kept in the run. The dataset is the whole
            one nevertheless, so that its fingerprint is that of the data.
        audit_path: Where the audit that they were chosen by was read from; noted.
        devices: How many graphics cards, or processes where there are none, share each batch.
        report: Hears what the net starts from, and of every step and epoch.

    Returns:
        Path of the last checkpoint.

    Raises:
        RunError: The folder exists already.
        DatasetError: The data has not enough pictures to train on, or the selection is of other data.
        ConfigError: What is to be frozen is not there, or the weights to start from are of another net.
        ModelError: The weights to start from cannot be read, or don't fit.
    """
    if (run / CONFIG).exists():
        raise RunError(f"{run} is a run already; go on with it (mien train --resume {run}) or name another --run")
    if (run / CHECKPOINT).exists():
        raise RunError(f"{run} holds a checkpoint, but not how it was trained; name another --run")
    weights = _weights(config) if config.init else None
    precision = _agreed_precision(devices) if config.precision == "auto" else config.precision
    fabric = _fabric(precision, devices)
    fabric.launch()  # each of several processes comes to here; past this point all of them have looked for an old run
    if selection is not None and selection.rows.shape != (len(dataset),):
        raise DatasetError(
            f"the selection is of {len(selection.rows)} pictures, but '{dataset.name}' has {len(dataset)}; "
            "select from an audit of this very data"
        )
    chosen = dataset.split("train") if selection is None else dataset.select(selection.rows)
    train = _train_tensors(chosen, config, world=fabric.world_size)
    spec = _spec(config, dataset, selection, weights)
    net = _net(config, spec)
    freeze(net, config.freeze)  # says what is wrong before there is a folder
    origin = "" if weights is None else _load(net, weights, config, spec, train)
    data = {"name": dataset.name, "fingerprint": dataset.fingerprint, "path": str(data_path or "")}
    if audit_path is not None:
        data["audit"] = str(audit_path)
    environment = {
        **training_facts(),
        "commit": git_commit(),
        "precision": precision,
        "devices": devices,
        "init": origin,
        "data": data if selection is None else data | _note(selection),
        "spec": json.loads(spec.to_json()),
    }
    if fabric.is_global_zero:
        make_folder(run)
        if selection is not None:
            _write_rows(run / ROWS, selection.rows)
        _write_json(run / ENVIRONMENT, environment)
        if weights is not None:  # a resumed run reads them here
            begun = Checkpoint(net=net, average=copy.deepcopy(net), optimizer=_optimizer(net, config))
            save_checkpoint(run / CHECKPOINT, begun, spec=spec, epochs_done=0)
        _write_json(run / CONFIG, asdict(config))  # last, since it is what makes the folder a run
    fabric.barrier()
    report = report or Silent()
    if origin:
        report.begun(origin)
    return _fit(config, spec, train, dataset, run, fabric, report)


def resume(run: Path, dataset: Dataset, *, report: Reporter | None = None) -> Path:
    """Go on with a run that was stopped, on as many devices, from its last checkpoint or, without one, from the start.

    Args:
        run: Folder of the run.
        dataset: The data it was started with.
        report: As for `start`.

    Returns:
        Path of the last checkpoint.

    Raises:
        RunError: The folder is no run, or the data is not what it was started with.
    """
    config, environment = read_run(run)
    _check_data(run, environment, dataset)
    spec = ModelSpec.from_json(json.dumps(environment["spec"]))
    fabric = _fabric(environment["precision"], environment.get("devices", 1))
    fabric.launch()
    train = _train_tensors(fitted_pictures(run, dataset), config, world=fabric.world_size)
    return _fit(config, spec, train, dataset, run, fabric, report or Silent())


def read_run(run: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """Return config and environment of a run folder.

    Raises:
        RunError: The folder is no run.
    """
    try:
        config = from_dict(TrainConfig, current_settings(json.loads((run / CONFIG).read_text(encoding="utf-8"))))
        environment = json.loads((run / ENVIRONMENT).read_text(encoding="utf-8"))
        environment["data"]["fingerprint"], environment["spec"], environment["precision"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{run} is not a run folder ({error!r}); expected one that `mien train` made") from error
    return config, environment


def fitted_pictures(run: Path, dataset: Dataset) -> Dataset:
    """Return the training pictures that a run is fitted on: "train", or what was selected of it.

    Args:
        run: Folder of the run.
        dataset: The data it was started with.

    Raises:
        RunError: The folder is no run; or, where pictures were selected, they are not known any more, or the data is
            not what they were selected from.
        DatasetError: The data has no "train" split.
    """
    environment = read_run(run)[1]
    n = environment["data"].get("fitted")
    if n is None:
        return dataset.split("train")
    _check_data(run, environment, dataset)
    try:
        rows = np.load(run / ROWS, allow_pickle=False)
        if rows.dtype != np.bool_ or rows.shape != (len(dataset),) or rows.sum() != n:
            raise ValueError(f"expected to find {n} of {len(dataset)} pictures")
    except (OSError, EOFError, ValueError) as error:
        raise RunError(f"'{run / ROWS}' doesn't tell what {run} is fitted on ({error}); start it anew") from error
    return dataset.select(rows)


def _check_data(run: Path, environment: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise RunError for other data than a run was started with."""
    known = environment["data"]["fingerprint"]
    if dataset.fingerprint != known:
        raise RunError(
            f"{run} was started on data with fingerprint {known[:12]}, this has {dataset.fingerprint[:12]}; "
            "give the same --data"
        )


def _note(selection: Selection) -> dict[str, Any]:
    """Return what the environment of a run notes of a selection beside the data."""
    return {"fitted": int(selection.rows.sum()), "dropped": selection.dropped, "fold": selection.fold}


def _agreed_precision(devices: int) -> Literal["32-true", "bf16-mixed"]:
    """Measure which precision is faster; the processes that Fabric starts for further devices take ours."""
    if devices == 1:
        return fastest_precision()
    told = os.environ.setdefault(PRECISION_VARIABLE, fastest_precision())
    return "bf16-mixed" if told == "bf16-mixed" else "32-true"


def _fabric(precision: Literal["32-true", "bf16-mixed"], devices: int) -> Fabric:
    if devices == 1:
        return Fabric(precision=precision, devices=1)
    return Fabric(precision=precision, devices=devices, strategy="ddp")


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Return the rows of a run's metrics, one per finished epoch."""
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def _weights(config: TrainConfig) -> Weights:
    """Read what a recipe starts from."""
    path = Path(config.init)
    if (path / CHECKPOINT).exists():
        path = path / CHECKPOINT
    if path.suffix == ".safetensors":
        net, spec = load_average(path)
        weights = of_spec(spec, net.state_dict())
    else:
        weights = read_weights(config.init)
    if weights.arch != config.net:
        raise ConfigError(
            f"{config.init} has weights of net '{weights.arch}', the recipe trains '{config.net}'; "
            f"take a recipe of that net, or add --set net={weights.arch}"
        )
    return weights


def _net(config: TrainConfig, spec: ModelSpec) -> Net:
    """Build a run's net, with the random weights of its seed."""
    torch.manual_seed(config.seed)
    return build_net(config.net, config.preprocess, {head.labels.name: len(head.labels) for head in spec.heads})


def _load(net: Net, weights: Weights, config: TrainConfig, spec: ModelSpec, train: Tensors) -> str:
    """Put the weights to start from into a net, in place; return a line about them."""
    origin = fill(net, weights, preprocess=config.preprocess, labels=[head.labels for head in spec.heads])
    if weights.convolutions:  # their batch statistics are unknown, so they are taken from the first batch
        pictures, _ = next(_batches(train, config, config.stage_of(0), epoch=0, rank=0, world=1))
        calibrate_norms(net, normalize(pictures, config.preprocess.normalize))
    return origin


def _fit(
    config: TrainConfig, spec: ModelSpec, train: Tensors, dataset: Dataset, run: Path, fabric: Fabric, report: Reporter
) -> Path:
    torch.set_num_threads(max((os.cpu_count() or 1) // fabric.world_size, 1))
    valid = _tensors(dataset.split("valid"), config) if (dataset.splits == 1).any() else None
    net = _net(config, spec)
    resting = freeze(net, config.freeze)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    average = copy.deepcopy(net).requires_grad_(False).eval()
    optimizer = _optimizer(net, config)
    state = Checkpoint(net=net, average=average, optimizer=optimizer)
    first, rows = _restore(run, state, report)
    model, optimizer = fabric.setup(net, optimizer)
    average.to(fabric.device)
    steps_per_epoch = len(train.targets) // config.batch_size
    last_step = config.epochs * steps_per_epoch - 1

    for epoch in range(first, config.epochs):
        stage = config.stage_of(epoch)
        began = time.perf_counter()
        losses = []
        model.train()
        for norm in resting:
            norm.eval()
        batches = _batches(train, config, stage, epoch=epoch, rank=fabric.global_rank, world=fabric.world_size)
        for step, (pictures, targets) in enumerate(batches):
            step_overall = epoch * steps_per_epoch + step
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step_overall / steps_per_epoch) * group["share"]
            logits = model(normalize(fabric.to_device(pictures), config.preprocess.normalize))
            loss = _loss(logits, fabric.to_device(targets), config)
            optimizer.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
            optimizer.step()
            since = step_overall % EMA_EVERY + 1
            if since == EMA_EVERY or step_overall == last_step:
                _update_average(average, net, decay=config.ema_decay**since, step=step_overall)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise RunError(f"the loss became {losses[-1]} in epoch {epoch + 1}; try a smaller learning_rate")
            speed = (step + 1) * config.batch_size / (time.perf_counter() - began)
            report.step(epoch, step + 1, steps_per_epoch, losses[-1], speed)
        row = {
            "epoch": epoch + 1,
            "size": stage.size,
            "learning_rate": learning_rate(config, epoch + 1),
            "train_loss": math.fsum(losses) / len(losses),
            "images_per_second": steps_per_epoch * config.batch_size / (time.perf_counter() - began),
        }
        if valid is not None:
            row |= _validate(average, valid, config, fabric, size=stage.size)
        row["seconds"] = time.perf_counter() - began
        rows.append(row)
        if fabric.is_global_zero:
            _write_metrics(run / METRICS, rows)
            save_checkpoint(run / CHECKPOINT, state, spec=spec, epochs_done=epoch + 1)
        fabric.barrier()
        report.epoch(row)
    return run / CHECKPOINT


def learning_rate(config: TrainConfig, epochs_done: float) -> float:
    """Return the learning rate after so many epochs: linear warm-up from a tenth, then one cosine to 0."""
    warmup = min(config.warmup_epochs, config.epochs)
    if epochs_done < warmup:
        return config.learning_rate * (0.1 + 0.9 * epochs_done / warmup)
    share = (epochs_done - warmup) / max(config.epochs - warmup, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@dataclass(frozen=True)
class Targets:
    """What a batch should be answered with: two class ids a picture, mixed with `share` of the first."""

    first: Tensor
    second: Tensor
    share: float
    votes: Tensor
    has_votes: Tensor

    def to(self, device: torch.device) -> Targets:
        """Return a copy on a device."""
        moved = (t.to(device) for t in (self.first, self.second, self.votes, self.has_votes))
        first, second, votes, has_votes = moved
        return Targets(first, second, self.share, votes, has_votes)


def _batches(
    data: Tensors, config: TrainConfig, stage: Stage, *, epoch: int, rank: int, world: int
) -> Iterator[tuple[Tensor, Targets]]:
    """Yield one epoch of augmented batches; each of `world` processes gets its share of every batch."""
    order = np.random.default_rng([config.seed, epoch])  # the same in every process
    generator = torch.Generator().manual_seed(int(np.random.default_rng([config.seed, epoch, rank]).integers(2**62)))
    torch.manual_seed(int(np.random.default_rng([config.seed, epoch, rank, 1]).integers(2**62)))  # for dropout
    shuffled = order.permutation(len(data.targets))
    mixes = config.mixup_alpha > 0 and (config.mixup_epochs == 0 or epoch < config.mixup_epochs)
    for start in range(0, len(shuffled) - config.batch_size + 1, config.batch_size):
        index = torch.from_numpy(shuffled[start : start + config.batch_size][rank::world])
        pictures = _sample(data.pictures[index], config, stage.size, strength=stage.augment, generator=generator)
        targets = data.targets[index]
        votes, has_votes = data.votes[index], data.has_votes[index]
        share, partner = 1.0, targets
        if mixes and order.random() < config.mixup_share:
            share = float(order.beta(config.mixup_alpha, config.mixup_alpha))
            pictures = share * pictures + (1 - share) * pictures.flip(0)
            partner = targets.flip(0)
            votes = share * votes + (1 - share) * votes.flip(0)
            has_votes = has_votes * has_votes.flip(0)
        yield (
            pictures.contiguous(memory_format=torch.channels_last),
            Targets(targets, partner, share, votes, has_votes),
        )


def _sample(pixels: Tensor, config: TrainConfig, size: int, *, strength: float, generator: torch.Generator) -> Tensor:
    """Augment pictures, bring them to a stage's size and grey ones to the channels of the net."""
    pictures = augment(pixels, config.augment, size=size, strength=strength, generator=generator)
    return pictures if pictures.shape[1] == config.preprocess.channels else pictures.expand(-1, 3, -1, -1)


def _loss(logits: Mapping[str, Tensor], targets: Targets, config: TrainConfig) -> Tensor:
    """Cross-entropy of the first head, plus that of the FER+ head against the raters' distribution.

    Soft labels: Barsoum et al. 2016, arXiv:1608.01041.
    """
    main = next(iter(logits.values())).float()
    smooth = config.label_smoothing
    loss = F.cross_entropy(main, targets.first, label_smoothing=smooth)
    if targets.share < 1:
        other = F.cross_entropy(main, targets.second, label_smoothing=smooth)
        loss = targets.share * loss + (1 - targets.share) * other
    if FERPLUS.name in logits and len(logits) > 1:
        log_p = logits[FERPLUS.name].float().log_softmax(1)
        per_picture = -(targets.votes * log_p).sum(1)
        counted = targets.has_votes.sum().clamp(min=1)
        loss = loss + config.ferplus_weight * (per_picture * targets.has_votes).sum() / counted
    return loss


@torch.no_grad()
def _validate(net: Net, data: Tensors, config: TrainConfig, fabric: Fabric, *, size: int) -> dict[str, float]:
    """Return loss and accuracy of the first head, single view, at the size of the stage, in the run's precision."""
    correct, loss = 0, 0.0
    for start in range(0, len(data.targets), 256):
        part = slice(start, start + 256)
        pictures = _sample(data.pictures[part], config, size, strength=0, generator=torch.Generator())
        pictures = normalize(pictures, config.preprocess.normalize).contiguous(memory_format=torch.channels_last)
        with fabric.autocast():
            answers = net(fabric.to_device(pictures))
        logits = next(iter(answers.values())).float().cpu()
        correct += int((logits.argmax(1) == data.targets[part]).sum())
        loss += float(F.cross_entropy(logits, data.targets[part], reduction="sum"))
    return {"valid_loss": loss / len(data.targets), "valid_accuracy": correct / len(data.targets)}


@torch.no_grad()
def _update_average(average: Net, net: Net, *, decay: float, step: int) -> None:
    """Move the averaged weights and batch statistics toward the current ones; faster in the first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    mine, current = _floats(average), _floats(net)
    torch._foreach_lerp_(mine, current, weight)


def _floats(net: Net) -> list[Tensor]:
    return [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]


def _optimizer(net: Net, config: TrainConfig) -> torch.optim.SGD:
    groups: list[dict[str, object]] = []
    layers = {module.weight for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    for part, share in ((net.backbone, config.backbone_rate), (net.heads, 1.0)):
        learning = [p for p in part.parameters() if p.requires_grad]
        decayed, others = [p for p in learning if p in layers], [p for p in learning if p not in layers]
        groups.append({"params": decayed, "weight_decay": config.weight_decay, "share": share})
        groups.append({"params": others, "weight_decay": 0.0, "share": share})
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True, fused=True)


def _restore(run: Path, state: Checkpoint, report: Reporter) -> tuple[int, list[dict[str, float]]]:
    """Load the last checkpoint if there is one; return the epochs done and their metrics."""
    if not (run / CHECKPOINT).exists():
        return 0, []
    done = load_checkpoint(run / CHECKPOINT, state)
    rows = read_metrics(run)[:done]  # a kill between metrics and checkpoint leaves a row too many
    for row in rows:
        report.epoch(row)
    return done, rows


def _train_tensors(pictures: Dataset, config: TrainConfig, *, world: int) -> Tensors:
    train = _without_blanks(_tensors(pictures, config))
    if len(train.targets) < config.batch_size:
        raise DatasetError(
            f"{len(train.targets)} pictures to train on do not fill one batch of {config.batch_size}; "
            "set a smaller batch_size"
        )
    if config.batch_size < 2 * world:
        raise RunError(f"a batch of {config.batch_size} is too small for {world} processes; set a larger batch_size")
    return train


def _tensors(split: Dataset, config: TrainConfig) -> Tensors:
    pictures = torch.from_numpy(preprocess(split.images, _stored(split.images, config.preprocess)))
    targets = torch.from_numpy(split.targets)
    if split.votes is None:
        return Tensors(pictures, targets, torch.zeros(len(targets), len(FERPLUS)), torch.zeros(len(targets)))
    # Columns 8 and 9 are "unknown" and "not a face": where they lead, the raters say nothing of the expression.
    counts = torch.from_numpy(split.votes)
    faces = counts[:, : len(FERPLUS)]
    counted = (counts.argmax(1) < len(FERPLUS)) & (faces.sum(1) > 0)
    return Tensors(pictures, targets, faces / faces.sum(1, keepdim=True).clamp(min=1), counted.float())


def _stored(images: ImageArray, wanted: Preprocess) -> Preprocess:
    """Return how pictures lie in memory: no larger nor more colourful than they are, as `_sample` brings the rest."""
    if wanted.equalize:
        return wanted
    height, width, channels = images.shape[1:]
    size = min(wanted.size, max(height, width, 8))
    return replace(wanted, size=size, channels=min(wanted.channels, channels))


def _without_blanks(data: Tensors) -> Tensors:
    flat = data.pictures.flatten(1)
    kept = flat.amax(1) > flat.amin(1)
    return Tensors(data.pictures[kept], data.targets[kept], data.votes[kept], data.has_votes[kept])


def _spec(config: TrainConfig, dataset: Dataset, selection: Selection | None, weights: Weights | None) -> ModelSpec:
    heads = [Head(dataset.labels)]
    if dataset.votes is not None and config.ferplus_weight > 0 and dataset.labels.name != FERPLUS.name:
        heads.append(Head(FERPLUS))
    named = {"name": config.name or config.net, "init": Path(config.init).name}  # a model tells no folder of its maker
    return ModelSpec(
        name=config.name or config.net,
        arch=config.net,
        heads=tuple(heads),
        preprocess=config.preprocess,
        trained_on={
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            **({} if selection is None else selection.facts),
            **({} if weights is None else {"init": weights.origin}),
        },
        recipe=json.loads(json.dumps(asdict(config) | named)),
    )


def _write_rows(path: Path, rows: BoolArray) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def _write_json(path: Path, data: object) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")


def _write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
