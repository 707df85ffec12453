from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mien.data.dataset import SPLITS, Dataset
from mien.evaluation.evaluate import evaluate
from mien.evaluation.results import Evaluation
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.structures import FloatArray, ImageArray


class PixelReader:
    """Predicts the class id in the top left pixel of a crop."""

    def __init__(self, *heads: Head, confidence: float = 0.7) -> None:
        self.spec = ModelSpec(
            name="pixel-reader",
            arch="none",
            heads=heads,
            preprocess=Preprocess(),
            trained_on={"name": "fer2013", "fingerprint": "abc"},
            license="Apache-2.0",
            recipe={"name": "tiny", "epochs": 3},
        )
        self.confidence = confidence
        self.batch_sizes: list[int] = []

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        self.batch_sizes.append(len(crops))
        k = len(self.spec.head(head).labels)
        probabilities = np.full((len(crops), k), (1 - self.confidence) / (k - 1), np.float32)
        probabilities[np.arange(len(crops)), [crop[0, 0, 0] for crop in crops]] = self.confidence
        return probabilities


@pytest.fixture
def pixel_reader() -> Callable[..., PixelReader]:
    """Make a classifier from its label sets, the default one first."""

    def make(*labels: LabelSet, temperature: float = 1.0, confidence: float = 0.7) -> PixelReader:
        return PixelReader(*(Head(each, temperature) for each in labels), confidence=confidence)

    return make


@pytest.fixture
def written() -> Callable[..., Dataset]:
    """Make a dataset for PixelReader, one image per (target, prediction, prediction of the mirror image, split)."""

    def make(
        rows: Sequence[tuple[int, int, int, str]], *, labels: LabelSet = FER2013, name: str = "fer2013"
    ) -> Dataset:
        images = np.zeros((len(rows), 4, 4, 1), np.uint8)
        images[:, 0, 0, 0] = [answer for _, answer, _, _ in rows]
        images[:, 0, -1, 0] = [mirrored for _, _, mirrored, _ in rows]
        images[:, 3, 1, 0] = np.arange(len(rows))  # makes each image unique
        return Dataset(
            name=name,
            images=images,
            targets=np.array([truth for truth, *_ in rows], np.int64),
            labels=labels,
            splits=np.array([SPLITS.index(split) for *_, split in rows], np.int8),
        )

    return make


@pytest.fixture
def evaluation(pixel_reader: Callable[..., PixelReader], written: Callable[..., Dataset]) -> Evaluation:
    """200 test images of FER2013's classes, two thirds of them classified correctly, 8 of them copies."""
    rng = np.random.default_rng(0)
    truths = rng.choice(7, size=200, p=[0.14, 0.03, 0.14, 0.25, 0.16, 0.12, 0.16])
    answers = np.where(rng.random(200) < 0.66, truths, rng.integers(0, 7, 200))
    rows = [(int(t), int(a), int(m), "test") for t, a, m in zip(truths, answers, rng.permuted(answers), strict=True)]
    test = written(rows)
    copies = test.select(np.arange(8))
    dataset = Dataset(
        name="fer2013",
        images=np.concatenate([test.images, copies.images]),
        targets=np.concatenate([test.targets, copies.targets]),
        labels=FER2013,
        splits=np.concatenate([test.splits, np.zeros(8, np.int8)]),
    )
    return evaluate(pixel_reader(FER2013, FERPLUS, temperature=1.5), dataset, split="test")
