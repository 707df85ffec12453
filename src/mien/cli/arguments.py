"""Options shared by several commands, and the objects that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import err, escaped, notice

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.recognizer import Recognizer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[Path | None, typer.Option(help="Write a CSV table, one row per face; - for stdout.", metavar="FILE")]
Jsonl = Annotated[Path | None, typer.Option(help="Write JSON lines, one per frame; - for stdout.", metavar="FILE")]
ModelsDir = Annotated[Path | None, typer.Option("--models", help="Directory of your own models.", metavar="DIR")]
Data = Annotated[
    str | None, typer.Option("--data", help="Dataset: file, folder or zip; $MIEN_DATA if not given.", metavar="PATH")
]
Model = Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.", metavar="MODEL")]
Labels = Annotated[
    str | None, typer.Option(help="Label set, for models with several; see `mien models`.", metavar="NAME")
]
Detector = Annotated[
    str,
    typer.Option(
        help="Face detector: auto (YuNet, or Haar where YuNet cannot be fetched), yunet, haar, whole (the image is one "
        "face), …",
        metavar="NAME",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        help="Minimum detector score of a face, 0 to 1; the detector's default if not given.", metavar="SCORE"
    ),
]
MinConfidence = Annotated[
    float, typer.Option(help="Below this probability, 0 to 1, an expression is 'uncertain'.", metavar="P")
]
Top = Annotated[int, typer.Option(min=1, help="Number of expressions shown per face.", metavar="N")]
Votes = Annotated[
    Path | None, typer.Option(help="FER+ votes (fer2013new.csv); looked up beside the data if not given.")
]


def open_recognizer(
    model: str,
    detector: str,
    min_score: float | None,
    labels: str | None,
    min_confidence: float,
    models_dir: Path | None,
) -> Recognizer:
    """Return the recogniser that the options above name."""
    from mien.recognizer import Recognizer
    from mien.vision.detect import load_detector

    faces = load_detector(detector, min_score=min_score)
    return Recognizer(faces, model, labels=labels, min_confidence=min_confidence, models_dir=models_dir)


def read_data(
    argument: str | None, votes: Path | None, *, size: int | None = None, note: bool = True
) -> tuple[Dataset, Path]:
    """Read the dataset that an argument names, or $MIEN_DATA; return its path too."""
    from mien.data.info import describe_held_out
    from mien.data.readers import data_path, read_dataset

    path = data_path(argument)
    with err.status(f"reading {escaped(str(path))}"):
        dataset = read_dataset(path, votes=votes, size=size)
    if note and dataset.held_out:
        notice("note:", describe_held_out(dataset))
    return dataset, path
