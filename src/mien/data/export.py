"""Export a dataset to class folders of PNG files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from mien.data.dataset import SPLITS, Dataset
from mien.errors import DatasetError
from mien.files import atomic_folder, make_empty_folder, make_folder
from mien.pixels import encode
from mien.structures import Progress


def export_folders(dataset: Dataset, folder: str | Path, *, progress: Progress | None = None) -> None:
    """Write a dataset as `<split>/<class>/<n>.png`, n being the index in the dataset; `read_dataset` reads it back.

    Pixels, labels and splits are kept. The raters' votes and classes without an image are lost, with a warning. Another
    warns of an empty valid or test split, since `read_dataset` holds 10 % of train out in its place.

    Args:
        dataset: All its splits are written.
        folder: A new or an empty one.
        progress: Called with (done, all) after each image.

    Raises:
        DatasetError: A label cannot be a folder's name.
        OutputError: The folder holds files already, or cannot be written to.
    """
    _check_labels(dataset)
    with atomic_folder(make_empty_folder(folder)) as temporary:
        for split, label in np.argwhere(dataset.counts()).tolist():
            make_folder(temporary / SPLITS[split] / dataset.labels.labels[label])
        digits = len(str(max(len(dataset) - 1, 0)))
        for i, image in enumerate(dataset.images):
            place = temporary / SPLITS[dataset.splits[i]] / dataset.labels.labels[dataset.targets[i]]
            data = encode(place, ".png", image[..., 0] if image.shape[2] == 1 else image)
            (place / f"{i:0{digits}}.png").write_bytes(data)
            if progress is not None:
                progress(i + 1, len(dataset))
    _warn_of_losses(dataset)


def _check_labels(dataset: Dataset) -> None:
    for label in dataset.labels:
        if label.startswith(".") or label == "__MACOSX" or set(label) & set('/\\:*?"<>|'):
            raise DatasetError(f"label '{label}' of '{dataset.name}' cannot be a folder's name; rename the class")


def _warn_of_losses(dataset: Dataset) -> None:
    if dataset.votes is not None:
        warnings.warn("class folders hold no FER+ votes; they are left out", stacklevel=3)
    empty = [label for label, n in zip(dataset.labels, dataset.counts().sum(axis=0), strict=True) if not n]
    if empty:
        warnings.warn(f"classes without an image have no folder and are lost: {', '.join(empty)}", stacklevel=3)
    for split, count in zip(SPLITS[1:], dataset.counts().sum(axis=1)[1:], strict=True):
        if not count:
            warnings.warn(
                f"'{dataset.name}' has no {split} split; reading the folder will hold 10 % of train out",
                stacklevel=3,
            )
