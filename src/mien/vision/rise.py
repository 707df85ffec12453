"""Explain a prediction by the parts of the face that drive it, from the classifier's outputs alone.

RISE (Petsiuk et al. 2018, arXiv:1806.07421): random halves of the face are hidden; the importance of a pixel is the
gain in the label's probability when it is visible. Occlusion by a sliding patch, tried on photographs, finds the
important parts too, but its maps depend on the size of the patch, and it misses evidence that two parts share.
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
N_MASKS = 1000  # with 400, maps of two seeds correlate at 0.96 on a smiling face; weak predictions need more
CELLS = 7  # cells per side of a mask, as in the paper
BATCH = 25  # pairs of masks per batch; more are no faster


@dataclass(frozen=True, slots=True)
class Explanation:
    """The importance of each pixel of a face for one label.

    Args:
        crop: The model's input, uint8 (size, size, 1) grey or (size, size, 3) RGB.
        label: The explained label.
        probability: Its probability, in [0, 1].
        importance: Map returned by `explain`, float32 (size, size).
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
    """Return the importance of each pixel of a face for a label.

    Hidden pixels get the mean colour of the crop. The resolution of the map is a seventh of the face, the size of a
    mask's cells.

    Args:
        classifier: The explained classifier.
        crop: uint8 (H, W) or (H, W, 1) grey, or (H, W, 3) RGB, as for `predict_proba`.
        label: Label to explain; the most probable one when None.
        head: Name of a label set of the model; the model's default head when None.
        n_masks: Number of masks, even, since they come in pairs; more give a smoother map.
        seed: Seed of the masks; the same seed gives the same map.
        progress: Called after each batch with the number of masks done.

    Returns:
        float32 (size, size) in [0, 1], in the size of the model's input: the mean gain in the label's probability when
        the pixel is visible rather than hidden, over the masks of the other pixels; 0 for a loss.

    Raises:
        ConfigError: n_masks is odd or less than 2.
        DatasetError: The label set has no such label.
    """
    if n_masks < 2 or n_masks % 2:
        raise ConfigError(f"n_masks is {n_masks}; expected an even number, 2 or more")
    if label is None:
        index = int(classifier.predict_proba([crop], head=head)[0].argmax())
    else:
        index = classifier.spec.head(head).labels.index(label)
    config = replace(classifier.spec.preprocess, equalize=False)  # the classifier equalises its input itself
    pixels = preprocess([crop], config)[0].astype(np.float32)
    gain = np.zeros((config.size, config.size), np.float32)
    spread = np.full_like(gain, 1e-6)
    done = 0
    for masks in _masks(config.size, n_masks // 2, np.random.default_rng(seed)):
        # Each mask is paired with its inverse, which cancels the effect of the hidden area and its noise.
        variants = [_hide(pixels, mask) for mask in (*masks, *(1 - masks))]
        seen, opposite = np.split(classifier.predict_proba(variants, head=head)[:, index], 2)
        gain += np.tensordot(seen - opposite, masks - 0.5, 1)
        spread += 2 * np.square(masks - 0.5).sum(0)
        done += len(variants)
        if progress is not None:
            progress(done)
    # The slope of the probability over the mask. Blurred by half a cell, below the resolution of the masks, maps of
    # different seeds agree better.
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
    """Explain the predictions of several faces; see `explain`.

    Args:
        classifier: The explained classifier.
        crops: Crops as for `explain`; any number.
        label: Label to explain; the most probable one of each face when None.
        head: Name of a label set of the model; the model's default head when None.
        n_masks: Number of masks per face.
        seed: Seed of the masks.
        progress: Called after each batch with the number of masks done and their total, of all faces.

    Returns:
        One explanation per crop, in their order.

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
    """Yield masks in batches, float32 (n, size, size): 1 is visible, 0 hidden."""
    for start in range(0, n_masks, BATCH):
        yield np.stack([_mask(size, rng) for _ in range(min(BATCH, n_masks - start))])


def _mask(size: int, rng: np.random.Generator) -> FloatArray:
    """Return a mask of random cells, visible or hidden, with soft edges and a random shift."""
    cell = -(-size // CELLS)
    squares = rng.integers(0, 2, (CELLS + 1, CELLS + 1)).astype(np.float32)
    y, x = rng.integers(0, cell, 2)
    whole = cv2.resize(squares, ((CELLS + 1) * cell,) * 2, interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole[y : y + size, x : x + size], np.float32)


def _hide(pixels: npt.NDArray[np.float32], mask: FloatArray) -> ImageArray:
    """Replace pixels, float32 (H, W, C) in 0 to 255, by their mean colour where the mask is 0."""
    mean = pixels.mean((0, 1))
    return np.asarray(np.rint(mean + (pixels - mean) * mask[:, :, None]), np.uint8)
