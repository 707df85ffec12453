"""mien: facial expression recognition. We name what a face shows, never what a person feels."""

from mien.errors import MienError
from mien.structures import Box, Expression, Face, Frame, Prediction

__all__ = ["Box", "Expression", "Face", "Frame", "MienError", "Prediction"]
__version__ = "0.1.0"
