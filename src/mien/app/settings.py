"""The choices that the window remembers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from mien.errors import ConfigError
from mien.files import atomic_path, make_folder, user_folder
from mien.models.spec import DEFAULT_MODEL
from mien.settings import checked

GEOMETRY = re.compile(r"(\d{1,5})x(\d{1,5})([+-])(-?\d{1,5})([+-])(-?\d{1,5})", re.ASCII)  # "+-9": left of the screen


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices in the window.

    Args:
        mode: "picture" or "camera".
        model: Name of the model.
        labels: Name of its label set; the model's default one when empty.
        detector: Name of the detector.
        camera: Text of the camera's field.
        folder: Folder of the last file.
        probabilities: Whether the bars of each face are shown.
        dark: Whether the window is dark.
        geometry: Size and place of the window in Tk's form; the default ones when empty.
    """

    mode: str = "picture"
    model: str = DEFAULT_MODEL
    labels: str = ""
    detector: str = "auto"
    camera: str = ""
    folder: str = ""
    probabilities: bool = True
    dark: bool = False
    geometry: str = ""


def geometry_within(geometry: str, area: tuple[int, int, int, int], least: Sequence[int] = (1, 1)) -> str:
    """Return a remembered geometry, moved and shrunk into the screen, whose monitors may be fewer than they were.

    Args:
        geometry: In Tk's form: "900x600+10-20", where a minus counts from the right or the bottom.
        area: The screen's left, top, width and height in pixels.
        least: Minimum width and height of the window.

    Returns:
        In Tk's form; "" for a text of another form.
    """
    if not (match := GEOMETRY.fullmatch(geometry)):
        return ""
    width, height, *place = match.groups()
    sides = [min(max(int(side), low), room) for side, low, room in zip((width, height), least, area[2:], strict=True)]
    corner = []
    for side, low, room, sign, offset in zip(sides, area[:2], area[2:], place[::2], place[1::2], strict=True):
        start = int(offset) if sign == "+" else low + room - side - int(offset)
        corner.append(min(max(start, low), low + room - side))
    return "{}x{}+{}+{}".format(*sides, *corner)


def settings_path() -> Path:
    """Return the settings file."""
    return user_folder("config") / "window.json"


def load_settings(path: Path) -> Settings:
    """Read settings; a missing or invalid one has its default. Older files have "model, label set" in one."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Settings()
    if not isinstance(stored, dict):
        return Settings()
    valid = {}
    for field in fields(Settings):
        with suppress(KeyError, ConfigError):
            valid[field.name] = checked(type(field.default), stored[field.name], field.name)
    settings = Settings(**valid)
    model, comma, labels = settings.model.partition(", ")
    return replace(settings, model=model, labels=labels) if comma else settings


def save_settings(settings: Settings, path: Path) -> None:
    """Write settings, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
