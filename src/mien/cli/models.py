"""The commands `mien models`, `mien models add` and `mien convert`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from mien.cli.arguments import Json, NewModelsDir, existing_models, note_installed, own_models
from mien.cli.console import extra, new_table, notice, percent, print_json, print_table, say
from mien.errors import ConfigError
from mien.escape import shell_word
from mien.files import obstacle

if TYPE_CHECKING:
    from mien.models.spec import ModelSpec
    from mien.models.store import Model

LABELS_HELP = "Class names in the order of the outputs: angry,disgust,… or fer2013, ferplus."
Name = Annotated[str | None, typer.Option(help="Name of the model; the file's name if not given.")]
Licence = Annotated[str, typer.Option(help="Licence of the weights.")]
Equalize = Annotated[
    bool, typer.Option("--equalize", help="Images were histogram-equalised in training, as in the 2020 prototype.")
]

_TERMS = {  # of licences that ask for more than a notice
    "CC-BY-NC-SA-4.0": "for non-commercial use only; name its authors, see its card, and pass it on, changed or not, "
    "under the same licence: https://creativecommons.org/licenses/by-nc-sa/4.0/",
}

app = typer.Typer()


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False, models_dir: NewModelsDir = None) -> None:
    """List the installed models, shipped ones and your own, and add models.

    Example: `mien models`
    """
    if context.invoked_subcommand is not None:
        return
    from mien.models.store import list_models, user_dir

    existing_models(models_dir)
    found = list_models(models_dir, kind=None)
    if as_json:
        print_json([_json_row(model) for model in found])
        return
    _print_table(found)
    for model in found:
        if model.problem:
            notice("[yellow]not usable:[/]", model.problem)
    folder = models_dir or user_dir()
    say(f"your models: {folder}{obstacle(folder)}")


@app.command("add")
def models_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    labels: Annotated[str | None, typer.Option(help=LABELS_HELP)] = None,
    name: Name = None,
    size: Annotated[int | None, typer.Option(help="Side of the input in pixels, where the graph takes any.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for RGB, where the graph takes any.")] = None,
    normalize: Annotated[
        str | None, typer.Option(help="unit (÷ 255), signed, standardize, none, torch (ImageNet's), caffe, …")
    ] = None,
    equalize: Equalize = False,
    bgr: Annotated[bool, typer.Option("--bgr", help="The graph expects BGR.")] = False,
    mean: Annotated[str, typer.Option(help="Mean to subtract after --normalize: one number, or one per channel.")] = "",
    deviation: Annotated[
        str,
        typer.Option("--std", help="Standard deviation to divide by, after --mean: one number, or one per channel."),
    ] = "",
    graph_input: Annotated[
        str | None, typer.Option(help="float32-nchw, float32-nhwc, uint8-nhwc, …; the graph's if not given.")
    ] = None,
    graph_output: Annotated[
        str | None, typer.Option(help="logits or probabilities; inferred by a trial run if not given.")
    ] = None,
    output: Annotated[str, typer.Option("--output", help="Name of the output with the scores.", metavar="NAME")] = "",
    columns: Annotated[
        str, typer.Option(help="Columns of that output that hold the labels, from 0: 0-6, or 3,4,0.")
    ] = "",
    to: Annotated[
        Path | None, typer.Option("--out", help=".onnx file to write instead of installing the model.")
    ] = None,
    licence: Licence = "",
    models_dir: NewModelsDir = None,
) -> None:
    """Add an ONNX model: one of another project, with a description of its input and output, or one of mien's.

    Example: `mien models add net.onnx --labels angry,disgust,fear,happy,sad,surprise,neutral`
    """
    from mien.models.adopt import adopt_model, parse_columns, parse_numbers
    from mien.models.onnx_file import read_spec
    from mien.models.spec import Layout, Output
    from mien.models.store import models_folder
    from mien.targets import check_targets

    outer = context.parent.params["models_dir"] if context.parent else None  # mien models --models DIR add …
    check_targets([file], files=[to])
    own = own_models(models_folder(models_dir or outer), without=file)
    path = adopt_model(
        file,
        labels=labels,
        size=size,
        channels=channels,
        equalize=equalize,
        normalize=normalize,
        bgr=bgr,
        mean=parse_numbers(mean, "--mean") if mean else (),
        deviation=parse_numbers(deviation, "--std") if deviation else (),
        layout=_one_of(graph_input, Layout, "--graph-input"),
        output=_one_of(graph_output, Output, "--graph-output"),
        scores=output,
        columns=parse_columns(columns) if columns else (),
        name=name,
        license=licence,
        models_dir=models_dir or outer,
        target=to,
    )
    spec = read_spec(path)
    say(f"model: {path} ({_input(spec)}, {spec.graph.output}: {', '.join(spec.labels)})")
    if to is None:
        note_installed(path.stem, own)
    if terms := _TERMS.get(spec.license):
        notice("licence:", f"{spec.license}: {terms}")
    usable = shell_word(path.stem if to is None and not (models_dir or outer) else str(path))
    say(f"use it: {'mien listen FILE' if spec.kind == 'voice' else 'mien predict PHOTO'} --model {usable}")


def convert_command(
    file: Annotated[
        Path, typer.Argument(help="A Keras model: .h5, .hdf5 or .keras; or its weights (.h5) or architecture (.json).")
    ],
    labels: Annotated[str | None, typer.Option(help=LABELS_HELP)] = None,
    normalize: Annotated[
        str | None, typer.Option(help="Normalisation of pixels in training: unit (÷ 255), signed, none, caffe, …")
    ] = None,
    equalize: Equalize = False,
    name: Name = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; default: NAME.onnx, unless --install.")
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="JSON of the architecture, for weights alone; the one beside them if not given.")
    ] = None,
    install: Annotated[bool, typer.Option(help="Install it in your models directory.")] = False,
    licence: Licence = "",
    models_dir: NewModelsDir = None,
) -> None:
    """Convert a Keras model to one of mien's; needs neither Keras nor TensorFlow.

    Example: `mien convert model.h5 --labels fer2013 --install`
    """
    from mien.models.store import models_folder
    from mien.targets import check_targets

    with extra("converting", "keras"):
        from mien.convert.keras import convert

    check_targets([file, architecture], files=[to or (None if install else Path(f"{name or file.stem}.onnx"))])
    folder = models_folder(models_dir)
    own = own_models(folder)
    done = convert(
        file, to, labels=labels, name=name, normalize=normalize, equalize=equalize, license=licence,
        install=folder if install else None, architecture=architecture,
    )  # fmt: skip
    if done.parts:
        say("weights: {}, architecture: {}".format(*done.parts))
    say(f"model: {done.path} ({_input(done.spec)}, pixels {done.normalize}: {', '.join(done.spec.labels)})")
    if install:
        note_installed(done.spec.name, own)
    usable = done.spec.name if install and not models_dir else str(done.path)
    say(f"use it: mien predict PHOTO --model {shell_word(usable)}")


def _one_of(value: str | None, kinds: object, option: str) -> Any:
    """Return a value of a Literal type, or None."""
    if value is not None and value not in get_args(kinds):
        raise ConfigError(f"{option} is '{value}'; expected one of {', '.join(get_args(kinds))}")
    return value


def _json_row(model: Model) -> dict[str, object]:
    spec = model.spec
    return {
        "name": model.name,
        "path": str(model.path),
        "format": model.format,
        "kind": model.kind,
        "shipped": model.shipped,
        "hides_shipped": model.hides_shipped,
        "problem": model.problem,
        "labels": "" if spec is None else _labels(spec),
        "input": "" if spec is None else _input(spec),
        "accuracy": None if spec is None else _accuracy(spec),
        "data": "" if spec is None else _data(spec),
        "license": "" if spec is None else spec.license,
    }


def _print_table(found: Sequence[Model]) -> None:
    table = new_table("model", "kind", "labels", "input", "size", "accuracy", "licence", "from")
    table.columns[0].no_wrap = all(len(model.name) <= 20 for model in found)  # names are typed, so they stay whole
    for model in found:
        size, origin = _megabytes(model.path), "mien" if model.shipped else "you"
        if model.hides_shipped:
            origin = f"you; hides the shipped {model.name}"
        if model.spec is None:
            labels = "Keras, not converted yet" if model.format == "keras" else ""
            table.add_row(model.name, model.kind, labels, "", size, "", "", origin)
            continue
        spec, accuracy = model.spec, _accuracy(model.spec)
        recall = "recall " if model.kind == "voice" else ""
        measured = "" if accuracy is None else f"{recall}{percent(accuracy, 1)} on {_data(spec)}"
        table.add_row(model.name, model.kind, _labels(spec), _input(spec), size, measured, spec.license, origin)
    print_table(table)


def _megabytes(path: Path) -> str:
    try:
        return f"{path.stat().st_size / 1e6:.2g} MB"
    except OSError:  # a broken link, or a file that was just removed
        return ""


def _labels(spec: ModelSpec) -> str:
    return ", ".join(f"{head.labels.name} ({len(head.labels)})" for head in spec.heads)


def _input(spec: ModelSpec) -> str:
    if spec.temporal is not None:
        return f"probabilities of {spec.temporal.classifier}"
    if spec.sound is not None:
        return f"speech, {spec.sound.shortest:g} to {spec.sound.longest:g} s"
    size, colour = spec.preprocess.size, "grey" if spec.preprocess.channels == 1 else "RGB"
    return f"{size}×{size} {colour}" if spec.input == "image" else spec.input


def _accuracy(spec: ModelSpec) -> float | None:
    return spec.metrics.get("test/flip/accuracy" if spec.sound is None else "by-speaker/whole/uar")


def _data(spec: ModelSpec) -> str:
    return spec.trained_on.get("name", "unknown data")  # accuracies on different data can't be compared
