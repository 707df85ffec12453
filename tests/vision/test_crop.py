"""Crops have the frame of the training set, checked with drawn points whose places are known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.errors import ModelError
from mien.structures import Box, Face, ImageArray
from mien.vision.crop import crop_faces, fit_similarity

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
# Positions of eyes, nose tip and corners of the mouth in a crop, as fractions of its side: written out, not imported,
# since models are trained on such crops, and the package's constant would agree with any change of itself.
TEMPLATE = np.array([(0.32, 0.37), (0.67, 0.37), (0.48, 0.59), (0.35, 0.75), (0.64, 0.75)])
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def dotted(points: np.ndarray, *, size: int, radius: float) -> ImageArray:
    """Draw coloured discs on black, without OpenCV: a pixel's centre is at its number + 0.5."""
    image = np.zeros((size, size, 3), np.uint8)
    y, x = np.mgrid[:size, :size] + 0.5
    for (px, py), colour in zip(points, COLOURS, strict=True):
        image[np.hypot(x - px, y - py) <= radius] = colour
    return image


def centre_of(image: ImageArray, colour: tuple[int, int, int]) -> np.ndarray:
    y, x = np.nonzero((np.abs(image.astype(int) - colour) < 100).all(axis=2))
    return np.array([x.mean() + 0.5, y.mean() + 0.5])


