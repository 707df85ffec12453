"""Pictures, still and animated, as RGB arrays: Pillow decodes them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image, ImageChops, ImageFile, TiffImagePlugin

from mien.errors import InputError, MienError, UnreadablePicture, install_command
from mien.files import as_path, printable
from mien.quiet import silent_libraries
from mien.sources.content import HEADER_BYTES, decoder_of, kind_of
from mien.sources.media import FrameSelection, Media
from mien.sources.paths import FORMATS, MAX_PIXELS, check_size, opened_file
from mien.sources.videos import no_frame_chosen
from mien.structures import Frame, ImageArray
from mien.warn import warn

ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})  # the rest hold pages or previews, of which the first is read
PAGES = frozenset({"TIFF", "HEIF"})  # may hold several pictures, which a warning mentions
FULL_SIZE_PIXELS = 100_000_000  # larger pictures are halved; 300 MB as RGB, twice the pixels of most cameras of 2026
STRIP_PIXELS = 4_000_000  # converted at a time, since Pillow's conversions take several times a picture's memory
# Bytes per pixel that reading takes besides the array: the most that getrusage showed for 16 to 100 million pixels, of
# animations too; of AVIF and HEIC with alpha, and colours in full resolution. Usual ones (4:2:0) take 6 and 5.
DECODER_BYTES = {"GIF": 10, "WEBP": 13, "AVIF": 16, "HEIF": 14, "APNG": 9}
PLAIN_BYTES = 4  # of the other formats
MAX_DECODER_BYTES = 1_600_000_000
SENSOR_BITS = (8, 10, 12, 14, 16)  # of grey pictures of 16 bits per pixel
FILLER = b"\x55\xaa\x33" * 32  # entropy-coded data without a marker
JPEG_END = b"\xff\xd9"
MAX_MISSING = 1 / 16  # share of the rows of a JPEG that may be missing at its end
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT: dict[int, Callable[[ImageArray], ImageArray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}  # by the value of the EXIF tag
SUBFILE_TYPE, REDUCED = 254, 1  # TIFF tag, and its bit of a preview of another page
SHORTEST_MS, DEFAULT_MS = 10, 100  # browsers and FFmpeg show a frame of at most 10 ms for 100 ms


def read_picture(path: str | Path) -> ImageArray:
    """Read one picture as RGB uint8 (H, W, 3).

    The picture is turned upright by its EXIF orientation; grey, palette, CMYK and 16-bit pictures are converted;
    transparent pixels are blended with white. Grey pictures of 16 bits that use only 8, 10, 12 or 14 of them are
    stretched. An animation gives its first frame, a file of several pages its first page, with a warning. A JPEG that
    lacks its last bytes is read, with a warning, if at most a sixteenth of its rows is missing.

    A picture of more than 100 million pixels is read at half its width and height, with a warning: boxes found in the
    array are in pixels of the halved picture. `frames` gives the scale.

    Args:
        path: A JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or PNM file of at most 250 million pixels, animated PNG 177,
            GIF 160, WebP 123, AVIF 100; HEIC, at most 114, with the extra `heic`. The content decides, not the suffix.

    Raises:
        InputError: There is no such file, or no permission.
        UnreadablePicture: The file is empty, not a picture, truncated, damaged, or too large; or it is HEIC and the
            extra is missing.
    """
    path = as_path(path)
    name = printable(path)
    with opened_file(path) as file:
        picture = open_picture(file, name)
        _warn_of_pages(picture, name)
        return to_rgb(picture, name)


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
        InputError: It is no bytes.
        UnreadablePicture: See `read_picture`.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"the picture is of type {type(data).__name__}; expected the bytes of a file")
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
        kind = kind_of(start)
        found = "not a picture in a known format" if kind is None else f"{kind}, not a picture"
        raise UnreadablePicture(f"'{name}' is {found}; expected {FORMATS}")
    with damage_reported(name):
        factory = _heif_factory(name) if decoder == "HEIF" else Image.OPEN[decoder][0]
        picture = cast(ImageFile.ImageFile, factory(file, ""))
        check_size(name, *picture.size)
        _check_decoder(picture, name)
    return picture


def first_frame(picture: ImageFile.ImageFile, name: str) -> Frame:
    """Decode a picture, or the first frame of an animation, as a frame of the source `name`.

    Raises:
        UnreadablePicture: See `read_picture`.
    """
    scale = _scale(picture)
    _warn_of_pages(picture, name)
    return Frame(to_rgb(picture, name), time=0.0, index=0, source=name, scale=scale)


def decoder_memory(picture: ImageFile.ImageFile) -> int:
    """Return the bytes that decoding a picture takes, besides the array that it becomes."""
    width, height = picture.size
    kind = "APNG" if picture.format == "PNG" and getattr(picture, "is_animated", False) else str(picture.format)
    return width * height * DECODER_BYTES.get(kind, PLAIN_BYTES)


def _check_decoder(picture: ImageFile.ImageFile, name: str) -> None:
    """Refuse a picture that takes too much memory to decode, or whose first page is a preview."""
    needed = decoder_memory(picture)
    if needed > MAX_DECODER_BYTES:
        raise UnreadablePicture(
            f"'{name}' has {picture.width}x{picture.height} pixels; decoding this {picture.format} takes "
            f"{needed / 1e9:.1f} GB of memory, at most {MAX_DECODER_BYTES / 1e9:.1f} GB are used: make it smaller, or "
            "save it as JPEG"
        )
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and int(picture.tag_v2.get(SUBFILE_TYPE, 0)) & REDUCED:
        raise UnreadablePicture(
            f"'{name}' begins with a small preview, as cameras' raw files do; develop it and save it as JPEG or PNG"
        )


def _heif_factory(name: str) -> Callable[[IO[bytes], str], Image.Image]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnreadablePicture(
            f"'{name}' is HEIC, which needs the 'heic' extra: {install_command('heic')}; or save it as JPEG"
        ) from None
    return cast(Callable[[IO[bytes], str], Image.Image], HeifImageFile)


def picture_and_frames(file: IO[bytes], path: Path, selection: FrameSelection) -> tuple[Media, Iterator[Frame]]:
    """Return the properties of a picture or animation, and its frames, which are decoded one at a time.

    Raises:
        UnreadablePicture: See `read_picture`.
    """
    name = printable(path)
    picture = open_picture(file, name)
    with damage_reported(name):
        size, count = _read_size(picture), _n_frames(picture)
    if count > 1:
        return Media("video", size, count, 1 / _frame_seconds(picture)), _animation(picture, path, count, selection)
    return Media("picture", size, 1, None), _still(picture, path)


def _still(picture: ImageFile.ImageFile, path: Path) -> Iterator[Frame]:
    scale = _scale(picture)
    _warn_of_pages(picture, printable(path))
    yield Frame(to_rgb(picture, printable(path)), time=0.0, index=0, source=str(path), scale=scale)


def _warn_of_pages(picture: ImageFile.ImageFile, name: str) -> None:
    with damage_reported(name):
        pages = int(getattr(picture, "n_frames", 1)) if picture.format in PAGES else 1
    if pages > 1:
        warn(f"'{name}' holds {pages} pictures; only the first is read", code="first-page", stacklevel=3)


def _animation(picture: ImageFile.ImageFile, path: Path, count: int, selection: FrameSelection) -> Iterator[Frame]:
    """Yield the frames as a viewer shows them; a frame's time is the sum of the durations before it."""
    name, wanted = printable(path), selection.chooser()
    time, shown, given = 0.0, 0.0, 0
    for index in range(count):
        if selection.ends_before(time):
            break
        with damage_reported(name):
            picture.seek(index + _first(picture))
        if wanted(time):
            yield Frame(to_rgb(picture, name), time, index, str(path), scale=_scale(picture))
            given += 1
        shown, time = time, time + _frame_seconds(picture)
    if not given:
        raise no_frame_chosen(path, selection, shown)


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
    if _is_halved(picture):
        width, height = (width + 1) // 2, (height + 1) // 2
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return width, height  # Pillow turns TIFF by itself; for a PNG without EXIF getexif would decode the pixels
    return (height, width) if _orientation(picture) >= 5 else (width, height)


