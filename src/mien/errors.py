"""The exception hierarchy; callers catch it at the level they need.

    MienError                  base class; the command line and the window catch it
    ├── InputError             a picture, video, sound or folder that cannot be read, or an object in place of one
    │   ├── UnreadablePicture  not a picture, truncated, or too large to decode
    │   ├── NoSound            a video or picture without sound
    │   ├── CameraError        a camera or stream that is missing, busy or forbidden
    │   └── MicrophoneError    a microphone that is missing, busy or forbidden
    ├── DatasetError           a dataset with unexpected layout, pixels or labels
    ├── ModelError             a model that cannot be read, used or found, or has no such head
    │   ├── FetchError         a file that cannot be fetched from the network
    │   ├── UnknownModel       no model of that name
    │   └── MissingSpec        an ONNX file of another origin, not added yet
    ├── ConfigError            an invalid setting, option or argument
    ├── RunError               a run folder that cannot be started, resumed or exported
    ├── OutputError            a result or job folder that cannot be written or read
    │   └── UnwritableImage    an image that the format of a picture or video cannot hold
    ├── ServiceError           a service or cluster that refuses a request, or cannot be reached
    └── MissingExtra           an optional part that is not installed

Every message names the problem, the expected input, and the next step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mien.escape import shell_word, visible

__all__ = [
    "CameraError",
    "ConfigError",
    "DatasetError",
    "FetchError",
    "InputError",
    "MicrophoneError",
    "MienError",
    "MissingExtra",
    "MissingSpec",
    "ModelError",
    "NoSound",
    "OutputError",
    "RunError",
    "ServiceError",
    "UnknownModel",
    "UnreadablePicture",
    "UnwritableImage",
]

CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


class MienError(Exception):
    """Base class of errors of files, models, settings and devices; metrics raise ValueError for invalid arrays."""

    reported = False  # whether another process prints it, one of several that train together


class InputError(MienError):
    """A picture, video, sound or folder that cannot be read; also an object in place of a path or image."""


class UnreadablePicture(InputError):
    """A file that is not a picture, is truncated, or is too large to decode."""


class NoSound(InputError):
    """A video or picture without sound."""


class CameraError(InputError):
    """A camera or stream that is missing, busy or forbidden."""


class MicrophoneError(InputError):
    """A microphone that is missing, busy or forbidden."""


class DatasetError(MienError):
    """A dataset with unexpected layout, pixels or labels."""


class ModelError(MienError):
    """A model that cannot be read, used or found, or has no such head."""


class FetchError(ModelError):
    """A file that cannot be fetched from the network; `reason` is the cause in a few words."""

    reason = ""


class UnknownModel(ModelError):
    """No model of that name."""


class MissingSpec(ModelError):
    """An ONNX file without a spec: the meaning of its input and output is unknown."""


class ConfigError(MienError):
    """An invalid setting, option or argument."""


class RunError(MienError):
    """A run folder that cannot be started, resumed or exported."""


class OutputError(MienError):
    """A result or job folder that cannot be written or read."""


class UnwritableImage(OutputError):
    """An image that the format of a picture or video cannot hold, such as one of too many pixels a side."""


class ServiceError(MienError):
    """A service or cluster that refuses a request, or cannot be reached.

    Args:
        detail: The message.
        status: HTTP status; None where there was no answer.
        code: Kind of problem: "unreadable-picture"; docs/guides/web.md lists them.
    """

    def __init__(self, detail: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(detail)
        self.status, self.code = status, code


class MissingExtra(MienError):
    """An optional part of mien that is not installed.

    Args:
        purpose: Subject of the message: "training".
        extra: Name of the extra.
        problem: Why it cannot be imported although it is installed.
    """

    def __init__(self, purpose: str, extra: str, problem: str = "") -> None:
        broken = f", which is installed but broken ({problem}); install it again" if problem else ""
        super().__init__(f"{purpose} needs the '{extra}' extra{broken}: {install_command(extra)}")
        self._given = purpose, extra, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given


@contextmanager
def needs(purpose: str, extra: str) -> Iterator[None]:
    """Name the extra to install if a package imported in the block is missing.

    Args:
        purpose: Subject of the message: "training".
        extra: Name of the extra.

    Raises:
        MissingExtra: A package of the extra is missing or broken.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("mien"):
            raise
        problem = "" if isinstance(error, ModuleNotFoundError) else visible(str(error))
        raise MissingExtra(purpose, extra, problem) from error


def install_command(extra: str) -> str:
    """Return the command that installs an extra from where mien was installed: a folder, a URL or a package index.

    pip notes a folder or URL in direct_url.json (PEP 610).
    """
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("mien").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # run from a source tree that is not installed
        origin = {"url": "file:.", "dir_info": {"editable": True}}
    editable = origin.get("dir_info", {}).get("editable", False)
    command = f"pip install {'-e ' if editable else ''}{shell_word(_requirement(extra, origin))}"
    if extra == "train" and sys.platform == "linux":
        command += f"; without an NVIDIA GPU add --extra-index-url {CPU_WHEELS}, which saves gigabytes of CUDA"
    return command


def _requirement(extra: str, origin: dict[str, Any]) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    url = origin.get("url", "")
    if url.startswith("file:"):
        return f"{url2pathname(urlsplit(url).path)}[{extra}]"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return f"mien[{extra}] @ {url}" if url else f"mien[{extra}]"
