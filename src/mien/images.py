"""Images as callers hand them over: arrays, PIL images and paths become RGB uint8 arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import numpy as np
import numpy.typing as npt

from mien.errors import InputError
from mien.structures import ImageArray

if TYPE_CHECKING:
    from PIL import Image

# See `to_rgb`.
ImageLike: TypeAlias = Union[npt.NDArray[np.generic], "Image.Image", str, PathLike[str]]

EXPECTED = "expected RGB uint8 (H, W, 3), a PIL image or a path"


def to_rgb(image: ImageLike, *, keep_grey: bool = False) -> ImageArray:
    """Return an image as RGB uint8; such an array is returned itself, not copied.

    Args:
        image: An array (H, W, 3) in RGB, or (H, W) or (H, W, 1) grey: integers from 0 to 255, floats from 0 to 1, or
            floats that are whole numbers from 0 to 255. A PIL image, which is turned upright by its EXIF
            orientation and blended with white where it is transparent, as `read_picture` does; or the path of a
            picture. Objects with `__array__`, such as CPU tensors of PyTorch, are read as arrays.
        keep_grey: Return grey arrays as they are, uint8 (H, W) or (H, W, 1).

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        InputError: Another type, shape or range of values; the message names the conversion.
        UnreadablePicture: The picture of a path or of PIL cannot be decoded.
    """
    if type(image) is not np.ndarray:
        image = _array_of(image)
    if not (image.ndim == 3 and image.shape[2] == 3):
        if not (image.ndim == 2 or image.shape[2:] == (1,)) or image.ndim > 3:
            raise _bad_shape(image)
        if not keep_grey:
            image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return cast(ImageArray, image) if image.dtype == np.uint8 else _as_uint8(image)


def each_image(images: Iterable[ImageLike], *, name: str) -> Iterator[ImageLike]:
    """Yield the images of a list or a stacked array.

    Args:
        images: Several images.
        name: Of the argument, for the message.

    Raises:
        InputError: It is a single image, or no list.
    """
    single = isinstance(images, (str, bytes, PathLike)) or hasattr(images, "getexif")
    if isinstance(images, np.ndarray):
        single = images.ndim < 3 or (images.ndim == 3 and images.shape[2] in (1, 3, 4))
    if single:
        raise InputError(f"{name} is a single image; expected a list of images: pass [image]")
    try:
        yield from images
    except TypeError:
        raise InputError(f"{name} is of type {type(images).__name__}; expected a list of images") from None


def _array_of(image: object) -> npt.NDArray[np.generic]:
    """Return the array of an object that is none itself.

    Raises:
        InputError: It holds no image.
    """
    if isinstance(image, (str, PathLike)):
        from mien.sources.pictures import read_picture

        return read_picture(cast(str, image))
    if hasattr(image, "getexif"):
        from PIL import ImageFile

        from mien.sources import pictures

        return pictures.to_rgb(cast(ImageFile.ImageFile, image), "the image")
    if hasattr(image, "__array__"):
        try:
            return np.asarray(image)
        except Exception as error:  # a tensor on a GPU or with gradients, for instance
            reason = " ".join(str(error).split())
            raise InputError(
                f"the image is of type {type(image).__name__} and no array ({reason}); {EXPECTED}"
            ) from error
    hint = ""
    if image is None:
        hint = "; cv2.imread returns None where it cannot read a file: read it with mien.read_picture"
    elif isinstance(image, (list, tuple)):
        hint = "; pass one image, or a list of images to Recognizer.recognize_many"
    elif isinstance(image, (bytes, bytearray, memoryview)) or hasattr(image, "read"):
        hint = "; decode the bytes of a file with mien.sources.decode"
    raise InputError(f"the image is of type {type(image).__name__}; {EXPECTED}{hint}")


def _bad_shape(image: npt.NDArray[np.generic]) -> InputError:
    hint = ""
    if image.ndim == 3 and image.shape[2] == 4:
        hint = ": drop the alpha channel with image[:, :, :3]"
    elif image.ndim == 3 and image.shape[0] in (1, 3):
        hint = ": move the channels to the end with image.transpose(1, 2, 0)"
    elif image.ndim == 4:
        hint = ": pass one image at a time"
    return InputError(f"the image has shape {image.shape} and dtype {image.dtype}; {EXPECTED}{hint}")


def _as_uint8(image: npt.NDArray[np.generic]) -> ImageArray:
    if image.dtype.kind not in "biuf":
        raise InputError(f"the image has dtype {image.dtype}; {EXPECTED}")
    if image.size == 0:
        return image.astype(np.uint8)
    low, high = float(image.min()), float(image.max())
    is_float = image.dtype.kind == "f"
    if image.dtype.kind == "b" or (is_float and low >= 0 and high <= 1):
        return np.asarray(np.rint(image.astype(np.float32) * 255), np.uint8)
    if low >= 0 and high <= 255 and not (is_float and np.any(image % 1)):
        return image.astype(np.uint8)
    raise InputError(
        f"the image has {image.dtype} values from {low:g} to {high:g}; expected integers from 0 to 255 or floats from "
        "0 to 1: scale it, and convert it with image.astype('uint8')"
    )
