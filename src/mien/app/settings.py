"""The choices that the window remembers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from mien.files import atomic_path, make_folder, user_folder
from mien.models.spec import DEFAULT_MODEL


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
    kinds = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    valid = {name: value for name, value in stored.items() if type(value) is kinds.get(name)}
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
