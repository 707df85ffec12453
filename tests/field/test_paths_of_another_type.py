"""Objects in place of paths: every public function that takes a path refuses them in one line."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import mien
from mien import cartoons, convert, data, evaluation, models, nets, reports, sinks, sources, training, vision
from mien.errors import InputError, MienError
from mien.structures import Frame
from runs import small_config, small_dataset

IMAGE = np.zeros((48, 48, 3), np.uint8)
PARTS = (
    "",
    "sources",
    "data",
    "vision",
    "sinks",
    "models",
    "nets",
    "convert",
    "evaluation",
    "reports",
    "training",
    "cartoons",
)
DATASET: Any = small_dataset()
ANY: Any = None  # not reached


@cache
def audited() -> data.Audit:
    return data.audit(DATASET)


# By the name of a public function or class: a use of it with another object as its path.
DOORS: dict[str, Callable[[Any], object]] = {
    "AnnotatedSink": lambda thing: sinks.AnnotatedSink(thing, "copies"),
    "AnnotatedVideoSink": lambda thing: sinks.AnnotatedVideoSink(thing),
    "CsvSink": lambda thing: sinks.CsvSink(thing, ANY),
    "JsonlSink": lambda thing: sinks.JsonlSink(thing, ANY),
    "LiveVideoSink": lambda thing: sinks.LiveVideoSink(thing),
    "OnnxClassifier": lambda thing: models.OnnxClassifier(thing),
    "TemporalModel": lambda thing: models.TemporalModel(thing),
    "UtteranceCsvSink": lambda thing: sinks.UtteranceCsvSink(thing, ANY),
    "UtteranceJsonlSink": lambda thing: sinks.UtteranceJsonlSink(thing, ANY),
    "VideoSink": lambda thing: sinks.VideoSink(thing, fps=25),
    "VoiceClassifier": lambda thing: models.VoiceClassifier(thing),
    "WavSink": lambda thing: sinks.WavSink(thing),
    "Camera": lambda thing: sources.Camera(thing),
    "add_model": lambda thing: models.add_model(thing, models.read_spec(models.find_model("base"))),
    "adopt_model": lambda thing: models.adopt_model(thing),
    "check_parity": lambda thing: nets.check_parity(ANY, thing, ANY),
    "convert": lambda thing: convert.convert(thing, labels=None),
    "examine": lambda thing: convert.examine(thing),
    "export": lambda thing: nets.export(ANY, ANY, thing),
    "export_folders": lambda thing: data.export_folders(DATASET, thing),
    "find_model": lambda thing: models.find_model(thing),
    "frames": lambda thing: list(mien.frames(thing)),
    "inspect": lambda thing: sources.inspect(thing),
    "list_files": lambda thing: sources.list_files(thing),
    "load_classifier": lambda thing: models.load_classifier(thing),
    "load_recipe": lambda thing: training.load_recipe(thing),
    "open_hearing": lambda thing: mien.open_hearing(thing, ANY).__enter__(),
    "open_media": lambda thing: sources.open_media(thing).__enter__(),
    "parse_source": lambda thing: sources.parse_source(thing),
    "prepare": lambda thing: data.prepare(DATASET, thing),
    "read_audit": lambda thing: data.read_audit(thing, DATASET),
    "read_characters": lambda thing: data.read_characters(thing, hold_out=[], valid=[]),
    "read_clips": lambda thing: list(data.read_clips(thing, ANY, ANY, size=48)),
    "read_dataset": lambda thing: data.read_dataset(thing),
    "read_metrics": lambda thing: reports.read_metrics(thing),
    "read_picture": lambda thing: mien.read_picture(thing),
    "read_slices": lambda thing: evaluation.read_slices(thing),
    "read_spec": lambda thing: models.read_spec(thing),
    "read_speech": lambda thing: data.read_speech(thing),
    "read_teacher": lambda thing: training.read_teacher(thing, DATASET, []),
    "read_votes": lambda thing: data.read_votes(thing),
    "read_weights": lambda thing: nets.read_weights(thing),
    "save_audit": lambda thing: data.save_audit(audited(), thing),
    "save_faces": lambda thing: sinks.save_faces(Frame(IMAGE, time=0, index=0, source=""), [], thing),
    "save_teacher": lambda thing: training.save_teacher(training.Teacher("", {}, {}), thing),
    "recognize_files": lambda thing: list(mien.recognize_files([thing], ANY)),
    "sounds": lambda thing: list(mien.sounds(thing)),
    "train_voice": lambda thing: training.train_voice(ANY, thing, ANY),
    "train_temporal": lambda thing: training.train_temporal(ANY, thing, ANY, labels=ANY),
    "write_audit": lambda thing: reports.write_audit(audited(), DATASET, thing),
    "write_cartoons": lambda thing: cartoons.write_cartoons(thing, 1),
    "write_comparison": lambda thing: reports.write_comparison(ANY, thing, sheet=IMAGE),
    "write_ensemble": lambda thing: models.write_ensemble([thing, thing], "both.onnx", name="both"),
    "write_picture": lambda thing: mien.write_picture(thing, IMAGE),
    "write_quantized": lambda thing: models.write_quantized(thing, "fast.onnx", [IMAGE], name="fast"),
    "write_report": lambda thing: reports.write_report(ANY, thing),
    "write_reports": lambda thing: reports.write_reports([], thing),
    "write_with_spec": lambda thing: models.write_with_spec(thing, thing, ANY),
    "Run": lambda thing: training.Run.start(small_config(), DATASET, thing),
}


def takes_a_path(of: object) -> bool:
    """Return whether a function, or a class other than plain data, needs a path."""
    if isinstance(of, type) and (issubclass(of, (tuple, dict, Exception)) or hasattr(of, "__dataclass_fields__")):
        return False
    parameters = inspect.signature(of).parameters.values()  # type: ignore[arg-type]
    return any("Path" in str(each.annotation) and each.default is each.empty for each in parameters)


def public() -> Iterator[tuple[str, object]]:
    for part in PARTS:
        module = importlib.import_module(f"mien.{part}".rstrip("."))
        for name in module.__all__:
            of = getattr(module, name)
            if isinstance(of, (type, types.FunctionType)):
                yield name, of


def test_the_table_has_all_public_functions_that_take_a_path() -> None:
    assert {name for name, of in public() if takes_a_path(of)} <= DOORS.keys()


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("thing", [None, 1.5, b"a.jpg", ("a.jpg",), "a\0b"])
def test_an_object_in_place_of_a_path_is_refused_in_one_line(
    name: str, thing: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if (name, thing) in {("parse_source", "a\0b"), ("Camera", "a\0b")}:
        pytest.skip("an address, refused once it is opened")
    with pytest.raises(MienError) as caught:
        DOORS[name](thing)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_paths_at_all_are_refused() -> None:
    for thing in (None, 3, b"a.jpg"):
        with pytest.raises(InputError, match=r"the path is of type \w+; expected a str or a pathlib.Path"):
            list(mien.recognize_files(thing, types.SimpleNamespace(classify_each=None)))  # type: ignore[arg-type]


def test_models_are_found_by_paths_as_by_texts() -> None:
    path = models.find_model("base")
    assert models.find_model(path) == models.find_model(str(path)) == path
    with pytest.raises(InputError, match="the path is of type int"):
        models.list_models(3)  # type: ignore[arg-type]
    assert vision.load_detector("whole").detect(IMAGE)
