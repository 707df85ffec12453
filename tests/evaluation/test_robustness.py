import cv2
import numpy as np
import pytest

from mien.data.dataset import SPLITS, Dataset
from mien.evaluation.compare import paired_interval
from mien.evaluation.evaluate import evaluate
from mien.evaluation.robustness import (
    CLEAN,
    DEGRADATIONS,
    as_jpeg,
    at_face_size,
    blurred,
    degrade_evaluation,
    noisy,
    reframed,
    rotated,
    with_gamma,
)  # fmt: skip
from mien.labels import FER2013
from mien.models.spec import Head, ModelSpec, Preprocess

HAPPY, NEUTRAL = 3, 6


def noise(side=48, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels)).astype(np.uint8)


def ramp(side=100):
    """Grey that grows by 2 per column, from 20."""
    return np.broadcast_to((20 + 2 * np.arange(side)).astype(np.uint8)[None, :, None], (side, side, 1)).copy()


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_degradations_keep_shape_and_type_are_deterministic_and_leave_the_image_alone(name, channels):
    image = noise(120, channels)
    before = image.copy()
    degraded = DEGRADATIONS[name](image)
    assert (degraded.shape, degraded.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert not np.array_equal(degraded, image)
    assert np.array_equal(degraded, DEGRADATIONS[name](image))


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if not name.startswith(("gamma", "noise"))])
def test_a_grey_field_stays_as_it_is(name):
    field = np.full((120, 120, 3), 128, np.uint8)  # JPEG keeps it at any quality
    assert np.abs(DEGRADATIONS[name](field).astype(int) - 128).max() <= 1


def test_a_small_face_has_the_mean_of_each_area():
    image = np.zeros((96, 96, 1), np.uint8)
    image[:, ::2] = 200  # stripes of one pixel vanish at half the size
    assert np.unique(at_face_size(image, pixels=48)).tolist() == [100]


def test_a_face_that_is_small_already_stays_as_it_is():
    image = noise(48)
    assert np.array_equal(at_face_size(image, pixels=48), image)
    assert np.array_equal(at_face_size(image, pixels=96), image)


def test_blur_spreads_a_point_by_a_gaussian_in_proportion_to_the_image():
    image = np.zeros((100, 100, 1), np.uint8)
    image[50, 50] = 255
    degraded = blurred(image, ratio=0.02).astype(float)[..., 0]
    assert degraded[50, 50] == pytest.approx(255 / (2 * np.pi * 2**2), abs=1)
    assert degraded[50, 52] / degraded[50, 50] == pytest.approx(np.exp(-1 / 2), abs=0.1)


def test_jpeg_keeps_the_order_of_colours():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    assert as_jpeg(red, quality=20)[32, 32].argmax() == 0
    assert np.abs(as_jpeg(ramp(), quality=100).astype(int) - ramp()).max() <= 2


def test_noise_has_its_standard_deviation_stays_in_range_and_differs_between_images():
    grey = np.full((100, 100, 1), 128, np.uint8)
    noise = noisy(grey, sigma=12).astype(float) - 128
    assert noise.mean() == pytest.approx(0, abs=0.5)  # four standard errors
    assert noise.std() == pytest.approx(12, abs=0.4)
    other = noisy(grey + 1, sigma=12).astype(float) - 129
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.04
    assert noisy(np.full((50, 50, 3), 255, np.uint8), sigma=12).min() > 128  # clipped at white, not wrapped


def test_gamma_below_one_brightens_and_keeps_black_and_white():
    values = np.array([0, 64, 255], np.uint8).reshape(1, 3, 1)
    assert with_gamma(values, gamma=0.5).ravel().tolist() == [0, 128, 255]
    assert with_gamma(values, gamma=2.0).ravel().tolist() == [0, 16, 255]


def test_rotation_is_counter_clockwise_about_the_centre():
    image = noise(49)
    assert np.array_equal(rotated(image, degrees=90), np.rot90(image))
    back = rotated(rotated(ramp(), degrees=15), degrees=-15)
    assert np.abs(back[40:60, 40:60].astype(int) - ramp()[40:60, 40:60]).max() <= 2


