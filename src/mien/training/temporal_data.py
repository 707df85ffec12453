"""Sequences that temporal models train on and are measured on, and batches of them (extra: train)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mien.cartoons.characters import CHARACTERS
from mien.cartoons.sequences import drawn_sequences
from mien.data.dataset import SPLITS, Dataset
from mien.data.sequences import FaceSequence, moving_stills, read_clips
from mien.data.votes import agreed
from mien.errors import DatasetError
from mien.evaluation.temporal import PredictedSequence, predict_sequences
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.classifier import OnnxClassifier
from mien.reports.temporal import CLIPS, DRAWN, PICTURES
from mien.structures import IntArray, Progress
from mien.training.recipe import TemporalConfig
from mien.vision.detect import FaceDetector

PADDING = -1  # target of the frames that pad a batch
HELD_OUT = 18, 30  # sequences of drawn faces and of moving images to measure on, at 30 frames/s
Sequences = dict[str, list[PredictedSequence]]  # by source


def see_all(
    classifier: OnnxClassifier, config: TemporalConfig, labels: LabelSet, images: Dataset | None, clips: Path | None,
    detector: FaceDetector | None, progress: Progress | None,
) -> tuple[Sequences, Sequences]:  # fmt: skip
    """Return the classifier's predictions for the sequences to train on, and for the held-out ones.

    For FER+ labels, images with votes are labelled by the raters' majority.

    Raises:
        DatasetError: A source has a label that is not among `labels`, or there is no train split.
    """
    train: Sequences = {}
    held_out: Sequences = {}

    def add(to: Sequences, source: str, sequences: Iterable[FaceSequence], known: LabelSet, total: int) -> None:
        ids = _ids(known, labels, source)
        seen = predict_sequences(classifier, sequences, total=total, progress=progress)
        to[source] = [replace(sequence, targets=ids[sequence.targets]) for sequence in seen]

    n_drawn, n_stills = HELD_OUT
    if config.drawn:
        extras = [f"extra{i}" for i in range(1, config.extras + 1)]
        drawn = drawn_sequences(config.drawn, seed=config.seed, characters=extras)
        others = drawn_sequences(n_drawn, seed=config.seed, characters=tuple(CHARACTERS), rate=30)
        add(train, DRAWN, drawn, FER2013, config.drawn)
        add(held_out, DRAWN, others, FER2013, n_drawn)
    if images is not None and config.stills:
        source = PICTURES + images.name
        if labels == FERPLUS and images.votes is not None:
            images = agreed(images)
        moving = moving_stills(images.split("train"), config.stills, seed=config.seed)
        add(train, source, moving, images.labels, config.stills)
        if SPLITS.index("valid") in images.splits:
            others = moving_stills(images.split("valid"), n_stills, seed=config.seed, rate=30)
            add(held_out, source, others, images.labels, n_stills)
    if clips is not None and detector is not None:
        source = CLIPS + clips.name
        for split, sequence in read_clips(clips, detector, labels, size=classifier.spec.preprocess.size):
            part = train if split == "train" else held_out
            part[source] = part.get(source, []) + predict_sequences(classifier, [sequence])
    return train, held_out


def window_batches(
    sequences: Sequence[PredictedSequence], config: TemporalConfig
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield heads (n, t, width), seconds (n, t, 1) and targets (n, t) of random windows of random sequences."""
    rng = np.random.default_rng(config.seed)
    for _ in range(config.steps):
        parts = [_window(sequences[int(i)], config, rng) for i in rng.integers(len(sequences), size=config.batch_size)]
        heads = pad_sequence([torch.from_numpy(part.heads) for part in parts], batch_first=True)
        seconds = pad_sequence([torch.from_numpy(part.seconds) for part in parts], batch_first=True)
        targets = pad_sequence([torch.from_numpy(part.targets) for part in parts], True, PADDING)
        yield heads, seconds[:, :, None], targets


def _window(sequence: PredictedSequence, config: TemporalConfig, rng: np.random.Generator) -> PredictedSequence:
    """Return a random window of a sequence with some frames dropped at random."""
    length = len(sequence.times)
    start = int(rng.integers(max(length - config.window, 0) + 1))
    rows = np.arange(start, min(start + config.window, length))
    rows = rows[(rng.random(len(rows)) >= config.left_out) | (rows == start)]
    return PredictedSequence(sequence.heads[rows], sequence.times[rows], sequence.targets[rows])


def _ids(known: LabelSet, labels: LabelSet, source: str) -> IntArray:
    """Return the id among `labels` of each id of a known set."""
    ids = known.mapping_to(labels)
    if None in ids:
        missing = ", ".join(label for label, i in zip(known, ids, strict=True) if i is None)
        known_labels = ", ".join(labels)
        raise DatasetError(f"{source} show {missing}, which is not among the labels {known_labels}; leave them out")
    return np.array(ids, np.int64)
