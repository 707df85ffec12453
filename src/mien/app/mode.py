"""The interface of the window's two modes."""

from __future__ import annotations

from typing import Protocol

from mien.structures import ImageArray


class Mode(Protocol):
    """One mode of the window: pictures, or a camera. Only the open one shows anything."""

    def open(self) -> None:
        """Show the mode's buttons and its last image."""

    def close(self) -> None:
        """Hide the buttons, and stop a camera that runs."""

    def show(self) -> None:
        """Show the mode's image and charts, or a hint where there is none yet."""

    def charts(self) -> list[ImageArray]:
        """Draw the charts of the side panel."""

    def save(self) -> None:
        """Save the image with its faces boxed and named."""

    def save_faces(self) -> None:
        """Save each face as a picture of its own."""

    def status(self) -> str:
        """Return the sentence for the status line."""

    def recognizer_changed(self) -> None:
        """Use the model and detector that were just loaded."""
