"""PyInstaller finds the hook of this folder by the entry point "pyinstaller40"; so apps that use mien freeze as is."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Return the folder of the hook."""
    return [str(Path(__file__).parent)]
