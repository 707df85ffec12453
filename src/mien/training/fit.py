"""The training loop (extra: train).

All randomness of an epoch follows from (seed, epoch), so a run that is stopped at any moment and resumed from its last
checkpoint ends with the same weights, bit for bit on the same processor, as an undisturbed one.

See docs/decisions/0002.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from mien.cores import usable_cores
from mien.errors import RunError
from mien.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix
from mien.models.spec import ModelSpec
from mien.nets.nets import freeze, normalize
from mien.training.batches import Tensors, batches, sample
from mien.training.checkpoint import Checkpoint
from mien.training.initial import new_net
from mien.training.loss import head_losses, training_loss
from mien.training.optimizer import EMA_EVERY, learning_rate, new_optimizer, update_average
from mien.training.processes import copy_from_first, in_all, joined, local_processes, sums
from mien.training.recipe import Stage, TrainConfig
from mien.training.records import Row
from mien.training.targets import Targets

VALID_BATCH = 256


class Reporter(Protocol):
    """Receives the progress of a run; the command line draws it."""

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


class Silent:
    """A reporter that prints nothing."""

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...


class Trainer:
    """A net, its moving average and its optimiser, and the loop that trains them.

    Args:
        config: The recipe.
        spec: Architecture and heads.
        train: Training images; at least one batch.
        valid: Images to measure progress on, one dataset each, by the suffix of their metrics' names: "" for the first,
            "_photographs" for a further one.
        fabric: Launched.
    """

    def __init__(
        self, config: TrainConfig, spec: ModelSpec, train: Tensors, valid: Mapping[str, Tensors], fabric: Fabric
    ) -> None:
        torch.set_num_threads(max(usable_cores() // local_processes(fabric), 1))
        self._config, self._train, self._valid, self._fabric = config, train, valid, fabric
        self._steps = train.epoch_size // config.batch_size  # per epoch
        self._losses = head_losses(config, train, [head.labels for head in spec.heads])
        self._n_classes = {head.labels.name: len(head.labels) for head in spec.heads}
        net = new_net(config, spec)
        self._frozen_norms = freeze(net, config.freeze)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        average = copy.deepcopy(net).requires_grad_(False).eval()
        self.state = Checkpoint(net=net, average=average, optimizer=new_optimizer(net, config))

    def epochs(self, first: int, report: Reporter) -> Iterator[Row]:
        """Train from an epoch, counted from 0, to the last; yield the metrics after each, with `state` up to date."""
        self._model, self._optimizer = self._fabric.setup(self.state.net, self.state.optimizer)
        self.state.average.to(self._fabric.device)
        for epoch in range(first, self._config.epochs):
            began = time.perf_counter()
            row = self._train_epoch(epoch, report)
            copy_from_first(self._fabric, self.state.average.buffers())  # batch statistics are each process's own
            for suffix, valid in self._valid.items():
                scores = self._validate(valid, size=self._config.stage_of(epoch).size)
                row |= {f"{name}{suffix}": score for name, score in scores.items()}
            row["seconds"] = time.perf_counter() - began
            yield row

    def _train_epoch(self, epoch: int, report: Reporter) -> Row:
        config, stage, began = self._config, self._config.stage_of(epoch), time.perf_counter()
        self._model.train()
        for norm in self._frozen_norms:
            norm.eval()
        losses, plain_losses = [], []
        for step, (images, targets) in enumerate(self._batches(stage, epoch), start=1):
            loss, plain = self._step(images, targets, epoch * self._steps + step - 1)
            if not math.isfinite(loss):
                text = f"the loss became {loss} in epoch {epoch + 1}; try a smaller learning_rate"
                raise in_all(self._fabric, RunError(text))
            losses.append(loss)
            if targets.share == 1:
                plain_losses.append(plain)
            report.step(epoch, step, self._steps, loss, step * config.batch_size / (time.perf_counter() - began))
        row = {
            "epoch": epoch + 1,
            "size": stage.size,
            "learning_rate": learning_rate(config, epoch + 1),
            "train_loss": math.fsum(losses) / len(losses),
        }
        if plain_losses:  # there are none where mixup takes every batch
            row["train_cross_entropy"] = math.fsum(plain_losses) / len(plain_losses)
        row["images_per_second"] = self._steps * config.batch_size / (time.perf_counter() - began)
        return row

    def _batches(self, stage: Stage, epoch: int) -> Iterator[tuple[Tensor, Targets]]:
        rank, world = self._fabric.global_rank, self._fabric.world_size
        return batches(self._train, self._config, stage, epoch=epoch, rank=rank, world=world)

    def _step(self, images: Tensor, targets: Targets, step: int) -> tuple[float, float]:
        """Take one step, counted from 0 over all epochs; return the objective and the first head's cross-entropy.

        Both are of the whole batch. Each process divides by its share of the images that count in the whole batch, so
        that the gradients' mean over the processes is the gradient of one process, whatever each of them got.
        """
        config, fabric = self._config, self._fabric
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(config, step / self._steps) * group["share"]
        logits = self._model(normalize(fabric.to_device(images), config.preprocess.normalize))
        if joined(fabric):
            counts = sums(fabric, targets.counts())
            targets = targets.divided_by([max(count, 1) / fabric.world_size for count in counts])
        targets = fabric.to_device(targets)
        loss = training_loss(logits, targets, self._losses, smoothing=config.label_smoothing)
        self._optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(self._model, self._optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
        self._optimizer.step()
        since = step % EMA_EVERY + 1
        if since == EMA_EVERY or step == config.epochs * self._steps - 1:
            update_average(self.state.average, self.state.net, decay=config.ema_decay**since, step=step)
        first = next(iter(self._losses))
        plain = targets[first].loss(logits[first].detach().float())
        objective, cross_entropy = sums(fabric, [float(loss.detach()), float(plain)])
        return objective / fabric.world_size, cross_entropy / fabric.world_size

    @torch.no_grad()
    def _validate(self, data: Tensors, *, size: int) -> Row:
        """Return loss and accuracies of the averaged net: single view, in the run's precision.

        They are of the first head that the images have targets for; of votes, the most frequent label is the target.
        Each process takes its share of the images.
        """
        config, fabric = self._config, self._fabric
        head = next((name for name in self._losses if data.targets[name].counted.any()), None)
        if head is None:
            return {}
        own = torch.arange(fabric.global_rank, len(data), fabric.world_size)
        images, targets = data.images[0][fabric.global_rank :: fabric.world_size], data.targets[head].rows(own)
        parts = [torch.zeros(0, self._n_classes[head])]
        for start in range(0, len(own), VALID_BATCH):
            pixels = images[start : start + VALID_BATCH]
            batch = sample(pixels, config, size, strength=0, generator=torch.Generator())
            batch = normalize(batch, config.preprocess.normalize).contiguous(memory_format=torch.channels_last)
            with fabric.autocast():
                parts.append(self.state.average(fabric.to_device(batch))[head].float().cpu())
        logits, counted = torch.cat(parts), targets.counted > 0
        classes, answers = targets.first[counted].numpy(), logits.argmax(1)[counted].numpy()
        matrix = confusion_matrix(classes, answers, n_classes=logits.shape[1])
        loss, *cells = sums(fabric, [float(replace(targets, divisor=1).loss(logits)), *matrix.ravel().tolist()])
        matrix = np.array(cells).reshape(matrix.shape).astype(np.int64)
        return {
            "valid_loss": loss / int(matrix.sum()),
            "valid_accuracy": accuracy(matrix),
            "valid_balanced_accuracy": balanced_accuracy(matrix),
        }
