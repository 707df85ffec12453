"""Pictures from files, as RGB arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mien.errors import UnreadablePicture
from mien.files import printable
from mien.sources.paths import FORMATS, check_size, read_bytes
from mien.sources.picture_header import PictureHeader, count_gif_frames, read_header
from mien.sources.quiet import quiet
from mien.sources.videos import video_frames
from mien.structures import ImageArray


def read_picture(path: str | Path) -> ImageArray:
    """Read one picture as RGB uint8 (H, W, 3), whatever it is stored as.

    Turned upright as EXIF says; grey, palette, CMYK and 16-bit pictures are converted; transparent pixels
    lie on white (there the EXIF rotation is not applied). Of an animation the first picture is read.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF or PNM file of at most 100 million pixels.

    Raises:
        InputError: There is no such file, or no permission.
        UnreadablePicture: It is empty, not a picture, truncated, damaged, or too large to decode.
    """
    path = Path(path)
    data = read_bytes(path)
    header = checked_header(path, data)
    if header.format == "GIF":
        return next(video_frames(path)).image
    with quiet():
        image = _decode(data, alpha=header.alpha)
    if image is None:
        raise UnreadablePicture(
            f"cannot decode '{printable(path)}': the {header.format} is damaged or of a rare kind; "
            "save it again as 8-bit JPEG or PNG"
        )
    return image


def checked_header(path: Path, data: bytes) -> PictureHeader:
    """Return the header of a picture that is whole, of a known format and not too large."""
    if not data:
        raise UnreadablePicture(f"'{printable(path)}' is empty (0 bytes); expected a picture")
    try:
        header = read_header(data)
        if header is not None and header.format == "GIF":
            count_gif_frames(data)  # FFmpeg gives grey pixels for what is missing
    except ValueError as error:
        raise UnreadablePicture(f"cannot decode '{printable(path)}': {error}; get the file again") from error
    if header is None:
        raise UnreadablePicture(f"'{printable(path)}' is not a picture mien reads; expected {FORMATS}: convert it")
    if not header.complete:
        raise UnreadablePicture(f"'{printable(path)}' is a truncated {header.format}: its end is missing; get it again")
    check_size(path, header.width, header.height)
    return header


def _decode(data: bytes, *, alpha: bool) -> ImageArray | None:
    """Decode to RGB uint8 (H, W, 3); None when OpenCV cannot."""
    coded = np.frombuffer(data, np.uint8)
    try:
        if alpha:
            stored = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
            if stored is not None and stored.ndim == 3 and stored.shape[2] == 4 and stored.dtype != np.float32:
                return _on_white(stored)
        bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _on_white(bgra: cv2.typing.MatLike) -> ImageArray:
    """Lay BGRA of 8 or 16 bits on white; return RGB uint8."""
    scale = 255.0 if bgra.dtype == np.uint8 else 65535.0
    rgba = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)).astype(np.float32) / scale
    alpha = rgba[:, :, 3:]
    return np.asarray(np.rint((rgba[:, :, :3] * alpha + (1 - alpha)) * 255), np.uint8)


def gif_length(path: Path) -> int:
    data = read_bytes(path)
    checked_header(path, data)
    return count_gif_frames(data)
