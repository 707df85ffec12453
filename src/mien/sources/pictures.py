"""Pictures, still and animated, as RGB arrays: Pillow decodes them."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import AvifImagePlugin, Image, ImageFile, TiffImagePlugin, WebPImagePlugin

from mien.errors import MienError, UnreadablePicture, install_command
from mien.files import printable
from mien.sources.media import Media
from mien.sources.paths import FORMATS, MAX_PIXELS, as_path, check_size, opened_file
from mien.structures import Frame, ImageArray

# Pillow's names of the formats that are read; the plugins imported above register the last three.
DECODERS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
PLUGINS = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)
ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})  # the rest hold pages or previews, of which the first is read
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})  # ISO 23008-12
HEADER_BYTES = 64  # enough for every decoder to recognise its files
FULL_SIZE_PIXELS = 100_000_000  # larger pictures are halved; 300 MB as RGB, twice the pixels of most cameras of 2026
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of the EXIF tag
SHORTEST_MS, DEFAULT_MS = 10, 100  # browsers and FFmpeg show a frame of at most 10 ms for 100 ms


def read_picture(path: str | Path) -> ImageArray:
    """Read one picture as RGB uint8 (H, W, 3).

    The picture is turned upright by its EXIF orientation; grey, palette, CMYK and 16-bit pictures are converted;
    transparent pixels are blended with white. An animation gives its first frame.

    A picture of more than 100 million pixels is read at half its width and height, with a warning: boxes found in it
    are in pixels of the halved picture.

    Args:
        path: A JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or PNM file of at most 250 million pixels; HEIC with the extra
            `heic`. The content decides, not the suffix.

    Raises:
        InputError: There is no such file, or no permission.
        UnreadablePicture: The file is empty, not a picture, truncated, damaged, or too large; or it is HEIC and the
            extra is missing.
    """
    path = as_path(path)
    with opened_file(path) as file:
        return to_rgb(open_picture(file, printable(path)), printable(path))


def decode(data: bytes, *, name: str = "picture", keep_grey: bool = False, drop_alpha: bool = False) -> ImageArray:
    """Decode the bytes of a picture file as `read_picture` does.

    Args:
        data: The whole file.
        name: The picture's name in error messages.
        keep_grey: Return grey pictures as (H, W).
        drop_alpha: Return the stored colours of transparent pixels too, not blended with white.

    Returns:
        RGB uint8 (H, W, 3), or grey uint8 (H, W).

    Raises:
        UnreadablePicture: See `read_picture`.
    """
    return to_rgb(open_picture(io.BytesIO(data), name), name, keep_grey=keep_grey, drop_alpha=drop_alpha)


def open_picture(file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """Read a picture's header; its pixels are decoded later, by `to_rgb`.

    Raises:
        UnreadablePicture: See `read_picture`.
    """
    start = file.read(HEADER_BYTES)
    file.seek(0)
    decoder = decoder_of(start)
    if not start:
        raise UnreadablePicture(f"'{name}' is empty (0 bytes); expected a picture")
    if decoder is None:
        raise UnreadablePicture(f"'{name}' is not a picture in a known format; expected {FORMATS}")
    with damage_reported(name):
        factory = _heif_factory(name) if decoder == "HEIF" else Image.OPEN[decoder][0]
        picture = cast(ImageFile.ImageFile, factory(file, ""))
    check_size(name, *picture.size)
    return picture


def decoder_of(start: bytes) -> str | None:
    """Return the name of the decoder for a file by its first 64 bytes; None where it is no known picture.

    `PIL.Image.open` isn't used: its limit against decompression bombs is global, and below the size of today's phones.
    """
    if start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS and not re.search(rb"avi[fs]", start):
        return "HEIF"
    Image.preinit()
    return next((name for name in DECODERS if (accept := Image.OPEN[name][1]) and accept(start) is True), None)


def _heif_factory(name: str) -> Callable[[IO[bytes], str], Image.Image]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnreadablePicture(
            f"'{name}' is HEIC, which needs the 'heic' extra: {install_command('heic')}; or save it as JPEG"
        ) from None
    return cast(Callable[[IO[bytes], str], Image.Image], HeifImageFile)


def picture_and_frames(file: IO[bytes], path: Path) -> tuple[Media, Iterator[Frame]]:
    """Return the properties of a picture or animation, and its frames, which are decoded one at a time.

    Raises:
        UnreadablePicture: See `read_picture`.
    """
    name = printable(path)
    picture = open_picture(file, name)
    with damage_reported(name):
        size, count = _read_size(picture), _n_frames(picture)
    if count > 1:
        return Media("video", size, count, 1 / _frame_seconds(picture)), _animation(picture, path, count)
    return Media("picture", size, 1, None), _still(picture, path)


def _still(picture: ImageFile.ImageFile, path: Path) -> Iterator[Frame]:
    yield Frame(to_rgb(picture, printable(path)), time=0.0, index=0, source=str(path))


def _animation(picture: ImageFile.ImageFile, path: Path, count: int) -> Iterator[Frame]:
    """Yield the frames as a viewer shows them; a frame's time is the sum of the durations before it."""
    time = 0.0
    for index in range(count):
        with damage_reported(printable(path)):
            picture.seek(index + _first(picture))
        yield Frame(to_rgb(picture, printable(path)), time, index, str(path))
        time += _frame_seconds(picture)


