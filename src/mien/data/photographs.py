"""Photographs as data: find the face in each picture and crop it as the recogniser does."""

from __future__ import annotations

from typing import get_args

from mien.data.dataset import Several
from mien.errors import ConfigError
from mien.pixels import to_rgb
from mien.structures import Box, Face, ImageArray
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector, detector_name, load_detector
from mien.vision.rotated import detect_rotated

# Haar's box of a face as a share of the shorter side of the image, measured: .81 (median) in crops of FER2013, .78 in
# mien's drawn faces, .63 in its cartoons (2 % below .5). Labeled Faces in the Wild has .45: its photographs are
# Haar's boxes "scaled by 2.2" (Huang et al. 2007).
SMALL_FACE = 0.5
# Longer side by the shorter one: squeezing by 1.2 costs base 2.5 of 72.8 % on 600 images of FER2013's valid split, by
# 1.33 6.5, by 1.1 at most 1.2.
OBLONG = 1.2
SAMPLE = 16  # images that are searched for small faces
MIN_OVERLAP = 0.3  # IoU of a detected face with the box that a dataset gives


class FaceCropper:
    """Finds the face in a picture and crops it as `Recognizer` does.

    Args:
        detector: A detector, or a name in `vision.DETECTORS`. "auto" is YuNet, or Haar, with a warning, where YuNet
            cannot be fetched.
        geometry: `ModelSpec.crop` of the model that the crops are for.
        several: What to do with a picture of several faces: take the "largest", or "skip" the picture.

    Raises:
        ConfigError: Unknown detector, or unknown choice for pictures of several faces.
        ModelError: The detector is "yunet", and its file cannot be fetched or read.
    """

    def __init__(
        self, detector: FaceDetector | str, *, geometry: str = "fer2013", several: Several = "largest"
    ) -> None:
        if several not in get_args(Several):
            raise ConfigError(f"several is '{several}'; choose from {', '.join(get_args(Several))}")
        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.geometry = geometry
        self.several: Several = several

    def __repr__(self) -> str:
        return f"FaceCropper({self.name!r}, geometry={self.geometry!r}, several={self.several!r})"

    @property
    def name(self) -> str:
        """Name of the detector."""
        return detector_name(self.detector)

    def crop(self, image: ImageArray, *, near: Box | None = None) -> tuple[ImageArray | None, int]:
        """Return the crop of a picture's face, and the number of faces found.

        Args:
            image: RGB uint8 (H, W, 3), or grey (H, W).
            near: Box of the face that is meant, where the dataset gives one: the detected face with the largest
                overlap is taken, and others don't count.

        Returns:
            The crop, RGB or grey like the picture; None without a face, or with several that are skipped.
        """
        rgb = to_rgb(image)
        faces = detect_rotated(self.detector, rgb)
        if near is not None:
            faces = sorted(faces, key=lambda face: -face.box.iou(near))[:1]
            faces = [face for face in faces if face.box.iou(near) >= MIN_OVERLAP]
        if not faces or (len(faces) > 1 and self.several == "skip"):
            return None, len(faces)
        largest = max(faces, key=lambda face: face.box.area)
        return _cropped(rgb, largest, self.geometry, grey=image.ndim == 2), len(faces)


def crop_box(image: ImageArray, box: Box) -> ImageArray:
    """Return the square crop around a box that a dataset gives, framed like a box of the Haar detector."""
    return _cropped(to_rgb(image), Face(box, score=1.0), "fer2013", grey=image.ndim == 2)


def _cropped(rgb: ImageArray, face: Face, geometry: str, *, grey: bool) -> ImageArray:
    (crop,) = crop_faces(rgb, [face], geometry=geometry)
    return crop[..., 0] if grey else crop


def sign_of_photograph(image: ImageArray, detector: FaceDetector) -> str:
    """Return why an image seems to be a photograph and no crop; "" if it may be a crop.

    Args:
        image: RGB uint8 (H, W, 3) or grey (H, W).
        detector: The Haar detector, which `SMALL_FACE` was measured with.
    """
    short, long = sorted(image.shape[:2])
    if long > OBLONG * short:
        return "not square, and would be squeezed"
    sides = [face.box.width for face in detector.detect(to_rgb(image))]
    return "with a face below half of the width" if sides and max(sides) < SMALL_FACE * short else ""
