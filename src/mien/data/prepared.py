"""Prepared datasets: one uncompressed .npz of plain arrays, never a pickle, which loads in an instant."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mien.data.dataset import Dataset, FoundFaces, PictureLabel, Several
from mien.errors import DatasetError, OutputError
from mien.files import atomic_path
from mien.labels import LabelSet

SUFFIX = ".npz"
FORMAT = 1
TYPES = {
    "images": np.uint8, "targets": np.int64, "splits": np.int8, "votes": np.float32,
    "names": np.str_, "groups": np.str_,
}  # fmt: skip


def prepare(dataset: Dataset, path: str | Path) -> None:
    """Write a dataset to one file, atomically; `read_dataset` reads it back.

    Args:
        dataset: All of it is written, votes, names and groups included.
        path: Ends in .npz.

    Raises:
        OutputError: The path has another suffix, or the file cannot be written.
    """
    path = Path(path)
    check_target(path)
    about: dict[str, object] = {
        "format": FORMAT, "name": dataset.name, "label_set": dataset.labels.name, "labels": [*dataset.labels],
    }  # fmt: skip
    if dataset.found is not None:
        about["found"] = asdict(dataset.found)
    arrays = {name: getattr(dataset, name) for name in TYPES if getattr(dataset, name) is not None}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def check_target(path: Path) -> None:
    """Make sure that a path has the suffix of a prepared dataset.

    Raises:
        OutputError: It has another.
    """
    if path.suffix.lower() != SUFFIX:
        raise OutputError(f"cannot prepare '{path}': unknown suffix; expected a name that ends in {SUFFIX}")


def can_read(path: Path) -> bool:
    """Return whether the path is a file with the suffix of a prepared dataset."""
    return path.is_file() and path.suffix.lower() == SUFFIX


def read(path: Path, *, size: int | None = None, votes: Path | None = None) -> Dataset:
    """Read a file written by `prepare`.

    Args:
        path: A prepared dataset.
        size: Resize the images to squares of this side in pixels.
        votes: Must be None, since the file contains its votes.

    Raises:
        DatasetError: The file is not a prepared dataset, or votes are given.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' is prepared and cannot take the votes '{votes}'; pass them when preparing it")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not an .npz archive, or a truncated one")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            found = {name: arrays[name] for name in TYPES if name in arrays}
        if about["format"] != FORMAT or any(array.dtype.type is not TYPES[name] for name, array in found.items()):
            raise ValueError("written by another version of mien")
        labels = LabelSet(about["label_set"], tuple(about["labels"]))
        faces = about.get("found")
        dataset = Dataset(
            name=about["name"], labels=labels, found=None if faces is None else _found_faces(**faces), **found
        )
    except (
        OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile, DatasetError
    ) as error:  # fmt: skip
        raise DatasetError(f"'{path}' is not a prepared dataset ({error}); prepare it again") from error
    return dataset if size is None else dataset.resized(size)


def _found_faces(
    *,
    detector: str,
    several: Several,
    n_pictures: int,
    missed: Sequence[PictureLabel],
    crowded: Sequence[PictureLabel],
) -> FoundFaces:
    """Return the record of face detection from its JSON."""
    return FoundFaces(
        detector=detector,
        several=several,
        n_pictures=n_pictures,
        missed=tuple(PictureLabel(*picture) for picture in missed),
        crowded=tuple(PictureLabel(*picture) for picture in crowded),
    )
