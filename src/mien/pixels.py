"""Images as RGB arrays: resize, fit, convert to grey, encode, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mien.errors import OutputError, UnwritableImage
from mien.files import as_path, atomic_path
from mien.quiet import quiet, silent_libraries
from mien.structures import ImageArray

DARK = 40  # of 255; a portrait at 6 % of its brightness, which no detector finds, has 15
# Pixels a side: limits of libjpeg, libwebp, and libpng.
MAX_SIDES = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".png": 1_000_000}
WRITABLE_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")


def resize(image: ImageArray, size: int) -> ImageArray:
    """Resize to size × size pixels: by area when shrinking, bilinear when enlarging."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = height > size or width > size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def to_grey(image: ImageArray) -> ImageArray:
    """Return an RGB or grey image as grey (H, W), by the luma weights of BT.601."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return image[:, :, 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def to_rgb(image: ImageArray) -> ImageArray:
    """Return an image as (H, W, 3); grey is repeated in the three channels."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


def is_dark(image: ImageArray) -> bool:
    """Return whether an image is nearly black, so that faces in it are hardly seen: all but 1 % are below `DARK`."""
    sample = image[::8, ::8]
    return bool(sample.size and np.percentile(sample, 99) < DARK)


def write_picture(path: str | Path, image: ImageArray) -> None:
    """Write an image, whole or not at all, in the format of the file's suffix.

    Args:
        path: Ends in .png, .jpg, .webp, .bmp, .tif or .ppm.
        image: uint8 (H, W, 3) RGB or (H, W) grey.

    Raises:
        InputError: `path` is neither a str nor a pathlib.Path.
        OutputError: Another suffix, or the file cannot be written; `UnwritableImage`: the format cannot hold it.
    """
    path = as_path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_PICTURES:
        raise OutputError(f"cannot write '{path}': unknown suffix; choose from {', '.join(WRITABLE_PICTURES)}")
    data = encode(path, suffix, image)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def encode(path: Path, suffix: str, image: ImageArray, options: Sequence[int] = ()) -> bytes:
    """Return an RGB or grey image as the bytes of a picture file.

    Args:
        path: Its path in the error message.
        suffix: Its format (".jpg").
        image: uint8 (H, W, 3) RGB or (H, W) grey.
        options: Pairs of OpenCV's `IMWRITE` flags and values.

    Raises:
        OutputError: The image is no such array; `UnwritableImage`: it is empty, or the format cannot hold it.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3):
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else f"of type {type(image).__name__}"
        raise OutputError(
            f"cannot write '{path}': the image is {kind}; expected uint8 (H, W, 3) or (H, W), as mien.to_rgb returns"
        )
    longest = MAX_SIDES.get(suffix)
    other = ".png" if suffix != ".png" and max(image.shape[:2]) <= MAX_SIDES[".png"] else ".ppm"
    if longest is not None and max(image.shape[:2]) > longest:
        raise UnwritableImage(
            f"cannot write '{path}': {suffix} has at most {longest:,} pixels a side; choose {other}, or make the image "
            "smaller"
        )
    try:
        with quiet(), silent_libraries():
            written, data = cv2.imencode(suffix, to_bgr(image), options)
    except cv2.error:
        written = False
    if not written:
        raise UnwritableImage(f"cannot write '{path}': no {suffix} of {image.shape} {image.dtype}; choose {other}")
    return data.tobytes()


def to_bgr(image: ImageArray) -> ImageArray:
    """Return an RGB image as BGR, for OpenCV; a grey one as it is."""
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, ::-1])


def fit_exactly(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Resize an image to (width, height); where a single row or column is missing, repeat the last one instead."""
    right, below = size[0] - image.shape[1], size[1] - image.shape[0]
    if right in (0, 1) and below in (0, 1):
        return np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
