import numpy as np
import pytest

from mien.data.synthetic import draw_faces
from mien.labels import FER2013


@pytest.mark.parametrize("size", [24, 48, 64])
def test_faces_have_the_shape_labels_and_splits_of_fer2013(size: int) -> None:
    faces = draw_faces(70, seed=0, size=size)
    assert faces.images.shape == (70, size, size, 1)
    assert faces.labels is FER2013
    assert faces.counts().tolist() == [[8] * 7, [1] * 7, [1] * 7]


def test_the_same_seed_draws_the_same_faces() -> None:
    assert draw_faces(20, seed=3).fingerprint == draw_faces(20, seed=3).fingerprint
    assert draw_faces(20, seed=3).fingerprint != draw_faces(20, seed=4).fingerprint


def test_more_faces_begin_with_the_same_ones() -> None:
    np.testing.assert_array_equal(draw_faces(12, seed=0).images, draw_faces(40, seed=0).images[:12])


def test_no_face_is_drawn_twice() -> None:
    images = draw_faces(100, seed=0, size=24).images
    assert len(np.unique(images.reshape(100, -1), axis=0)) == 100


def test_every_face_stands_out_from_its_background() -> None:
    faces = draw_faces(200, seed=0)
    assert (faces.images.reshape(200, -1).std(1) > 4).all()


def test_expressions_differ_where_they_should() -> None:
    """On average a surprised mouth is dark where a neutral one shows skin, and the brows are higher."""
    faces = draw_faces(1400, seed=0)
    pixels = faces.images[..., 0].astype(float)
    pixels = (pixels - pixels.mean((1, 2), keepdims=True)) / pixels.std((1, 2), keepdims=True)
    mean = {name: pixels[faces.targets == FER2013.index(name)].mean(0) for name in FER2013}
    chin, forehead = (slice(35, 41), slice(22, 26)), (slice(10, 15), slice(15, 33))
    assert mean["surprise"][chin].mean() < mean["neutral"][chin].mean() - 0.3
    assert mean["surprise"][forehead].mean() < mean["neutral"][forehead].mean()


def test_zero_faces_make_an_empty_dataset() -> None:
    assert len(draw_faces(0, seed=0)) == 0
