"""Commands about the models at hand: `mien models`, and `mien convert`, which makes one of a Keras model."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import Json, ModelsDir
from mien.cli.console import extra, new_table, notice, out, say

if TYPE_CHECKING:
    from mien.models.spec import ModelSpec

app = typer.Typer(help="List models and add your own.", invoke_without_command=True)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False, models_dir: ModelsDir = None) -> None:
    """List the models at hand: shipped ones and your own.

    Example: `mien models`
    """
    if context.invoked_subcommand is not None:
        return
    from mien.models.store import list_models, user_dir

    found = list_models(models_dir, kind=None)
    if as_json:
        rows = [
            {
                "name": m.name,
                "path": str(m.path),
                "format": m.format,
                "kind": m.kind,
                "shipped": m.shipped,
                "problem": m.problem,
                **_spec_facts(m.spec),
            }
            for m in found
        ]
        print(json.dumps(rows, indent=2))
        return
    table = new_table("model", "labels", "input", "size", "accuracy", "licence", "from")
    table.columns[0].no_wrap = all(len(m.name) <= 20 for m in found)  # names are typed, so they stay in one piece
    for m in found:
        facts = _spec_facts(m.spec)
        accuracy = facts["accuracy"]
        labels = "Keras, not converted yet" if m.format == "keras" else str(facts["labels"])
        table.add_row(
            m.name, labels, str(facts["input"]), f"{m.path.stat().st_size / 1e6:.2g} MB",
            "" if accuracy is None else f"{accuracy:.1%} on {facts['data']}", str(facts["license"]),
            "mien" if m.shipped else "you",
        )  # fmt: skip
    out.print(table)
    for m in found:
        if m.problem:
            notice("[yellow]not usable:[/]", m.problem)
    say(f"your models: {models_dir or user_dir()}")


@app.command("add")
def models_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    labels: Annotated[
        str, typer.Option(help="Class names in the order of the outputs: angry,disgust,… or fer2013, ferplus.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if not given.")] = None,
    size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 48,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for RGB.")] = 1,
    normalize: Annotated[str, typer.Option(help="unit, signed, standardize or none.")] = "unit",
    graph_input: Annotated[str, typer.Option(help="float32-nchw, float32-nhwc or uint8-nhwc.")] = "float32-nchw",
    graph_output: Annotated[str, typer.Option(help="logits or probabilities.")] = "logits",
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "",
    models_dir: ModelsDir = None,
) -> None:
    """Adopt an ONNX model of another origin: say once what it takes and gives.

    Example: `mien models add net.onnx --labels angry,disgust,fear,happy,sad,surprise,neutral --size 48`
    """
    import warnings
    from dataclasses import replace
    from tempfile import TemporaryDirectory
    from typing import cast

    import numpy as np

    from mien.labels import named_label_set
    from mien.models.classifier import OnnxClassifier
    from mien.models.spec import Graph, Head, Layout, ModelSpec, Normalize, Output, Preprocess
    from mien.models.store import add_model

    name = file.stem if name is None else name
    spec = ModelSpec(
        name=name,
        arch="foreign",
        heads=(Head(named_label_set(labels, name=name)),),
        preprocess=Preprocess(size=size, channels=channels, normalize=cast(Normalize, normalize)),
        graph=Graph(input=cast(Layout, graph_input), output=cast(Output, graph_output)),
        license=licence,
    )
    with TemporaryDirectory() as folder:  # so that a wrong spec is told at once and no model is lost to it
        as_it_is = replace(spec, graph=replace(spec.graph, output="probabilities"))
        trial = add_model(file, as_it_is, models_dir=Path(folder))
        pictures = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
        scores = OnnxClassifier(trial).predict_proba(list(pictures))
    if graph_output == "logits" and (scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3):
        warnings.warn(
            "what the model gives looks like probabilities, and a second softmax would make them wrong; add it again "
            "with --graph-output probabilities",
            stacklevel=2,
        )
    outer = context.parent.params["models_dir"] if context.parent else None  # mien models --models DIR add …
    path = add_model(file, spec, models_dir=models_dir or outer)
    say(f"added: mien predict PHOTO --model {quote(path.stem)}")


def convert_command(
    file: Annotated[Path, typer.Argument(help="A Keras or TensorFlow model, .h5, .hdf5 or .keras, saved whole.")],
    labels: Annotated[
        str | None, typer.Option(help="Class names in the order of the outputs: angry,disgust,… or fer2013, ferplus.")
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(help="What was done to pixels before: unit (÷ 255), signed, none, caffe, …")
    ] = None,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Pictures were histogram-equalised first, as the 2020 prototype did.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if not given.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; NAME.onnx if neither this nor --install.")
    ] = None,
    install: Annotated[bool, typer.Option(help="Put the model into your models directory.")] = False,
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "",
    models_dir: ModelsDir = None,
) -> None:
    """Turn a Keras model into one of mien's; needs neither Keras nor TensorFlow.

    Example: `mien convert model.h5 --labels fer2013 --install`
    """
    from mien.models.store import user_dir

    with extra("converting", "keras"):
        from mien.convert.keras import convert

    done = convert(
        file, to, labels=labels, name=name, normalize=normalize, equalize=equalize, license=licence,
        install=(models_dir or user_dir()) if install else None,
    )  # fmt: skip
    facts = _spec_facts(done.spec)
    say(f"model: {done.path} ({facts['input']}, pixels {done.normalize}: {', '.join(done.spec.labels)})")
    usable = done.spec.name if install and not models_dir else str(done.path)
    say(f"use it: mien predict PHOTO --model {quote(usable)}")


def _spec_facts(spec: ModelSpec | None) -> dict[str, str | float | None]:
    if spec is None:
        return {"labels": "", "input": "", "accuracy": None, "data": "", "license": ""}
    pixels = f"{spec.preprocess.size}×{spec.preprocess.size} {'grey' if spec.preprocess.channels == 1 else 'RGB'}"
    return {
        "labels": ", ".join(f"{head.labels.name} ({len(head.labels)})" for head in spec.heads),
        "input": pixels if spec.temporal is None else f"probabilities of {spec.temporal.classifier}",
        "accuracy": spec.metrics.get("test/flip/accuracy"),
        "data": spec.trained_on.get("name", "unknown data"),  # accuracies on different data can't be compared
        "license": spec.license,
    }
