"""Teachers: soft labels of a dataset's images, which a net learns beside the labels (extra: train)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import torch

from mien.data.arrays import Field, Schema, read_npz
from mien.data.dataset import Dataset
from mien.errors import DatasetError
from mien.files import as_path, atomic_path, sha256_of
from mien.labels import LabelSet
from mien.structures import BoolArray, FloatArray
from mien.training.targets import Distributions

FORMAT = "mien teacher 1"


class About(TypedDict):
    """The description inside a file of soft labels."""

    format: Literal["mien teacher 1"]
    fingerprint: str
    labels: Mapping[str, tuple[str, ...]]
    members: tuple[str, ...]


@dataclass(frozen=True)
class Teacher:
    """Soft labels of a dataset of n images.

    Args:
        fingerprint: `Dataset.fingerprint`.
        labels: Class names of each head, by its name.
        probabilities: Of each head, float32 (n, k); nan in the rows of images without soft labels.
        members: Names of the models that they are from.
    """

    fingerprint: str
    labels: Mapping[str, tuple[str, ...]]
    probabilities: Mapping[str, FloatArray] = field(repr=False)
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, rows in self.probabilities.items():
            if np.isinf(rows).any() or (rows < 0).any():
                raise DatasetError(f"soft labels of head '{name}' are not probabilities; expected 0 to 1, or nan")
            if rows.ndim != 2 or rows.shape[1] != len(self.labels[name]):
                raise DatasetError(f"soft labels of head '{name}' have shape {rows.shape}; expected a column per label")

    def select(self, rows: BoolArray) -> Teacher:
        """Return the soft labels of the images that a mask, bool (n,), selects."""
        chosen = {name: probabilities[rows] for name, probabilities in self.probabilities.items()}
        return Teacher(self.fingerprint, self.labels, chosen, self.members)

    def distributions(self, heads: Sequence[LabelSet], *, temperature: float) -> dict[str, Distributions]:
        """Return the softened labels for the heads that have them.

        Args:
            heads: Label sets of the net's heads.
            temperature: Probabilities become p^(1/temperature), scaled to sum to 1.
        """
        softened = {}
        for name in [labels.name for labels in heads if self.labels.get(labels.name) == labels.labels]:
            rows = torch.from_numpy(self.probabilities[name])
            counted = ~rows.isnan().any(1)
            powers = rows.nan_to_num().pow(1 / temperature)
            softened[name] = Distributions(powers / powers.sum(1, keepdim=True).clamp(min=1e-9), counted.float())
        return softened


def save_teacher(teacher: Teacher, path: str | Path) -> None:
    """Write soft labels to an .npz of plain arrays, in half precision.

    Raises:
        OutputError: The file cannot be written.
    """
    about = {"format": FORMAT, "fingerprint": teacher.fingerprint, "labels": teacher.labels, "members": teacher.members}
    arrays = {_array_of(name): rows.astype(np.float16) for name, rows in teacher.probabilities.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def read_teacher(path: str | Path, dataset: Dataset, heads: Sequence[LabelSet]) -> Teacher:
    """Read soft labels that `save_teacher` wrote.

    Args:
        path: The .npz file.
        dataset: The dataset they are for, all of it.
        heads: Label sets of the net's heads.

    Raises:
        DatasetError: The file cannot be read, is for another dataset, or has none of the heads.
    """
    path, kind, way_out = as_path(path), "a file of soft labels", "write one with `mien soft-labels`"
    about, arrays = read_npz(path, _schema, About, kind=kind, way_out=way_out)
    rows = {name: arrays[_array_of(name)].astype(np.float32) for name in about["labels"]}
    try:
        teacher = Teacher(about["fingerprint"], about["labels"], rows, about["members"])
    except DatasetError as error:
        raise DatasetError(f"'{path}' is not {kind} ({error}); {way_out}") from error
    if teacher.fingerprint != dataset.fingerprint or any(len(each) != len(dataset) for each in rows.values()):
        raise DatasetError(
            f"the soft labels '{path}' are for data with fingerprint {teacher.fingerprint[:12]}, "
            f"'{dataset.name}' has {dataset.fingerprint[:12]}; give the same --data first"
        )
    if not any(teacher.labels.get(head.name) == head.labels for head in heads):
        raise DatasetError(
            f"the soft labels '{path}' are of {', '.join(teacher.labels)}; "
            f"the net has {', '.join(head.name for head in heads)}"
        )
    return teacher


def _array_of(head: str) -> str:
    return f"head {head}"


def _schema(about: About) -> Schema:
    return {_array_of(name): Field(np.float16, 2) for name in about["labels"]}


def teacher_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file of soft labels.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        return sha256_of(Path(path))
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatasetError(f"cannot read the soft labels '{path}': {reason or error}") from error
