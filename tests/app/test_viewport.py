"""Zooming and panning keep the image where the pointer has it, and never show anything beyond its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.app.viewport import MAX_ZOOM, Viewport
from mien.structures import ImageArray

SHAPE = (48, 64, 3)


def ramp() -> ImageArray:
    """An image whose red is its x and whose green is its y."""
    image = np.zeros(SHAPE, np.uint8)
    image[..., 0], image[..., 1] = np.arange(64)[None, :], np.arange(48)[:, None]
    return image


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 48), (48, 64)), ((32, 100), (24, 32)), ((1000, 96), (96, 128)), ((1, 1), (1, 1))]
)
def test_the_whole_image_keeps_its_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Viewport().render(ramp(), size).shape == (*expected, 3)


def test_a_zoomed_image_fills_the_label() -> None:
    assert Viewport(zoom=4).render(ramp(), (100, 60)).shape == (60, 100, 3)


def test_the_corner_can_be_reached() -> None:
    viewport = Viewport().zoomed(4, SHAPE, (64, 48)).moved(1000, 1000, SHAPE, (64, 48))
    assert tuple(viewport.render(ramp(), (64, 48))[0, 0, :2]) == (0, 0)
    viewport = viewport.moved(-5000, -5000, SHAPE, (64, 48))
    assert tuple(viewport.render(ramp(), (64, 48))[-1, -1, :2]) == (63, 47)


def test_zooming_in_keeps_the_pixel_below_the_pointer() -> None:
    size, at = (640, 480), (160.0, -120.0)  # a quarter of the label from its centre: pixel 48, 12
    viewport = Viewport()
    for _ in range(8):
        viewport = viewport.zoomed(1.25, SHAPE, size, at)
    seen = viewport.render(ramp(), size)[240 - 120, 320 + 160, :2].astype(float)
    assert seen == pytest.approx((47.5, 11.5), abs=1)


def test_a_drag_moves_the_image_by_as_many_screen_pixels() -> None:
    size = (640, 480)  # 40 screen pixels per image pixel at zoom 4
    before = Viewport(zoom=4)
    after = before.moved(80, -40, SHAPE, size)
    assert (after.x - before.x) * 64 == pytest.approx(-2)
    assert (after.y - before.y) * 48 == pytest.approx(1)


def test_zooming_out_ends_with_the_whole_image_centred() -> None:
    viewport = Viewport().zoomed(8, SHAPE, (64, 48), (30, 20))
    for _ in range(20):
        viewport = viewport.zoomed(0.8, SHAPE, (64, 48), (-30, 10))
    assert viewport == Viewport()


@given(
    width=st.integers(1, 90), height=st.integers(1, 90), size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    zoom=st.floats(1, 2 * MAX_ZOOM), dx=st.floats(-500, 500), dy=st.floats(-500, 500),
)  # fmt: skip
def test_any_viewport_shows_pixels_of_the_image_and_fits_the_label(
    width: int, height: int, size: tuple[int, int], zoom: float, dx: float, dy: float
) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    viewport = Viewport().zoomed(zoom, image.shape, size, (dx, dy)).moved(dy, dx, image.shape, size)
    seen = viewport.render(image, size)
    assert seen.shape[0] <= size[1]
    assert seen.shape[1] <= size[0]
    assert (seen == 200).all()
