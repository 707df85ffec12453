"""What the window remembers from one time to the next."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import platformdirs

from mien.files import atomic_path, make_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices in the window.

    Args:
        mode: "picture" or "camera".
        model: A model's name.
        detector: A detector's name.
        camera: What the camera's field said.
        folder: Where the last picture was opened or saved.
        probabilities: Whether the bars of each face are shown.
        dark: Whether the window is dark.
        geometry: Size and place of the window, as Tk has it; its default when empty.
    """

    mode: str = "picture"
    model: str = "base"
    detector: str = "haar"
    camera: str = ""
    folder: str = ""
    probabilities: bool = True
    dark: bool = False
    geometry: str = ""


def settings_path() -> Path:
    """Return the file that settings are kept in."""
    return platformdirs.user_config_path("mien") / "window.json"


def load_settings(path: Path) -> Settings:
    """Read settings; what is missing, or not what it should be, is as at the first start."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return Settings()
    if not isinstance(stored, dict):
        return Settings()
    kinds = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    return Settings(**{name: value for name, value in stored.items() if type(value) is kinds.get(name)})


def save_settings(settings: Settings, path: Path) -> None:
    """Write settings, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
