"""Which parts of a face an answer rests on, found by hiding parts of it: needs nothing but a classifier's answers.

RISE (Petsiuk et al. 2018, arXiv:1806.07421): random halves of the face are hidden, and a place counts by how much more
probable the label is when it is seen. Hiding one spot after another, tried on photographs, finds the places that matter
as well, but its maps change with the size of the spot, and what two places both say it finds in neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError
from mien.models.classifier import ExpressionClassifier
from mien.models.preprocess import preprocess
from mien.structures import FloatArray, ImageArray, Progress

T = TypeVar("T", np.uint8, np.float32)
N_MASKS = 1000  # of 400 already, the maps of two seeds correlate at 0.96 on a smiling face; faint answers need more
CELLS = 7  # a mask hides and shows squares of a seventh of the face, as in the paper
BATCH = 25  # pairs of masks that are classified at once; more are no faster


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which parts of a face one label rests on.

    Args:
        crop: The face as the model sees it, uint8 (size, size, 1) grey or (size, size, 3) RGB.
        label: The label that is explained.
        probability: Its probability, in [0, 1].
        importance: What `explain` gives, float32 (size, size).
    """

    crop: ImageArray
    label: str
    probability: float
    importance: FloatArray


def explain(
    classifier: ExpressionClassifier,
    crop: ImageArray,
    *,
    label: str | None = None,
    head: str | None = None,
    n_masks: int = N_MASKS,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> FloatArray:
    """Return how much each place of a face speaks for a label.

    What is hidden gets the mean colour of the crop. Neighbours within a seventh of the face are mostly hidden together,
    so the map shows nothing finer.

    Args:
        classifier: Whose answer.
        crop: uint8, (H, W), (H, W, 1) grey or (H, W, 3) RGB, as a classifier takes it.
        label: What to explain; the most probable label when None.
        head: Name of a label set of the model; its default one when None.
        n_masks: How many times parts are hidden; more give a calmer map. They come in pairs, so it is even.
        seed: Of the masks; the same one gives the same map.
        progress: Called after each batch with the number of masks done.

    Returns:
        float32 (size, size) in [0, 1], size being that of the model's input: how much more probable the label is when
        the place is seen than when it is hidden, on average over what else is hidden; 0 where it is less probable.

    Raises:
        ConfigError: n_masks is odd or less than 2.
        DatasetError: The label set has no such label.
    """
    if n_masks < 2 or n_masks % 2:
        raise ConfigError(f"{n_masks} masks; expected an even number from 2 on")
    if label is None:
        index = int(classifier.predict_proba([crop], head=head)[0].argmax())
    else:
        index = classifier.spec.head(head).labels.index(label)
    config = replace(classifier.spec.preprocess, equalize=False)  # the classifier equalises what it is given
    pixels = preprocess([crop], config)[0].astype(np.float32)
    gain = np.zeros((config.size, config.size), np.float32)
    spread = np.full_like(gain, 1e-6)
    done = 0
    for masks in _masks(config.size, n_masks // 2, np.random.default_rng(seed)):
        # Each mask comes with its opposite, so that how much a mask hides in all, and noise with it, cancels out.
        variants = [_hide(pixels, mask) for mask in (*masks, *(1 - masks))]
        seen, opposite = np.split(classifier.predict_proba(variants, head=head)[:, index], 2)
        gain += np.tensordot(seen - opposite, masks - 0.5, 1)
        spread += 2 * np.square(masks - 0.5).sum(0)
        done += len(variants)
        if progress is not None:
            progress(done)
    # The slope of the probability over the mask. Averaged over half a square of the masks, which show nothing finer
    # anyway, the maps of different seeds agree better.
    smooth = cv2.GaussianBlur(gain / spread, (0, 0), config.size / CELLS / 2)
    return np.asarray(smooth.clip(0, 1), np.float32)


def explain_faces(
    classifier: ExpressionClassifier,
    crops: Sequence[ImageArray],
    *,
    label: str | None = None,
    head: str | None = None,
    n_masks: int = N_MASKS,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Explanation]:
    """Explain the answer for each of several faces, as `explain` does for one.

    Args:
        classifier: Whose answers.
        crops: As for `explain`; any number.
        label: What to explain; the most probable label of each face when None.
        head: Name of a label set of the model; its default one when None.
        n_masks: How many times parts of each face are hidden.
        seed: Of the masks.
        progress: Called after each batch with (done, all) masks of all faces.

    Returns:
        An explanation for each crop, in their order.

    Raises:
        ConfigError: n_masks is odd or less than 2.
        DatasetError: The label set has no such label.
    """
    labels = classifier.spec.head(head).labels
    wanted = None if label is None else labels.index(label)
    probabilities = classifier.predict_proba(crops, head=head)
    seen = preprocess(crops, classifier.spec.preprocess)
    explanations = []
    for number, (crop, row) in enumerate(zip(crops, probabilities, strict=True)):
        index = int(row.argmax()) if wanted is None else wanted
        name = labels.labels[index]

        def report(done: int, before: int = number * n_masks) -> None:
            if progress is not None:
                progress(before + done, len(crops) * n_masks)

        importance = explain(classifier, crop, label=name, head=head, n_masks=n_masks, seed=seed, progress=report)
        explanations.append(Explanation(seen[number], name, float(row[index]), importance))
    return explanations


def _masks(size: int, n_masks: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield masks in batches, float32 (n, size, size): 1 is seen, 0 hidden."""
    for start in range(0, n_masks, BATCH):
        yield np.stack([_mask(size, rng) for _ in range(min(BATCH, n_masks - start))])


def _mask(size: int, rng: np.random.Generator) -> FloatArray:
    """Return random squares, each seen or hidden, with soft edges and at a random shift."""
    cell = -(-size // CELLS)
    squares = rng.integers(0, 2, (CELLS + 1, CELLS + 1)).astype(np.float32)
    y, x = rng.integers(0, cell, 2)
    whole = cv2.resize(squares, ((CELLS + 1) * cell,) * 2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole[y : y + size, x : x + size], np.float32)


def _hide(pixels: npt.NDArray[np.float32], mask: FloatArray) -> ImageArray:
    """Put the mean colour of a picture, float32 (H, W, C) in 0 to 255, where the mask is 0."""
    mean = pixels.mean((0, 1))
    return np.asarray(np.rint(mean + (pixels - mean) * mask[:, :, None]), np.uint8)
