"""Options shared by several commands, and the objects that they name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mien.cli.console import bar, notice, waiting
from mien.data.reading import AS_CROPS, Reading, parse_classes
from mien.errors import ConfigError
from mien.files import matching, obstacle

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.recognizer import Recognizer
    from mien.voice.listener import Listener


def existing_models(folder: Path | None) -> Path | None:
    """Return the directory of --models.

    Raises:
        ConfigError: There is none.
    """
    if folder is not None and not os.path.isdir(folder):
        raise ConfigError(f"no directory '{folder}' for --models{obstacle(folder)}; check the path")
    return folder


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[Path | None, typer.Option(help="Write a CSV table, one row per face; - for stdout.", metavar="FILE")]
Jsonl = Annotated[Path | None, typer.Option(help="Write JSON lines, one per frame; - for stdout.", metavar="FILE")]
Excel = Annotated[
    bool, typer.Option("--excel", help="Begin the CSV table with a byte order mark, by which Excel reads it as UTF-8.")
]
ModelsDir = Annotated[
    Path | None,
    typer.Option("--models", help="Directory of your own models.", metavar="DIR", callback=existing_models),
]
NewModelsDir = Annotated[
    Path | None, typer.Option("--models", help="Directory of your own models; made where missing.", metavar="DIR")
]
NewModel = Annotated[
    str, typer.Option("--out", help="Name to install it under, or an .onnx file to write.", metavar="NAME")
]
Data = Annotated[
    str | None,
    typer.Option("--data", help="Dataset: file, folder or archive; $MIEN_DATA if not given.", metavar="PATH"),
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
Device = Annotated[
    str,
    typer.Option(help="Where the classifier runs: cpu, cuda, coreml, directml, openvino or auto.", metavar="DEVICE"),
]
ALONE, LOCAL = "default", "local"  # values of --voice and --ray
STANDING_ALONE = {"--voice": ALONE, "--ray": LOCAL}  # options that may stand alone, with their values there
Top = Annotated[int, typer.Option(min=1, help="Number of labels shown per face.", metavar="N")]
Votes = Annotated[
    Path | None, typer.Option(help="FER+ votes (fer2013new.csv); looked up beside the data if not given.")
]


READING = {  # the options that `reads_data` adds to a command
    "detector": Annotated[
        str | None,
        typer.Option(
            "--detector", help="Find the faces in photographs: auto, yunet, haar, …; without it images are face crops.",
            metavar="NAME",
        ),
    ],
    "group_by": Annotated[
        str | None,
        typer.Option(
            "--group-by",
            help="Keep a person in one split where splits are drawn: name, for files like Ada_0001.jpg, or a column of "
            "the label table.",
            metavar="name|COLUMN",
        ),
    ],
    "classes": Annotated[
        str | None,
        typer.Option("--classes", help="Name numbered classes: 1=surprise,2=fear,…", metavar="NUMBER=NAME,…"),
    ],
    "image_column": Annotated[
        str | None, typer.Option("--image-column", help="Label table: column of the pictures.", metavar="COLUMN")
    ],
    "label_column": Annotated[
        str | None, typer.Option("--label-column", help="Label table: column of the labels.", metavar="COLUMN")
    ],
    "split_column": Annotated[
        str | None, typer.Option("--split-column", help="Label table: column of the splits.", metavar="COLUMN")
    ],
}  # fmt: skip


def model_file(model: str) -> Path | None:
    """Return the file that --model names by its path; None for a name from `mien models`."""
    return Path(model) if model.endswith(".onnx") else None


def check_outputs(csv: Path | None, jsonl: Path | None, *, as_json: bool, excel: bool) -> None:
    """Raise ConfigError for options of results that don't go together."""
    if excel and csv is None:
        raise ConfigError("--excel needs --csv; add --csv FILE or omit --excel")
    printed = {"--json": as_json, "--csv -": csv == Path("-"), "--jsonl -": jsonl == Path("-")}
    if sum(printed.values()) > 1:
        names = " and ".join(name for name, given in printed.items() if given)
        raise ConfigError(f"{names} write to standard output; choose one")


def open_recognizer(
    model: str,
    detector: str,
    min_score: float | None,
    labels: str | None,
    min_confidence: float,
    models_dir: Path | None,
    device: str = "cpu",
) -> Recognizer:
    """Return the recogniser that the options above name."""
    from mien.recognizer import Recognizer
    from mien.vision.detect import load_detector

    faces = load_detector(detector, min_score=min_score)
    return Recognizer(faces, model, labels=labels, min_confidence=min_confidence, models_dir=models_dir, device=device)