def _n_frames(picture: ImageFile.ImageFile) -> int:
    """Return the number of frames of an animation, 1 for any other picture."""
    if picture.format not in ANIMATED:
        return 1
    return int(getattr(picture, "n_frames", 1)) - _first(picture)


def _frame_seconds(picture: ImageFile.ImageFile) -> float:
    """Return the duration of an animation's current frame."""
    duration = float(picture.info.get("duration", 0))
    return (duration if duration > SHORTEST_MS else DEFAULT_MS) / 1000


def _first(picture: ImageFile.ImageFile) -> int:
    """Return the index of the first frame: 1 where a PNG holds a picture for viewers that can't show animations."""
    return int(bool(getattr(picture, "default_image", False)))


def _read_size(picture: ImageFile.ImageFile) -> tuple[int, int]:
    """Return the width and height that `to_rgb` gives, without decoding."""
    width, height = picture.size
    if width * height > FULL_SIZE_PIXELS:
        width, height = (width + 1) // 2, (height + 1) // 2
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return width, height  # Pillow turns TIFF by itself; for a PNG without EXIF getexif would decode the pixels
    return (height, width) if _orientation(picture) >= 5 else (width, height)


def to_rgb(picture: ImageFile.ImageFile, name: str, *, keep_grey: bool = False, drop_alpha: bool = False) -> ImageArray:
    """Decode a picture, or the current frame of an animation; see `decode`."""
    width, height = picture.size
    halved = width * height > FULL_SIZE_PIXELS
    with damage_reported(name):
        if halved:
            picture.draft(None, (width // 2, height // 2))  # JPEG is scaled while it is decoded
        picture.load()
        plain = _grey_or_rgb(picture, name, drop_alpha=drop_alpha)
        if plain.width * plain.height > FULL_SIZE_PIXELS:
            plain = plain.reduce(2)
        turn = UPRIGHT.get(_orientation(picture))
        plain = plain if turn is None else plain.transpose(turn)
        image = np.array(plain if keep_grey else _converted(plain, "RGB"), np.uint8)
    if halved:
        warnings.warn(
            f"'{name}' has {width}x{height} pixels and is read at half its width and height; boxes are in pixels of "
            "the halved picture",
            stacklevel=3,
        )
    return image


def _grey_or_rgb(picture: ImageFile.ImageFile, name: str, *, drop_alpha: bool) -> Image.Image:
    """Return a decoded picture in Pillow's mode L or RGB."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        return Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode in ("F", "I", "LAB"):
        raise UnreadablePicture(
            f"cannot convert '{name}' to RGB: this kind of {picture.format} (mode {picture.mode}) is rare; "
            "save it again as 8-bit JPEG or PNG"
        )
    if picture.has_transparency_data and not drop_alpha:
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture.convert("RGBA"))
        return white.convert("RGB")
    return _converted(picture, "L" if picture.mode in ("1", "L", "LA") else "RGB")


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)  # convert would copy


def _orientation(picture: ImageFile.ImageFile) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF, which any program may have written, is no reason to refuse a picture
        return 1


@contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Turn any exception of Pillow's decoders into an UnreadablePicture; their warnings are left out."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except MienError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(
            f"'{name}' has too many pixels; at most {MAX_PIXELS // 10**6} million are read: make it smaller"
        ) from error
    except Exception as error:  # a damaged file may lead a decoder into any exception
        raise UnreadablePicture(
            f"cannot decode '{name}': {' '.join(str(error).split()) or type(error).__name__}; the file is truncated "
            "or damaged: get it again, or save it again as 8-bit JPEG or PNG"
        ) from error