def turned(angle: float, side: float, corner: tuple[float, float]) -> np.ndarray:
    """Return the template's points in a frame of this side, turned by an angle in degrees."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return TEMPLATE @ (side * np.array([[c, s], [-s, c]])) + corner


def face_at(points: np.ndarray) -> Face:
    low, high = points.min(axis=0), points.max(axis=0)
    return Face(Box(*low.tolist(), *high.tolist()), 1.0, points.astype(np.float32))


@pytest.mark.parametrize(
    ("angle", "side", "corner"),
    [(0, 100, (80, 90)), (25, 100, (120, 70)), (-40, 150, (60, 140)), (0, 360, (20, 20)), (180, 90, (250, 250))],
)
def test_five_points_land_on_the_template(angle: float, side: float, corner: tuple[float, float]) -> None:
    points = turned(angle, side, corner)
    [crop] = crop_faces(dotted(points, size=400, radius=0.04 * side), [face_at(points)])
    assert crop.shape == (min(side, 256), min(side, 256), 3)
    for colour, expected in zip(COLOURS, TEMPLATE * len(crop), strict=True):
        assert np.abs(centre_of(crop, colour) - expected).max() < 1


def test_the_crop_of_a_photographed_face_stays_as_it_is() -> None:
    points = np.array([(200, 102), (247, 103), (220, 125), (199, 143), (240, 144)])
    [crop] = crop_faces(np.asarray(Image.open(ASTRONAUT).convert("RGB")), [face_at(points)])
    assert crop.shape == (120, 120, 3)
    means = crop.reshape(4, 30, 4, 30, 3).mean(axis=(1, 3, 4))
    expected = [
        (101.5, 115.9, 123.6, 50.4),
        (94.8, 180.5, 171.1, 73.7),
        (178.9, 187.7, 161.1, 144.8),
        (76.9, 192.7, 166.1, 186.1),
    ]
    assert np.abs(means - expected).max() < 0.2


def test_points_that_fit_no_similarity_come_near() -> None:
    points = turned(10, 100, (80, 90)) + np.array([(3, 0), (-3, 0), (0, 4), (2, -2), (-2, -2)])
    [crop] = crop_faces(dotted(points, size=300, radius=4), [face_at(points)])
    for colour, expected in zip(COLOURS, TEMPLATE * len(crop), strict=True):
        assert np.abs(centre_of(crop, colour) - expected).max() < 6


def test_points_in_one_place_fall_back_to_the_box() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    box = Box(40, 50, 120, 130)
    lost = Face(box, 1.0, np.full((5, 2), 80, np.float32))
    assert np.array_equal(*crop_faces(image, [lost, Face(box, 1.0)]))


def test_a_haar_box_is_97_percent_of_the_frame() -> None:
    y, x = np.mgrid[:400, :400]
    image = np.dstack([x // 2, y // 2, np.zeros_like(x)]).astype(np.uint8)
    [crop] = crop_faces(image, [Face(Box(101, 201, 198, 298), 1.0)])  # so the frame is 100..200, 200..300
    assert crop.shape == (100, 100, 3)
    assert np.array_equal(crop, image[200:300, 100:200])


def test_an_oblong_box_is_made_square_around_its_centre() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    crops = crop_faces(image, [Face(Box(100, 120, 200, 180), 1.0), Face(Box(100, 100, 200, 200), 1.0)])
    assert np.array_equal(*crops)


def test_a_box_beyond_the_edge_repeats_the_edge() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 0] = (9, 8, 7)
    [crop] = crop_faces(image, [Face(Box(-48.5, 1, 48.5, 98), 1.0)])
    assert (crop[:, :49] == (9, 8, 7)).all()
    assert (crop[:, 51:] == 0).all()


@pytest.mark.parametrize("shape", [(48, 48), (30, 70), (1, 1), (600, 500)])
def test_a_box_of_the_whole_picture_is_the_picture(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    [crop] = crop_faces(image, [Face(Box(0, 0, shape[1], shape[0]), 1.0)])
    assert np.array_equal(crop, image)


def test_large_faces_are_shrunk_without_aliasing() -> None:
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255  # lines that linear interpolation would turn into moiré
    [crop] = crop_faces(image, [Face(Box(100, 100, 1100, 1100), 1.0)])
    assert crop.shape == (256, 256, 3)
    assert np.abs(crop[5:-5, 5:-5].astype(int) - 127).max() < 30


def test_small_faces_are_enlarged_to_48_pixels() -> None:
    [crop] = crop_faces(np.full((100, 100, 3), 7, np.uint8), [Face(Box(10, 10, 20, 20), 1.0)])
    assert crop.shape == (48, 48, 3)
    assert (crop == 7).all()


def test_crops_come_in_the_order_of_the_faces_and_the_picture_stays() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 200
    image.setflags(write=False)
    right, left = crop_faces(image, [Face(Box(120, 20, 170, 70), 1.0), Face(Box(20, 20, 70, 70), 1.0)])
    assert (right.mean(), left.mean()) == (200, 0)
    assert crop_faces(image, []) == []


def test_a_mirrored_picture_gives_the_mirrored_crop() -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (25, 25, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    [crop] = crop_faces(image, [Face(Box(60, 70, 157, 167), 1.0)])
    # The frame, 59..159, has 1 pixel on the left of the box and 2 on the right; mirrored it is 141..241.
    [mirrored] = crop_faces(np.ascontiguousarray(image[:, ::-1]), [Face(Box(142, 70, 239, 167), 1.0)])
    assert np.array_equal(mirrored[:, ::-1], crop)


def test_unknown_geometry_is_an_error() -> None:
    with pytest.raises(ModelError, match="fer2013"):
        crop_faces(np.zeros((9, 9, 3), np.uint8), [], geometry="arcface")


@given(angle=st.floats(-180, 180), scale=st.floats(0.1, 100), x=st.floats(-1000, 1000), y=st.floats(-1000, 1000))
def test_fit_finds_any_similarity(angle: float, scale: float, x: float, y: float) -> None:
    found = fit_similarity(TEMPLATE, turned(angle, scale, (x, y)))
    moved = TEMPLATE @ found[:, :2].T + found[:, 2]
    assert np.allclose(moved, turned(angle, scale, (x, y)), atol=1e-6)


def test_fit_is_the_best_similarity() -> None:
    rng = np.random.default_rng(0)
    target = turned(20, 100, (5, 6)) + rng.normal(0, 5, (5, 2))
    best = fit_similarity(TEMPLATE, target)

    def error(matrix: np.ndarray) -> float:
        return float(((TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())

    for da, db, dx, dy in itertools.product((-0.1, 0, 0.1), repeat=4):
        assert error(best + np.array([[da, -db, dx], [db, da, dy]])) >= error(best)


def test_a_face_in_a_panorama_is_cropped_as_in_a_smaller_image() -> None:
    """OpenCV warps no image with a side of 32,767 pixels or more."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (90, 400, 3), np.uint8)
    wide = np.zeros((90, 33_000, 3), np.uint8)
    wide[:, 32_600:] = small
    for x, roll in ((10.0, 0.0), (200.5, 30.0), (360.0, 0.0)):
        near, far = (Face(Box(x + left, 20, x + left + 60, 80), 1.0, roll=roll) for left in (0, 32_600))
        np.testing.assert_allclose(crop_faces(wide, [far])[0], crop_faces(small, [near])[0], atol=1)