def open_listener(model: str, min_confidence: float, models_dir: Path | None) -> Listener:
    """Return the listener with a voice model, by its name or file; `ALONE` is the default one."""
    from mien.models.spec import DEFAULT_VOICE
    from mien.voice.listener import Listener

    name = DEFAULT_VOICE if model == ALONE else model
    return Listener(name, min_confidence=min_confidence, models_dir=models_dir)


@dataclass(frozen=True)
class ModelTarget:
    """A model to be written, as --out names it.

    Args:
        name: Its name.
        path: Its file.
        called: How `--model` names it.
        installed: Whether it goes into the user's models directory.
    """

    name: str
    path: Path
    called: str
    installed: bool

    def prepare(self) -> None:
        """Make the models directory where it is missing, and say which model the new one will replace or hide.

        Raises:
            OutputError: The models directory cannot be made, or the folder of a file is missing.
        """
        from mien.files import check_folder_of, make_folder

        if not self.installed:
            check_folder_of(self.path)
            return
        make_folder(self.path.parent)
        note_installed(self.name, own_models(self.path.parent))


def own_models(folder: Path, *, without: Path | None = None) -> set[str]:
    """Return the names of the models in a user's models directory, which may be missing, but for one file."""
    left_out = without and without.resolve()
    return {path.stem for path in matching(folder, "*.onnx") if path.resolve() != left_out}


def note_installed(name: str, own: Set[str]) -> None:
    """Tell the user if a model of this name takes the place of another.

    Args:
        name: Of the model.
        own: Names of the models that were in the user's models directory before.
    """
    from mien.models.store import is_shipped

    if name in own:
        notice("note:", f"'{name}' replaces your model of that name; choose another name to keep both")
    elif is_shipped(name):
        notice("note:", f"'{name}' hides the shipped model of that name; choose another name to keep both")


def model_target(out: str, models_dir: Path | None) -> ModelTarget:
    """Return the model that --out names: to be installed, or an .onnx file.

    Raises:
        ModelError: No model can be called so.
        ConfigError: It is a file of another kind.
    """
    from mien.models.store import check_name, models_folder

    installed = not out.endswith(".onnx")
    if installed and (suffix := Path(out).suffix)[1:].isalpha():  # "mine-1.2" is a name
        raise ConfigError(f"--out is '{out}', but no model ends in {suffix}; give a name, or a file that ends in .onnx")
    name = out if installed else Path(out).stem
    check_name(name)
    path = models_folder(models_dir) / f"{name}.onnx" if installed else Path(out)
    return ModelTarget(name, path, name if installed and models_dir is None else str(path), installed)


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command that reads a dataset: the options of `READING` take the place of its parameter `reading`."""
    parameters = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        options = READING.items() if parameter.name == "reading" else [(parameter.name, parameter.annotation)]
        default = None if parameter.name == "reading" else parameter.default
        parameters += [parameter.replace(name=name, annotation=option, default=default) for name, option in options]

    @wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in READING}
        classes = parse_classes(given.pop("classes") or "")
        command(**arguments, reading=Reading(**given, classes=classes))

    typer_reads = cast(Any, run)
    typer_reads.__signature__ = inspect.Signature(parameters)
    typer_reads.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def readings_for(places: Sequence[str | None], reading: Reading) -> list[Reading]:
    """Return the options for each of several datasets, without those that it doesn't take.

    A single dataset must take them all.

    Raises:
        ConfigError: An option is for none of them.
    """
    from mien.data.readers import data_path, without_refused

    if len(places) < 2 or reading == AS_CROPS:
        return [reading] * len(places)
    chosen = [without_refused(reading, data_path(place)) for place in places]
    for name in READING:
        if getattr(reading, name) and not any(getattr(one, name) for one in chosen):
            raise ConfigError(f"none of the datasets takes --{name.replace('_', '-')}; leave it out")
    return chosen


def read_data(
    argument: str | None,
    votes: Path | None,
    reading: Reading = AS_CROPS,
    *,
    note: bool = True,
) -> tuple[Dataset, Path]:
    """Read the dataset that an argument names, or $MIEN_DATA; return its path too.

    Args:
        argument: Of --data.
        votes: Of --votes.
        reading: Options of `reads_data`.
        note: Print how many images of which class were held out.
    """
    from mien.data.info import describe_found, describe_held_out
    from mien.data.readers import data_path

    path = data_path(argument)
    if reading.detector is None:
        with waiting(f"reading {path}"):
            dataset = reading.read(path, votes=votes)
    else:
        with bar("finding faces") as progress:
            dataset = reading.read(path, votes=votes, progress=progress)
    notes = [describe_found(dataset) if reading.detector else "", describe_held_out(dataset) if note else ""]
    for text in filter(None, notes):
        notice("note:", text)
    return dataset, path
