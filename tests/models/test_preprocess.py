import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.preprocess import preprocess
from mien.models.spec import Preprocess
from mien.pixels import resize, to_grey, to_rgb
from mien.structures import ImageArray

GREY8 = Preprocess(size=8, channels=1)
RGB8 = Preprocess(size=8, channels=3)


def one_colour(colour: tuple[int, int, int] | int, height: int = 8, width: int = 8) -> ImageArray:
    channels = () if isinstance(colour, int) else (3,)
    return np.full((height, width, *channels), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "luma"), [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((255, 255, 255), 255)]
)
def test_colours_turn_grey_by_bt601(colour: tuple[int, int, int], luma: int) -> None:
    assert (preprocess([one_colour(colour)], GREY8) == luma).all()


def test_red_stays_the_first_channel() -> None:
    batch = preprocess([one_colour((200, 100, 50), 20, 30)], RGB8)
    assert batch.shape == (1, 8, 8, 3)
    assert (batch == (200, 100, 50)).all()


def test_a_grey_image_gives_three_equal_channels() -> None:
    batch = preprocess([one_colour(90), one_colour(90)[:, :, None]], RGB8)
    assert batch.shape == (2, 8, 8, 3)
    assert (batch == 90).all()


def test_no_images_give_an_empty_batch() -> None:
    for config in (GREY8, RGB8):
        batch = preprocess([], config)
        assert batch.shape == (0, 8, 8, config.channels)
        assert batch.dtype == np.uint8


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    np.testing.assert_array_equal(preprocess([image], GREY8)[0, :, :, 0], image)


def test_shrinking_averages_areas() -> None:
    quarters = np.array([[0, 100], [100, 200]], np.uint8).repeat(8, 0).repeat(8, 1)
    checks = np.array([[0, 100], [100, 200]], np.uint8)
    np.testing.assert_array_equal(resize(quarters, 2), checks)
    np.testing.assert_array_equal(resize(np.tile(checks, (8, 8)), 8), np.full((8, 8), 100))


def test_enlarging_interpolates() -> None:
    enlarged = resize(np.array([[0, 200]], np.uint8).repeat(2, 0), 8)
    assert (np.diff(enlarged.astype(int), axis=1) >= 0).all()
    assert (enlarged[0, 0], enlarged[0, -1]) == (0, 200)
    assert 0 < enlarged[0, 3] < 100 < enlarged[0, 4] < 200


def test_equalising_spreads_the_greys() -> None:
    image = np.concatenate([one_colour(100, 4), one_colour(110, 4)])
    assert np.unique(preprocess([image], Preprocess(size=8, equalize=True))).tolist() == [0, 255]
    assert np.unique(preprocess([image], GREY8)).tolist() == [100, 110]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 1, 3])), max_size=4))
def test_images_of_any_size_make_one_batch(shapes: list[tuple[int, int, int]]) -> None:
    images = [
        np.zeros((height, width, *([channels] if channels else [])), np.uint8) for height, width, channels in shapes
    ]
    for config in (GREY8, RGB8, Preprocess(size=8, equalize=True)):
        batch = preprocess(images, config)
        assert batch.shape == (len(images), 8, 8, config.channels)
        assert batch.dtype == np.uint8


def test_grey_and_rgb_undo_each_other() -> None:
    image = np.random.default_rng(1).integers(0, 256, (5, 6), np.uint8)
    np.testing.assert_array_equal(to_grey(to_rgb(image)), image)
    assert to_rgb(to_rgb(image)).shape == (5, 6, 3)
