"""Targets of a net's heads: classes or distributions, and the head that each dataset trains (extra: train)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError
from mien.evaluation.calibration import NONE
from mien.labels import FERPLUS, LABEL_SETS, LabelSet
from mien.training.recipe import TrainConfig


@dataclass(frozen=True)
class Classes:
    """A class per image, or two in a mixture.

    Args:
        first: int64 (n,), NONE where an image has no target.
        second: Classes of the images mixed in, int64 (n,); None without mixup.
        share: Of the first in the mixture.
        divisor: Of the sum of losses; the number of images that have a target when None.
    """

    first: Tensor
    second: Tensor | None = None
    share: float = 1.0
    divisor: float | None = None

    @property
    def counted(self) -> Tensor:
        """Which images have a target, bool (n,)."""
        return self.first != NONE

    def rows(self, index: Tensor) -> Classes:
        """Return the targets of some images."""
        return Classes(self.first[index])

    def mixed(self, share: float) -> Classes:
        """Mix with the reverse order; a mixture counts where both images have a target."""
        both = self.counted & self.counted.flip(0)
        first, second = (torch.where(both, ids, NONE) for ids in (self.first, self.first.flip(0)))
        return Classes(first, second, share)

    def to(self, device: torch.device) -> Classes:
        """Return a copy on a device."""
        second = None if self.second is None else self.second.to(device)
        return replace(self, first=self.first.to(device), second=second)

    def distributions(self, n_classes: int, *, smoothing: float = 0.0) -> Distributions:
        """Return the classes as smoothed one-hot rows."""
        rows = F.one_hot(self.first.clamp(min=0), n_classes).float()
        rows = rows * (1 - smoothing) + smoothing / n_classes
        return Distributions(rows * self.counted[:, None], self.counted.float())

    def loss(self, logits: Tensor, *, weight: float = 1.0, smoothing: float = 0.0) -> Tensor:
        """Return the weighted mean cross-entropy of the images that have a target; 0 where none has."""
        if not self.counted.any():
            return 0 * logits.sum()
        loss = F.cross_entropy(logits, self.first, label_smoothing=smoothing)
        if self.second is not None:
            second = F.cross_entropy(logits, self.second, label_smoothing=smoothing)
            loss = self.share * loss + (1 - self.share) * second
        return weight * loss if self.divisor is None else weight * loss * (self.counted.sum() / self.divisor)


@dataclass(frozen=True)
class Distributions:
    """A distribution over the classes per image (soft labels: Barsoum et al. 2016, arXiv:1608.01041).

    Args:
        probabilities: float32 (n, k); zeros where an image has no target.
        counted: float32 (n,), 1 where an image has a target.
        divisor: Of the sum of losses; the number of images that have a target when None.
    """

    probabilities: Tensor
    counted: Tensor
    divisor: float | None = None

    @property
    def first(self) -> Tensor:
        """The most probable class of each image, int64 (n,), NONE where it has no target."""
        return torch.where(self.counted > 0, self.probabilities.argmax(1), NONE)

    def rows(self, index: Tensor) -> Distributions:
        """Return the targets of some images."""
        return Distributions(self.probabilities[index], self.counted[index])

    def mixed(self, share: float) -> Distributions:
        """Mix with the reverse order; a mixture counts where both images have a target."""
        probabilities = share * self.probabilities + (1 - share) * self.probabilities.flip(0)
        return Distributions(probabilities, self.counted * self.counted.flip(0))

    def to(self, device: torch.device) -> Distributions:
        """Return a copy on a device."""
        return replace(self, probabilities=self.probabilities.to(device), counted=self.counted.to(device))

    def followed_by(self, n: int) -> Distributions:
        """Return the targets with n more images, which have none."""
        rows = torch.cat([self.probabilities, torch.zeros(n, self.probabilities.shape[1])])
        return Distributions(rows, torch.cat([self.counted, torch.zeros(n)]))

    def distributions(self, n_classes: int, *, smoothing: float = 0.0) -> Distributions:
        """Return them as they are: raters' votes are smooth already."""
        return self

    def loss(self, logits: Tensor, *, weight: float = 1.0, smoothing: float = 0.0) -> Tensor:
        """Return the weighted mean cross-entropy of the images that have a target; 0 where none has."""
        per_image = -(self.probabilities * logits.log_softmax(1)).sum(1)
        return weight * (per_image * self.counted).sum() / (self.divisor or self.counted.sum().clamp(min=1))


