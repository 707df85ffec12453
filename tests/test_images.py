"""What callers hand over as an image is understood, or refused with the conversion."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.images import each_image, to_rgb

GREY = np.array([[0, 51], [102, 255]], np.uint8)
RGB = np.stack([GREY, GREY.T, 255 - GREY], 2)


def test_an_rgb_array_is_returned_itself() -> None:
    assert to_rgb(RGB) is RGB
    assert to_rgb(GREY, keep_grey=True) is GREY


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_from_0_to_1_or_whole_numbers_to_255(dtype: str) -> None:
    for image in ((RGB / 255).astype(dtype), RGB.astype(dtype)):
        result = to_rgb(image)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, RGB)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint16", "uint64", ">i4"])
def test_integers_are_from_0_to_255(dtype: str) -> None:
    np.testing.assert_array_equal(to_rgb((RGB // 3).astype(dtype)), RGB // 3)


def test_a_mask_is_black_and_white() -> None:
    np.testing.assert_array_equal(to_rgb(GREY > 60)[:, :, 0], [[0, 0], [255, 255]])


@pytest.mark.parametrize("grey", [GREY, GREY[:, :, None], GREY / 255])
def test_grey_is_repeated(grey: np.ndarray) -> None:
    np.testing.assert_array_equal(to_rgb(grey), np.stack([GREY] * 3, 2))


def test_pictures_of_pil_are_read_as_their_files_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(RGB).resize((40, 20)).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        from_pil = to_rgb(picture)
    assert from_pil.shape == (40, 20, 3)
    np.testing.assert_array_equal(from_pil, to_rgb(tmp_path / "turned.png"))
    transparent = Image.fromarray(np.dstack([RGB, np.zeros((2, 2), np.uint8)]))
    np.testing.assert_array_equal(to_rgb(transparent), np.full((2, 2, 3), 255))
    np.testing.assert_array_equal(to_rgb(Image.fromarray(GREY)), to_rgb(GREY))


def test_tensors_are_read_as_arrays() -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(to_rgb(torch.from_numpy(RGB.copy())), RGB)
    with pytest.raises(InputError, match="of type Tensor and no array"):
        to_rgb(torch.zeros((2, 2, 3), requires_grad=True))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "of type NoneType; .*cv2.imread returns None where it cannot read a file"),
        ([RGB, RGB], "of type list; .*recognize_many"),
        (b"\xff\xd8", "of type bytes; .*mien.sources.decode"),
        (io.BytesIO(b""), "of type BytesIO; .*mien.sources.decode"),
        (7, "of type int; expected RGB"),
        ("no.jpg", "no file or folder 'no.jpg'"),
        (RGB[0, 0], r"shape \(3,\) and dtype uint8"),
        (np.stack([RGB, RGB]), r"shape \(2, 2, 2, 3\) .*one image at a time"),
        (RGB.transpose(2, 0, 1), r"shape \(3, 2, 2\) .*image\.transpose\(1, 2, 0\)"),
        (np.dstack([RGB, GREY]), r"drop the alpha channel with image\[:, :, :3\]"),
        (RGB / 127.5 - 1, "float64 values from -1 to 1; expected integers from 0 to 255 or floats from 0 to 1"),
        (RGB / 254, "float64 values from 0 to 1.00394"),
        (RGB * np.nan, "values from nan to nan"),
        (RGB.astype(np.uint16) * 257, "uint16 values from 0 to 65535"),
        (RGB.astype(complex), "dtype complex128"),
        (RGB.astype(object), "dtype object"),
        (RGB.astype(str), "dtype <U"),
    ],
)
def test_others_are_refused_in_one_line(image: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        to_rgb(image)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("images", [RGB, GREY, "a.jpg", Path("a.jpg"), b"", Image.fromarray(RGB)])
def test_a_single_image_is_no_list_of_images(images: object) -> None:
    with pytest.raises(InputError, match=r"crops is a single image; .*pass \[image\]"):
        list(each_image(images, name="crops"))  # type: ignore[arg-type]


def test_images_are_a_list_or_a_stack() -> None:
    assert len(list(each_image([RGB], name="crops"))) == 1
    assert len(list(each_image(np.zeros((5, 48, 48), np.uint8), name="crops"))) == 5
    with pytest.raises(InputError, match="crops is of type NoneType; expected a list of images"):
        list(each_image(None, name="crops"))  # type: ignore[arg-type]
