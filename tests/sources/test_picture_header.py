"""Headers are read without decoding; Pillow writes the pictures and knows the answers."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mien.sources.picture_header import count_gif_frames, picture_format, read_header

MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "RGBA"),
    "WebP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "RGBA", "L", "CMYK"),
    "PNM": ("RGB", "L", "1"),
}


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PPM" if name == "PNM" else name, **options)
    return stream.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (37, 21), *, seed: int = 0) -> Image.Image:
    """Return noise, with transparent pixels where the mode has them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(pixels)
    return image.convert({"I;16": "I", "P": "RGB"}.get(mode, mode)).convert(mode)


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, modes in MODES.items() for mode in modes])
def test_format_size_and_alpha_are_read(name: str, mode: str) -> None:
    header = read_header(encoded(picture(mode), name))
    assert header is not None
    assert (header.format, header.width, header.height, header.complete) == (name, 37, 21, True)
    assert header.alpha == (mode in ("RGBA", "LA") and name != "BMP")


def test_lossless_webp_is_read() -> None:
    for mode in ("RGB", "RGBA"):
        header = read_header(encoded(picture(mode), "WebP", lossless=True))
        assert header is not None
        assert (header.width, header.height, header.alpha) == (37, 21, mode == "RGBA")


def test_a_transparent_colour_of_a_palette_counts_as_alpha() -> None:
    header = read_header(encoded(picture("P"), "PNG", transparency=0))
    assert header is not None
    assert header.alpha


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP"])
def test_a_missing_end_is_noticed(name: str) -> None:
    data = encoded(picture(), name)
    header = read_header(data[:-20])
    assert header is not None
    assert not header.complete


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture() -> None:
    thumbnail = encoded(picture(size=(8, 8)), "JPEG")
    data = encoded(picture(), "JPEG")
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    whole, cut = read_header(with_thumbnail), read_header(with_thumbnail[:-20])
    assert whole is not None
    assert cut is not None
    assert (whole.width, whole.height, whole.complete, cut.complete) == (37, 21, True, False)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", b"\0" * 64, b"BMW is a car maker", "käse".encode()])
def test_other_files_have_no_header(data: bytes) -> None:
    assert picture_format(data) is None
    assert read_header(data) is None


@pytest.mark.parametrize("name", MODES)
def test_a_header_cut_anywhere_is_a_value_error_or_incomplete(name: str) -> None:
    data = encoded(picture(), name)
    for length in range(16, 64):
        try:
            header = read_header(data[:length])
        except ValueError:
            continue
        assert header is None or (header.width, header.height) == (37, 21)


def test_gif_frames_are_counted() -> None:
    frames = [picture("P", seed=i) for i in range(5)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert count_gif_frames(animation) == 5
    assert count_gif_frames(encoded(picture("P"), "GIF")) == 1
    with pytest.raises(ValueError, match="truncated"):
        count_gif_frames(animation[:-200])