HeadTargets = Classes | Distributions


@dataclass(frozen=True)
class Targets:
    """Targets of images for each head by its name, the default head first.

    Args:
        heads: All of the same images.
        share: Of the first image in a mixture; 1 without mixup.
        taught: Softened labels of a teacher, for the heads that it has.
    """

    heads: Mapping[str, HeadTargets]
    share: float = 1.0
    taught: Mapping[str, Distributions] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.heads.values())).counted)

    def __getitem__(self, head: str) -> HeadTargets:
        return self.heads[head]

    def rows(self, index: Tensor) -> Targets:
        """Return the targets of some images."""
        taught = {name: targets.rows(index) for name, targets in self.taught.items()}
        return Targets({name: targets.rows(index) for name, targets in self.heads.items()}, taught=taught)

    def mixed(self, share: float) -> Targets:
        """Mix with the reverse order (mixup: Zhang et al. 2018, arXiv:1710.09412)."""
        taught = {name: targets.mixed(share) for name, targets in self.taught.items()}
        return Targets({name: targets.mixed(share) for name, targets in self.heads.items()}, share, taught)

    def counts(self) -> list[float]:
        """Return the number of images that have a target, for each head, and for each that has a teacher."""
        return [float(targets.counted.sum()) for targets in (*self.heads.values(), *self.taught.values())]

    def divided_by(self, divisors: Sequence[float]) -> Targets:
        """Return targets whose sums of losses are divided by these numbers, in the order of `counts`."""
        heads, n = dict(self.heads), len(self.heads)
        heads = {name: replace(heads[name], divisor=number) for name, number in zip(heads, divisors, strict=False)}
        taught = {
            name: replace(self.taught[name], divisor=number)
            for name, number in zip(self.taught, divisors[n:], strict=True)
        }
        return replace(self, heads=heads, taught=taught)

    def to(self, device: torch.device) -> Targets:
        """Return a copy on a device."""
        taught = {name: targets.to(device) for name, targets in self.taught.items()}
        return Targets({name: targets.to(device) for name, targets in self.heads.items()}, self.share, taught)


def dataset_names(datasets: Sequence[Dataset]) -> list[str]:
    """Return the datasets' names, numbered where one occurs again: faces, faces-2."""
    names: list[str] = []
    for dataset in datasets:
        again = sum(dataset.name == other.name for other in datasets[: len(names)])
        names.append(f"{dataset.name}-{again + 1}" if again else dataset.name)
    return names


def head_labels(config: TrainConfig, datasets: Sequence[Dataset]) -> list[LabelSet]:
    """Return the label sets of a net's heads, the default one first.

    They are those that the recipe names or, where it names none, the first dataset's, and FER+ where there are votes.

    Raises:
        ConfigError: The recipe names a label set that is neither known nor of a dataset.
    """
    if config.heads:
        known = {dataset.labels.name: dataset.labels for dataset in datasets} | LABEL_SETS
        for head in config.heads:
            if head.labels not in known:
                raise ConfigError(f"a head has the unknown labels '{head.labels}'; choose from {', '.join(known)}")
        return [known[head.labels] for head in config.heads]
    first = datasets[0].labels
    voted = any(dataset.votes is not None for dataset in datasets)
    return [first, FERPLUS] if voted and config.ferplus_weight > 0 and first.name != FERPLUS.name else [first]


