"""mien: facial expression recognition. We name what a face shows, never what a person feels."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mien.errors import MienError
from mien.labels import LabelSet
from mien.structures import Box, Expression, Face, Frame, Prediction

if TYPE_CHECKING:
    from mien.camera import Camera
    from mien.live import Live
    from mien.recognizer import Recognizer
    from mien.sources import frames, read_picture
    from mien.vision.draw import draw

__all__ = [
    "Box", "Camera", "Expression", "Face", "Frame", "LabelSet", "Live", "MienError", "Prediction", "Recognizer", "draw",
    "frames", "read_picture",
]  # fmt: skip
__version__ = "0.1.0"

# What needs OpenCV or ONNX Runtime is imported when it is first asked for, so that `import mien` stays quick.
_LAZY = {
    "Camera": "mien.camera",
    "Live": "mien.live",
    "Recognizer": "mien.recognizer",
    "draw": "mien.vision.draw",
    "frames": "mien.sources",
    "read_picture": "mien.sources",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'mien' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