def _is_halved(picture: Image.Image) -> bool:
    return picture.width * picture.height > FULL_SIZE_PIXELS


def _scale(picture: Image.Image) -> float:
    """Return the file's pixels per pixel that `to_rgb` gives, before it is decoded."""
    return 2.0 if _is_halved(picture) else 1.0


def to_rgb(picture: ImageFile.ImageFile, name: str, *, keep_grey: bool = False, drop_alpha: bool = False) -> ImageArray:
    """Decode a picture, or the current frame of an animation; see `decode`."""
    width, height = picture.size
    halved = _is_halved(picture)
    with damage_reported(name):
        picture = _loaded(picture, name)
        image = _pixels(picture, name, keep_grey=keep_grey, drop_alpha=drop_alpha)
        turn = UPRIGHT.get(_orientation(picture))
        image = image if turn is None else np.ascontiguousarray(turn(image))
    if halved:
        halving = f"'{name}' has {width}x{height} pixels and is read at half its width and height"
        warn(halving, code="picture-shrunk", stacklevel=3)
    return image


def _loaded(picture: ImageFile.ImageFile, name: str) -> ImageFile.ImageFile:
    """Decode a picture, a JPEG that lacks its end too; one that is halved is scaled while it is decoded."""
    try:
        return _drafted(picture)
    except OSError:
        if picture.format != "JPEG" or picture.fp is None:
            raise
        picture.fp.seek(0)
        data = picture.fp.read().rstrip(JPEG_END[:1])  # half of the end mark
        factory = Image.OPEN["JPEG"][0]
        # The decoder fills missing rows with grey: these are the rows that depend on data put in their place.
        ended, filled = (_drafted(factory(io.BytesIO(data + tail + JPEG_END), "")) for tail in (b"", FILLER))
        differing = ImageChops.difference(ended, filled).getbbox()
        missing = 0 if differing is None else ended.height - differing[1]
        if missing > MAX_MISSING * ended.height:
            raise
    rows = f"its last {missing} of {ended.height} rows are missing" if missing else "all its pixels are there"
    warn(f"'{name}' lacks its end, as after a broken download; {rows}", code="picture-cut", stacklevel=4)
    return ended


