from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import SPLITS, Dataset
from mien.drawing.sheets import CELL, GAP, HEADER_HEIGHT, MARGIN, NAME_WIDTH
from mien.evaluation.evaluate import evaluate
from mien.labels import LabelSet
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.reports import sheets

TWO = LabelSet("two", ("calm", "wild"))


class Brightness:
    """Predicts "wild" with the probability grey / 255."""

    def __init__(self, name="grey"):
        self.spec = ModelSpec(name=name, arch="none", heads=(Head(TWO),), preprocess=Preprocess())
        self.name = name

    def predict_proba(self, crops, *, head=None):
        wild = np.array([crop.mean() / 255 for crop in crops], np.float32)
        return np.stack([1 - wild, wild], 1)


class Opposite(Brightness):
    def predict_proba(self, crops, *, head=None):
        return super().predict_proba(crops)[:, ::-1].copy()


def greys(*pictures):
    """Make a dataset from (grey, class, split)."""
    return Dataset(
        name="greys",
        images=np.stack([np.full((8, 8, 1), grey, np.uint8) for grey, _, _ in pictures]),
        targets=np.array([target for _, target, _ in pictures]),
        labels=TWO,
        splits=np.array([SPLITS.index(split) for _, _, split in pictures], np.int8),
    )


def cell(sheet, row, column, *, row_height):
    """Return the colour in the middle of an image."""
    y = MARGIN + HEADER_HEIGHT + row * row_height + CELL // 2
    x = MARGIN + NAME_WIDTH + column * (CELL + GAP) + CELL // 2
    return sheet[y, x].tolist()


DATA = greys(
    (10, 0, "train"), (160, 0, "test"), (20, 0, "test"), (250, 0, "test"), (30, 1, "valid"), (90, 1, "test"),
    (240, 1, "test"),
)  # fmt: skip
ROW = CELL + GAP + 16


def test_mistakes_are_in_the_row_of_their_class_the_most_confident_first():
    sheet = sheets.mistakes_sheet(evaluate(Brightness(), DATA, split="test"), DATA)
    calm = [cell(sheet, 0, column, row_height=ROW) for column in range(3)]
    wild = [cell(sheet, 1, column, row_height=ROW) for column in range(2)]
    assert calm == [[250] * 3, [160] * 3, [255] * 3]
    assert wild == [[90] * 3, [255] * 3]


def test_differences_have_one_row_per_class_and_model():
    a, b = evaluate(Brightness(), DATA, split="test"), evaluate(Opposite(), DATA, split="test")
    sheet = sheets.differences_sheet(a, b, DATA)
    first = [cell(sheet, row, 0, row_height=ROW) for row in range(4)]
    assert first == [[20] * 3, [250] * 3, [240] * 3, [90] * 3]


def test_a_model_without_mistakes_has_an_empty_sheet():
    dataset = greys((0, 0, "test"), (255, 1, "test"))
    sheet = sheets.mistakes_sheet(evaluate(Brightness(), dataset, split="test"), dataset)
    assert cell(sheet, 0, 0, row_height=CELL + GAP) == [255] * 3


def test_a_long_name_fits_into_the_title():
    names = ("a", "a-model-of-a-name-that-goes-on-and-on-" * 4)
    widths = [sheets.mistakes_sheet(evaluate(Brightness(name), DATA, split="test"), DATA).shape[1] for name in names]
    assert widths[0] < widths[1]


def test_the_most_confident_mistakes_are_listed_over_all_classes_with_their_files():
    dataset = replace(DATA, names=np.array([f"test/{i}.png" for i in range(len(DATA))]))
    found = sheets.most_confident_mistakes(evaluate(Brightness(), dataset, split="test"), dataset, 2)
    assert [(m.row, m.name, m.true, m.predicted) for m in found.mistakes] == [
        (3, "test/3.png", "calm", "wild"),
        (5, "test/5.png", "wild", "calm"),
    ]
    assert found.mistakes[0].confidence == pytest.approx(250 / 255, abs=1e-4)
    middle = MARGIN + HEADER_HEIGHT + sheets.MOST_CONFIDENT_CELL // 2
    assert found.sheet[middle, MARGIN + 40].tolist() == [250] * 3
    assert found.sheet[middle, MARGIN + 40 + sheets.MOST_CONFIDENT_CELL + 3 * GAP].tolist() == [90] * 3


def test_without_mistakes_the_sheet_of_the_most_confident_is_empty():
    dataset = greys((0, 0, "test"), (255, 1, "test"))
    found = sheets.most_confident_mistakes(evaluate(Brightness(), dataset, split="test"), dataset, 50)
    assert found.mistakes == []
    assert found.sheet.ndim == 3
