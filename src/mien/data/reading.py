"""How to read a dataset, as plain data; imports nothing heavy, for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.structures import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options of reading a dataset, which a run records so that its data can be read again.

    Args:
        size: Resize the images to squares of this side in pixels; None keeps their common size.
        detector: Name in `vision.DETECTORS` of the detector that finds the face in each picture; None for crops.
        group_by: As in `read_dataset`.
        classes: As in `read_dataset`.
        image_column: As in `read_dataset`.
        label_column: As in `read_dataset`.
        split_column: As in `read_dataset`.
    """

    size: int | None = None
    detector: str | None = None
    group_by: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None

    def for_model(self, size: int) -> Reading:
        """Return the options for a model of this input size, so that crops are resized once, as by `Recognizer`."""
        return self if self.detector is None else replace(self, size=size)

    def read(self, path: Path, *, votes: Path | None = None, progress: Progress | None = None) -> Dataset:
        """Read a dataset; see `read_dataset`."""
        from mien.data.photographs import FaceCropper
        from mien.data.readers import read_dataset

        return read_dataset(
            path,
            size=self.size,
            votes=votes,
            cropper=None if self.detector is None else FaceCropper(self.detector),
            group_by=self.group_by,
            classes=self.classes or None,
            image_column=self.image_column,
            label_column=self.label_column,
            split_column=self.split_column,
            progress=progress,
        )

    def facts(self, dataset: Dataset) -> dict[str, object]:
        """Return the options that were given, with the detector that was used: Haar, if YuNet could not be fetched."""
        given = {name: value for name, value in asdict(self).items() if value}
        used = {} if self.detector is None or dataset.found is None else {"detector": dataset.found.detector}
        return given | used


AS_CROPS = Reading()  # images as they are, each of one face


def parse_classes(text: str) -> dict[str, str]:
    """Parse names of classes: "1=surprise,2=fear"; an empty text gives none.

    Raises:
        ConfigError: A part has not this form, or a class is named twice.
    """
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if any(not number.strip() or not name.strip() for number, _, name in pairs):
        raise ConfigError(f"--classes is '{text}'; expected pairs of a class and its name, such as 1=surprise,2=fear")
    classes = {number.strip(): name.strip() for number, _, name in pairs}
    if len(classes) < len(pairs):
        raise ConfigError(f"--classes is '{text}'; expected every class once")
    return classes