def trained_heads(config: TrainConfig, datasets: Sequence[Dataset], heads: Sequence[LabelSet]) -> list[str | None]:
    """Return the head that each dataset's labels train: the one that the recipe names, or the first that has them all.

    FER+ votes train the head "ferplus", before labels of that set. Labels of the same images train another head, or
    none (None).

    Raises:
        DatasetError: No head has all labels of a dataset.
        ConfigError: No dataset trains a head, or the recipe names a dataset that is not given.
    """
    named = {name: head.labels for head in config.heads for name in head.data}
    if unknown := named.keys() - {dataset.name for dataset in datasets}:
        raise ConfigError(
            f"a head is for the data '{min(unknown)}'; choose from {', '.join(dataset.name for dataset in datasets)}"
        )
    trained = [_trained_head(dataset, heads, named.get(dataset.name)) for dataset in datasets]
    by_votes = {FERPLUS.name} if any(dataset.votes is not None for dataset in datasets) else set()
    for head in heads:
        if head.name not in by_votes | set(trained):
            raise ConfigError(f"no dataset trains the head '{head.name}'; give one with its labels, or drop the head")
    return trained


def dataset_targets(dataset: Dataset, heads: Sequence[LabelSet], trained: str | None) -> dict[str, HeadTargets]:
    """Return the targets of a dataset's images for the heads that it trains.

    Args:
        dataset: The images.
        heads: Label sets of all heads.
        trained: The head that its labels train, if any.
    """
    targets: dict[str, HeadTargets] = {}
    for labels in heads:
        if labels.name == trained:
            ids = [NONE if i is None else i for i in dataset.labels.mapping_to(labels)]
            targets[labels.name] = Classes(torch.tensor(ids)[torch.from_numpy(dataset.targets)])
        elif labels.name == FERPLUS.name and dataset.votes is not None:
            targets[labels.name] = vote_distributions(torch.from_numpy(dataset.votes))
    return targets


def vote_distributions(counts: Tensor) -> Distributions:
    """Return the raters' votes, float32 (n, 10), as distributions over the eight FER+ labels.

    Columns 8 and 9 are "unknown" and "not a face": where they lead, the votes say nothing about the expression.
    """
    faces = counts[:, : len(FERPLUS)]
    counted = (counts.argmax(1) < len(FERPLUS)) & (faces.sum(1) > 0)
    return Distributions(faces / faces.sum(1, keepdim=True).clamp(min=1), counted.float())


def joined(
    parts: Sequence[Mapping[str, HeadTargets]], sizes: Sequence[int], heads: Sequence[LabelSet], *, smoothing: float
) -> Targets:
    """Return the targets of several datasets' images as one, dataset by dataset.

    A head with classes from some datasets and distributions from others gets distributions, the classes smoothed.

    Args:
        parts: Targets of each dataset by head, as from `dataset_targets`.
        sizes: Number of images of each dataset.
        heads: Label sets of all heads.
        smoothing: Of classes that become distributions.
    """
    together: dict[str, HeadTargets] = {}
    for labels in heads:
        absent = [Classes(torch.full((n,), NONE)) for n in sizes]
        found = [part.get(labels.name, none) for part, none in zip(parts, absent, strict=True)]
        if all(isinstance(each, Classes) for each in found):
            together[labels.name] = Classes(torch.cat([each.first for each in found]))
        else:
            soft = [each.distributions(len(labels), smoothing=smoothing) for each in found]
            rows, counted = [each.probabilities for each in soft], [each.counted for each in soft]
            together[labels.name] = Distributions(torch.cat(rows), torch.cat(counted))
    return Targets(together)


def _trained_head(dataset: Dataset, heads: Sequence[LabelSet], named: str | None) -> str | None:
    voted = dataset.votes is not None
    for labels in heads:
        free = not (voted and labels.name == FERPLUS.name)
        if free and named in (None, labels.name) and set(dataset.labels) <= set(labels):
            return labels.name
    if voted and named in (None, FERPLUS.name) and FERPLUS.name in [labels.name for labels in heads]:
        return None
    sets = "; ".join(f"'{labels.name}' has {', '.join(labels)}" for labels in heads)
    raise DatasetError(
        f"no head has all labels of '{dataset.name}' ({', '.join(dataset.labels)}): {sets}; give it a head of its own: "
        f'--set \'heads=[{{labels="{heads[0].name}"}}, {{labels="{dataset.labels.name}"}}]\''
    )
