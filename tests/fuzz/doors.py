"""The doors: each opens files in the working directory as a user's command would, in the library where that is one
call. A door may raise `MienError` and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np


def picture(name: str) -> None:
    from mien.sources.frames import frames, inspect
    from mien.sources.pictures import read_picture

    try:
        read_picture(Path(name))
    finally:
        inspect(name)
        list(islice(frames(name), 4))


def video(name: str) -> None:
    from mien.sources.frames import frames

    list(islice(frames(name), 12))


def sound(name: str) -> None:
    from mien.sources.sounds import sounds

    for block in islice(sounds(name), 100):
        assert np.abs(block.samples).max() <= 1


def spec(name: str) -> None:
    from mien.models.onnx_file import graph_fingerprint, read_spec
    from mien.models.store import list_models

    list_models(Path(), kind=None)
    graph_fingerprint(Path(name))
    read_spec(Path(name))


def model(name: str) -> None:
    from mien.models.classifier import load_classifier

    classifier = load_classifier(name, models_dir=Path())
    size = classifier.spec.preprocess.size
    classifier.predict_proba([np.zeros((size, size, 3), np.uint8)])


def keras(name: str) -> None:
    from mien.convert.keras import convert, examine

    examine(Path(name))
    convert(Path(name), Path("out.onnx"), labels="a,b,c,d,e,f,g")


def dataset(name: str, votes: str | None = None) -> None:
    from mien.data.readers import read_dataset

    read_dataset(name, votes=None if votes is None else Path(votes))


def audit(name: str) -> None:
    from fuzz.seeds import faces
    from mien.data.audit import read_audit

    read_audit(name, faces())


def slices(name: str) -> None:
    from mien.evaluation.slice_table import read_slices

    read_slices(name)


def metrics(name: str) -> None:
    from mien.reports.metrics_json import read_metrics
    from mien.reports.page import page
    from mien.reports.report import report_markdown

    page(report_markdown(read_metrics(name), plots=False), folder=Path())


def run(folder: str) -> None:
    from fuzz.seeds import faces
    from mien.training import Run
    from mien.training.checkpoint import load_average

    opened = Run.open(folder, faces())
    repr(opened), opened.data_paths, opened.readings, opened.origin, opened.metrics(), opened.fitted()
    load_average(opened.checkpoint)


def recipe(name: str, *overrides: str) -> None:
    from mien.settings import parse_override
    from mien.training.recipe import load_recipe

    load_recipe(name, dict(map(parse_override, overrides)))


def window(name: str) -> None:
    from mien.app.settings import load_settings

    load_settings(Path(name))


def command(*words: str) -> None:
    from mien.cli import main

    try:
        main(words)
    except SystemExit as end:
        if end.code not in (None, 0, 2):
            raise RuntimeError(f"exit code {end.code}") from end


DOORS: dict[str, Callable[..., None]] = {
    "picture": picture, "video": video, "sound": sound, "spec": spec, "model": model, "keras": keras,
    "prepared": dataset, "zip": dataset, "folder": dataset, "fer2013": dataset, "ferplus": dataset, "table": dataset,
    "audit": audit, "slices": slices, "metrics": metrics, "run": run, "recipe": recipe, "setting": recipe,
    "window": window, "command": command,
}  # fmt: skip
