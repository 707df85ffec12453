"""The command `mien ensemble`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.arguments import NewModel, NewModelsDir, Votes, model_target, read_data, reads_data
from mien.cli.console import bar, extra, say
from mien.data.reading import AS_CROPS, Reading
from mien.escape import shell_word


@reads_data
def ensemble(
    models: Annotated[list[str], typer.Argument(help="Two or more: names from `mien models`, or .onnx files.")],
    to: NewModel,
    data: Annotated[
        str | None,
        typer.Option(help="Dataset whose valid split calibrates the ensemble; not calibrated without.", metavar="PATH"),
    ] = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    models_dir: NewModelsDir = None,
) -> None:
    """Combine models into one that predicts the mean of their calibrated log-probabilities.

    The members must be as good as each other, and different; evaluate the ensemble on the valid split.

    Example: `mien ensemble base dlib-resnet --out both --data fer2013.csv`
    """
    from mien.data.readers import data_path
    from mien.evaluation.calibration import fit_temperatures
    from mien.models.classifier import OnnxClassifier
    from mien.models.store import find_model
    from mien.targets import check_targets

    with extra("making an ensemble", "train"):
        from mien.models.ensemble import write_ensemble

    new = model_target(to, models_dir)
    members = [find_model(model, models_dir=models_dir) for model in models]
    check_targets([None if data is None else data_path(data), votes, *members], files=[new.path])
    new.prepare()
    temperatures = {}
    if data is not None:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "plain.onnx"
            spec = write_ensemble(members, plain, name=new.name)
            dataset, _ = read_data(data, votes, reading.for_model(spec.preprocess.size))
            with bar("calibration") as progress:
                temperatures = fit_temperatures(OnnxClassifier(plain, spec=spec), dataset, progress=progress)
    spec = write_ensemble(members, new.path, name=new.name, temperatures=temperatures)
    say(f"model: {new.path} ({new.path.stat().st_size / 1e6:.2g} MB; {', '.join(spec.names)})")
    for head, temperature in temperatures.items():
        say(f"temperature of {head}: {temperature:.2f}")
    say(f"use it: mien predict PHOTO --model {shell_word(new.called)}")
