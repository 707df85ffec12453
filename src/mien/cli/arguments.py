"""What several commands take: options of the same name and meaning, and the dataset that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import err, escaped, notice

if TYPE_CHECKING:
    from mien.data.dataset import Dataset

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ModelsDir = Annotated[Path | None, typer.Option("--models", help="Directory of your models.", metavar="DIR")]
Data = Annotated[
    str | None, typer.Option("--data", help="Dataset: file, folder or zip; $MIEN_DATA if not given.", metavar="PATH")
]
Model = Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.")]
Labels = Annotated[str | None, typer.Option(help="Label set, for models that have two.")]
Detector = Annotated[str, typer.Option(help="haar, yunet, whole, …; an unknown name lists them all.")]
MinScore = Annotated[float | None, typer.Option(help="Leave out faces the detector is less sure of.")]
MinConfidence = Annotated[float, typer.Option(help="Answer 'uncertain' where no expression is as probable as this.")]
Top = Annotated[int, typer.Option(min=1, help="How many expressions to show for each face.")]
Votes = Annotated[Path | None, typer.Option(help="FER+ votes (fer2013new.csv); found by itself beside the data.")]


def read_data(argument: str | None, votes: Path | None, *, size: int | None = None) -> tuple[Dataset, Path]:
    """Read the dataset that an argument names, or $MIEN_DATA; return its path too."""
    from mien.data.info import describe_held_out
    from mien.data.readers import data_path, read_dataset

    path = data_path(argument)
    with err.status(f"reading {escaped(str(path))}"):
        dataset = read_dataset(path, votes=votes, size=size)
    if dataset.held_out:
        notice("note:", describe_held_out(dataset))
    return dataset, path
