"""Importance maps of classifiers with known predictions; checks after Adebayo et al. 2018
(arXiv:1810.03292): a map that does not change with the model explains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.drawing.explanations import LINE, MARGIN, SIDE, draw_explanations
from mien.errors import ConfigError, DatasetError
from mien.labels import LabelSet
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.preprocess import preprocess
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.store import list_models
from mien.sources.pictures import read_picture
from mien.structures import FloatArray, ImageArray
from mien.vision.rise import Explanation, explain, explain_faces

ASTRONAUT = Path(__file__).parent.parent.parent / "docs" / "images" / "astronaut.png"
SIZE = 32
BRIGHT = LabelSet("brightness", ("bright", "dark"))


class Weighted:
    """A classifier that finds a crop as bright as its mean brightness under weights, (32, 32) with sum 1."""

    def __init__(self, weights: FloatArray, *, channels: int = 1, equalize: bool = False) -> None:
        self.weights = weights
        preprocess = Preprocess(size=SIZE, channels=channels, equalize=equalize)
        self.spec = ModelSpec(name="weighted", arch="drawn", heads=(Head(BRIGHT),), preprocess=preprocess)

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        pixels = preprocess(crops, self.spec.preprocess).mean(3)
        bright = np.tensordot(pixels, self.weights, 2) / 255
        return np.array([(p, 1 - p) for p in bright], np.float32).reshape(-1, 2)


def square(y: int, x: int, side: int = 8) -> FloatArray:
    weights = np.zeros((SIZE, SIZE), np.float32)
    weights[y : y + side, x : x + side] = 1 / side**2
    return weights


def noise(seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE), np.uint8)


def bright_at(*places: FloatArray) -> ImageArray:
    return np.where(np.sum(places, axis=0) > 0, 255, 20).astype(np.uint8)


def rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Spearman's, of means over 4 × 4 blocks; ties, which are rare then, in order of place."""
    blocks = [
        m[: len(m) // 4 * 4, : len(m) // 4 * 4].reshape(len(m) // 4, 4, -1, 4).mean((1, 3)).ravel() for m in (a, b)
    ]
    return float(np.corrcoef([block.argsort().argsort() for block in blocks])[0, 1])


@pytest.mark.parametrize("corner", [(0, 0), (0, 24), (24, 0), (24, 24)])
def test_the_map_of_a_classifier_that_reads_one_corner_covers_this_corner(corner: tuple[int, int]) -> None:
    place = square(*corner)
    importance = explain(Weighted(place), bright_at(place))
    assert importance.shape == (SIZE, SIZE)
    assert importance.dtype == np.float32
    y, x = np.unravel_index(importance.argmax(), importance.shape)
    assert place[y, x] > 0
    near = square(min(corner[0], 18), min(corner[1], 18), 14) > 0  # the corner, and as far as masks blur it
    assert importance[near].sum() > 0.7 * importance.sum()


def test_a_stronger_effect_has_a_brighter_map() -> None:
    place = square(12, 12)
    strong, weak = (explain(Weighted(w), bright_at(place), label="bright") for w in (place, place / 4))
    np.testing.assert_allclose(weak, strong / 4, atol=1e-5)
    assert strong.max() > 0.3  # of 0.86 that hiding the whole of the place costs


def test_evidence_for_one_label_is_none_for_the_other() -> None:
    place = square(0, 0)
    bright, dark = (explain(Weighted(place), bright_at(place), label=label) for label in BRIGHT)
    assert bright[:8, :8].min() > 0
    assert dark[:8, :8].max() == 0


def test_a_constant_prediction_has_an_empty_map() -> None:
    assert explain(Weighted(np.zeros((SIZE, SIZE), np.float32)), noise()).max() == 0
    assert explain(Weighted(square(0, 0)), np.full((SIZE, SIZE), 90, np.uint8)).max() == 0


def test_the_same_seed_gives_the_same_map() -> None:
    maps = [explain(Weighted(square(4, 9)), noise(), n_masks=60, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


def test_the_mirrored_face_has_the_mirrored_map() -> None:
    left, right = square(4, 2), square(4, 22)
    image = bright_at(left)
    image[20:] = noise()[20:]
    classifier = Weighted((left + right) / 2)
    mirrored = explain(classifier, image[:, ::-1])[:, ::-1]
    assert np.corrcoef(explain(classifier, image).ravel(), mirrored.ravel())[0, 1] > 0.95


def test_another_model_has_another_map_of_the_same_face() -> None:
    image = bright_at(square(4, 2), square(4, 22), square(20, 12))
    mouth = explain(Weighted(square(20, 12)), image)
    eyes = explain(Weighted((square(4, 2) + square(4, 22)) / 2), image)
    assert rank_correlation(mouth, eyes) < 0.3
    assert rank_correlation(mouth, explain(Weighted(square(20, 12)), image, seed=1)) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", [model.name for model in list_models(Path("none")) if model.shipped])
def test_a_net_with_random_weights_has_another_map_than_a_shipped_model(name: str, tiny_model: Path) -> None:
    crop = read_picture(ASTRONAUT)[60:180, 165:285]
    trained, random = (
        explain(c, crop, head="fer2013", n_masks=200) for c in (load_classifier(name), OnnxClassifier(tiny_model))
    )
    trained = cv2.resize(trained, random.shape[::-1], interpolation=cv2.INTER_AREA)
    assert abs(rank_correlation(trained, random)) < 0.5


@pytest.mark.parametrize(("channels", "equalize"), [(1, False), (1, True), (3, False)])
def test_crops_of_any_size_and_colour_are_explained(channels: int, equalize: bool) -> None:
    classifier = Weighted(square(3, 3), channels=channels, equalize=equalize)
    crops = [noise(), noise()[:, :, None], np.zeros((90, 50, 3), np.uint8)]
    for explanation in explain_faces(classifier, crops, n_masks=4):
        assert explanation.crop.shape == (SIZE, SIZE, channels)
        assert explanation.importance.shape == (SIZE, SIZE)
        assert 0 <= explanation.importance.min() <= explanation.importance.max() <= 1


def test_each_face_is_explained_as_alone_and_progress_counts_all() -> None:
    classifier = Weighted(square(0, 0))
    crops = [bright_at(square(0, 0)), np.zeros((SIZE, SIZE), np.uint8)]
    told: list[tuple[int, int]] = []
    first, second = explain_faces(classifier, crops, n_masks=70, progress=lambda *count: told.append(count))
    assert told == [(50, 140), (70, 140), (120, 140), (140, 140)]
    assert np.array_equal(first.importance, explain(classifier, crops[0], n_masks=70))
    assert [(e.label, e.probability) for e in (first, second)] == [("bright", 1), ("dark", 1)]
    assert [e.probability for e in explain_faces(classifier, crops, label="bright", n_masks=2)] == [1, 0]


def test_no_face_has_no_explanation() -> None:
    assert explain_faces(Weighted(square(0, 0)), []) == []


def test_a_model_of_ours_explains_each_head(tiny_model: Path) -> None:
    classifier = OnnxClassifier(tiny_model)
    assert explain(classifier, noise(), label="contempt", head="ferplus", n_masks=4).shape == (48, 48)


def test_arguments_out_of_range_are_refused() -> None:
    classifier = Weighted(square(0, 0))
    with pytest.raises(DatasetError, match="expected one of bright, dark"):
        explain(classifier, noise(), label="grey")
    with pytest.raises(DatasetError, match="expected one of bright, dark"):
        explain_faces(classifier, [], label="grey")
    for n_masks in (0, 1, 7):
        with pytest.raises(ConfigError, match="even number"):
            explain(classifier, noise(), n_masks=n_masks)


def overlay(importance: FloatArray) -> ImageArray:
    """Return the overlay of a drawn explanation of a flat crop, without its edges."""
    crop = np.full((SIZE, SIZE, 1), 128, np.uint8)
    row = draw_explanations([Explanation(crop, "bright", 0.5, importance)])
    return row[LINE + 2 : LINE + SIDE - 2, 2 * MARGIN + SIDE + 2 : 2 * MARGIN + 2 * SIDE - 2]


def test_the_drawing_has_a_row_for_each_face_and_shows_crop_and_map() -> None:
    importance = square(24, 0) * 64 * 0.4
    explanation = Explanation(noise()[:, :, None], "traurig – 悲", 0.42, importance)
    one, two = draw_explanations([explanation]), draw_explanations([explanation] * 2)
    assert (two.shape[0], two.shape[1]) == (2 * one.shape[0], one.shape[1])
    assert one.dtype == np.uint8
    seen = overlay(importance).astype(int)
    assert seen[-20, 20].sum() > seen[20, 20].sum() + 150  # yellow there, dark blue elsewhere


def test_noise_is_not_amplified() -> None:
    assert overlay(square(0, 0) * 64 * 0.01).max() < overlay(square(0, 0) * 64 * 0.5).max() - 40
    assert np.ptp(overlay(np.zeros((SIZE, SIZE), np.float32)).reshape(-1, 3), axis=0).max() == 0


def test_a_long_label_stays_on_its_side() -> None:
    explanation = Explanation(noise()[:, :, None], "a" * 200, 0.5, square(0, 0))
    assert (draw_explanations([explanation])[:, MARGIN + SIDE : 2 * MARGIN + SIDE] == 255).all()