def _drafted(picture: ImageFile.ImageFile) -> ImageFile.ImageFile:
    if _is_halved(picture):
        picture.draft(None, (picture.width // 2, picture.height // 2))  # only JPEG can
    with silent_libraries() if picture.format == "TIFF" else nullcontext():  # libtiff prints what is damaged
        picture.load()
    return picture


def _pixels(picture: ImageFile.ImageFile, name: str, *, keep_grey: bool, drop_alpha: bool) -> ImageArray:
    """Return a decoded picture as an array, halved if it is too large, strip by strip to bound the memory."""
    halve = _is_halved(picture)
    white = _white_level(picture)
    image = np.empty(0, np.uint8)
    for top, strip in _strips(picture):
        plain = _grey_or_rgb(strip, name, kind=picture.format, white=white, drop_alpha=drop_alpha)
        plain = plain if keep_grey else _converted(plain, "RGB")
        part = np.asarray(plain.reduce(2) if halve else plain, np.uint8)
        if top == 0:
            height = (picture.height + 1) // 2 if halve else picture.height
            image = np.empty((height, *part.shape[1:]), np.uint8)
        start = top // 2 if halve else top
        image[start : start + len(part)] = part
    return image


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield strips of even height with the row that they begin at."""
    rows = max(STRIP_PIXELS // picture.width // 2, 1) * 2
    if rows >= picture.height:
        yield 0, picture
        return
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _white_level(picture: Image.Image) -> int:
    """Return the largest value of the bits that a grey picture of 16 bits uses; 255 for any other picture."""
    if not picture.mode.startswith("I"):
        return 255
    brightest = int(max(np.asarray(strip).max() for _, strip in _strips(picture)))
    return next((white for bits in SENSOR_BITS if brightest <= (white := (1 << bits) - 1)), brightest)


def _grey_or_rgb(picture: Image.Image, name: str, *, kind: str | None, white: int, drop_alpha: bool) -> Image.Image:
    """Return a strip of a decoded picture in Pillow's mode L or RGB.

    Args:
        picture: The strip.
        name: Of the picture, for messages.
        kind: Format of the picture.
        white: See `_white_level`.
        drop_alpha: See `decode`.
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and kind in ("PNG", "PPM")):
        values = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8))
    if picture.mode in ("F", "I", "LAB"):
        raise UnreadablePicture(
            f"cannot convert '{name}' to RGB: this kind of {kind} (mode {picture.mode}) is rare; "
            "save it again as 8-bit JPEG or PNG"
        )
    if picture.has_transparency_data and not drop_alpha:
        white_strip = Image.new("RGBA", picture.size, "white")
        white_strip.alpha_composite(picture.convert("RGBA"))
        return white_strip.convert("RGB")
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
