"""What can go wrong, as a tree that callers can catch at the height they want.

    MienError                  base of all below; the command line and the window catch this one
    ├── InputError             a picture, video or folder that cannot be read
    │   ├── UnreadablePicture  not a picture, truncated, or too large to decode
    │   └── CameraError        a camera or stream that is missing, busy or forbidden
    ├── DatasetError           a dataset whose layout, pixels or labels are not what the reader expects
    ├── ModelError             a model file that is not ONNX or whose spec is missing or unreadable
    │   ├── UnknownModel       no model of that name
    │   └── MissingSpec        an ONNX file of another origin, not adopted yet
    ├── ConfigError            a recipe or flag with an unknown key or a value out of range
    ├── RunError               a run folder that cannot be started, resumed or exported
    ├── OutputError            a result that cannot be written
    └── MissingExtra           an optional part that is not installed

Every message says what was wrong, what was expected, and what to do next.
"""

from __future__ import annotations


class MienError(Exception):
    """Base of all errors that mien raises on purpose."""


class InputError(MienError):
    """A picture, video or folder that cannot be read."""


class UnreadablePicture(InputError):
    """A file that is not a picture, is truncated, or is too large to decode."""


class CameraError(InputError):
    """A camera or stream that is missing, busy or forbidden."""


class DatasetError(MienError):
    """A dataset whose layout, pixels or labels are not what its reader expects."""


class ModelError(MienError):
    """A model file that is not ONNX or whose spec is missing or unreadable."""


class UnknownModel(ModelError):
    """No model of that name."""


class MissingSpec(ModelError):
    """An ONNX file without a spec: nobody said yet what its input and output mean."""


class ConfigError(MienError):
    """A recipe or flag with an unknown key or a value out of range."""


class RunError(MienError):
    """A run folder that cannot be started, resumed or exported."""


class OutputError(MienError):
    """A result that cannot be written."""


class MissingExtra(MienError):
    """An optional part of mien that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'mien[{extra}]'")
