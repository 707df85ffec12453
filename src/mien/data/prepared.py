"""Prepared datasets: one uncompressed .npz of plain arrays, never a pickle, which loads in an instant."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np

from mien.data.arrays import Field, read_npz
from mien.data.dataset import SPLITS, Dataset, FoundFaces, PictureLabel, Several, Split
from mien.data.reading import AS_CROPS, Reading
from mien.errors import DatasetError, OutputError
from mien.files import as_path, atomic_path
from mien.labels import LabelSet
from mien.settings import Range

SUFFIX = ".npz"
FORMAT = 1
SCHEMA = {
    "images": Field(np.uint8, 4), "targets": Field(np.int64, 1), "splits": Field(np.int8, 1),
    "votes": Field(np.float32, 2, required=False), "names": Field(np.str_, 1, required=False),
    "groups": Field(np.str_, 1, required=False),
}  # fmt: skip


class FoundAbout(TypedDict):
    """Record of the face detection; a picture is file, split and label."""

    detector: str
    several: Several
    n_pictures: Annotated[int, Range(0)]
    missed: tuple[tuple[str, ...], ...]
    crowded: tuple[tuple[str, ...], ...]


class Basics(TypedDict):
    """Required keys of the JSON text in a prepared dataset."""

    format: Literal[1]
    name: str
    label_set: str
    labels: tuple[str, ...]


class About(Basics, total=False):
    """JSON text in a prepared dataset."""

    found: FoundAbout
    held_out: tuple[Split, ...]


def prepare(dataset: Dataset, path: str | Path) -> None:
    """Write a dataset to one file, atomically; `read_dataset` reads it back.

    Args:
        dataset: All of it is written, votes, names and groups included.
        path: Ends in .npz.

    Raises:
        OutputError: The path has another suffix, or the file cannot be written.
    """
    path = as_path(path)
    check_target(path)
    about: dict[str, object] = {
        "format": FORMAT, "name": dataset.name, "label_set": dataset.labels.name, "labels": [*dataset.labels],
    }  # fmt: skip
    if dataset.held_out:
        about["held_out"] = list(dataset.held_out)
    if dataset.found is not None:
        about["found"] = asdict(dataset.found)
    arrays = {name: getattr(dataset, name) for name in SCHEMA if getattr(dataset, name) is not None}
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
    return os.path.isfile(path) and path.suffix.lower() == SUFFIX


def read(path: Path, reading: Reading = AS_CROPS, *, votes: Path | None = None) -> Dataset:
    """Read a file written by `prepare`.

    Args:
        path: A prepared dataset.
        reading: Only `size` counts: squares of this side in pixels.
        votes: Must be None, since the file contains its votes.

    Raises:
        DatasetError: The file is not a prepared dataset, or votes are given.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' is prepared and cannot take the votes '{votes}'; pass them when preparing it")
    kind, way_out = "a prepared dataset", "prepare it again"
    about, arrays = read_npz(path, SCHEMA, About, kind=kind, way_out=way_out)
    try:
        faces = about.get("found")
        dataset = Dataset(
            name=about["name"],
            labels=LabelSet(about["label_set"], about["labels"]),
            found=None if faces is None else _found_faces(faces),
            images=arrays["images"],
            targets=arrays["targets"],
            splits=arrays["splits"],
            held_out=about.get("held_out", ()),
            votes=arrays.get("votes"),
            names=arrays.get("names"),
            groups=arrays.get("groups"),
        )
    except DatasetError as error:
        raise DatasetError(f"'{path}' is not {kind} ({error}); {way_out}") from error
    return dataset if reading.size is None else dataset.resized(reading.size)


def _found_faces(about: FoundAbout) -> FoundFaces:
    """Return the record of face detection from its JSON."""
    missed, crowded = (tuple(map(_picture_label, about[part])) for part in ("missed", "crowded"))
    return FoundFaces(
        detector=about["detector"],
        several=about["several"],
        n_pictures=about["n_pictures"],
        missed=missed,
        crowded=crowded,
    )


def _picture_label(texts: Sequence[str]) -> PictureLabel:
    if len(texts) != 3 or texts[1] not in SPLITS:
        raise DatasetError(f"a picture is {list(texts)}; expected its file, split and label")
    return PictureLabel(texts[0], texts[1], texts[2])