def test_a_smaller_box_shows_the_centre_and_a_larger_one_repeats_the_edge():
    image = ramp()  # columns -0.5 to 99.5 hold the greys 19 to 219
    tight, wide = (reframed(image, scale=scale)[50, :, 0].astype(int) for scale in (0.5, 2.0))
    assert (tight[0], tight[-1]) == (pytest.approx(20 + 2 * 25, abs=2), pytest.approx(20 + 2 * 74, abs=2))
    assert (wide[0], wide[24]) == (20, pytest.approx(20, abs=2))
    assert (wide[-1], wide[50]) == (218, pytest.approx(image[50, 50, 0], abs=3))


class Bright:
    """Predicts happy for a mean grey of 128 or more, else neutral, more surely the farther from it."""

    spec = ModelSpec(name="bright", arch="none", heads=(Head(FER2013),), preprocess=Preprocess())

    def predict_proba(self, crops, *, head=None):
        probabilities = np.zeros((len(crops), 7), np.float32)
        probabilities[:, HAPPY] = [crop.mean() / 255.99 for crop in crops]
        probabilities[:, NEUTRAL] = 1 - probabilities[:, HAPPY]
        return probabilities


def fields(*greys_and_targets, split="test"):
    """Make a dataset of images of one grey each."""
    greys, targets = zip(*greys_and_targets, strict=True)
    images = np.broadcast_to(np.array(greys, np.uint8)[:, None, None, None], (len(greys), 32, 32, 1)).copy()
    splits = np.full(len(greys), SPLITS.index(split), np.int8)
    return Dataset(name="fields", images=images, targets=np.array(targets), labels=FER2013, splits=splits)


def test_robustness_pairs_each_degraded_image_with_the_clean_one():
    dataset = fields(*[(200, HAPPY)] * 4, *[(100, NEUTRAL)] * 4, (70, HAPPY))
    evaluation = evaluate(Bright(), dataset, views=["single"], split="test")
    clean, *results = degrade_evaluation(evaluation, Bright(), dataset).robustness
    assert (clean.name, clean.accuracy.correct, clean.lost, clean.gained, clean.difference) == (CLEAN, 8, 0, 0, 0)
    assert (clean.recalls[HAPPY], clean.recalls[NEUTRAL]) == (0.8, 1)
    assert clean.happy_neutral.value == 0.8
    brighter = next(result for result in results if result.name == "gamma 0.5, brighter")  # 100 -> 160, 70 -> 134
    assert (brighter.accuracy.correct, brighter.lost, brighter.gained) == (5, 4, 1)
    assert (brighter.recalls[HAPPY], brighter.recalls[NEUTRAL]) == (1, 0)
    assert brighter.difference == pytest.approx(-3 / 9)
    assert (brighter.low, brighter.high) == paired_interval(4, 1, 4, 0)


def test_a_degradation_that_changes_no_image_is_left_out():
    dataset = fields((200, HAPPY), (100, NEUTRAL))
    evaluation = evaluate(Bright(), dataset, views=["single"], split="test")
    names = {result.name for result in degrade_evaluation(evaluation, Bright(), dataset).robustness}
    assert not names & {"face of 24 px", "face of 32 px", "rotated by +15°"}  # of one grey
    assert {CLEAN, "gamma 2, darker"} <= names


def test_robustness_is_of_the_evaluated_split_and_reports_progress():
    dataset, calls = fields((200, HAPPY), (100, NEUTRAL), split="valid"), []
    evaluation = evaluate(Bright(), dataset, split="valid", views=["flip"])
    degraded = degrade_evaluation(evaluation, Bright(), dataset, progress=lambda *done: calls.append(done))
    assert calls == [(i, len(DEGRADATIONS)) for i in range(1, len(DEGRADATIONS) + 1)]
    assert degraded.robustness[0].accuracy.n == 2


def test_shrinking_is_opencvs_area_average():
    image = noise(96)
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (96, 96), interpolation=cv2.INTER_LINEAR)[..., None]
    assert np.array_equal(at_face_size(image, pixels=32), expected)
