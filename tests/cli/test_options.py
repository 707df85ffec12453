"""Each option reaches the library: a stand-in for the function that a command calls notes its arguments."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands import run
from mien.data.reading import Reading
from mien.errors import MienError
from mien.labels import FERPLUS
from mien.machine.bench import BenchResult, Timing
from mien.models.spec import DEFAULT_MODEL
from mien.training.recipe import TemporalConfig
from runs import Run, small_config, small_dataset

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
MINE = Path("mine")  # a directory of models


class Reached(MienError):
    """Ends a command where its library call would have begun."""


@pytest.fixture(autouse=True)
def folder(own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that holds only an empty directory of models."""
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    MINE.mkdir()


def passed(target: str, *words: object) -> dict[str, Any]:
    """Return the arguments by name with which a command calls a function or class; the command ends there."""
    module, _, name = target.rpartition(".")
    home = importlib.import_module(module)  # where a function hides a module, the module
    signature, calls = inspect.signature(getattr(home, name)), []

    def note(*values: object, **named: object) -> None:
        bound = signature.bind(*values, **named)
        bound.apply_defaults()
        calls.append(bound.arguments)
        raise Reached(f"called {name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, name, note)
        assert run(*words) == 2
    (arguments,) = calls
    return arguments


DETECTOR, RECOGNIZER = "mien.vision.detect.load_detector", "mien.recognizer.Recognizer"
LISTENER, CLASSIFIER = "mien.voice.listener.Listener", "mien.models.classifier.load_classifier"
SCORED = ("--detector", "haar", "--min-score", 0.25)
SCORE = {"name": "haar", "min_score": 0.25}
CHOSEN = ("--model", "ferg", "--labels", "ferplus", "--models", MINE)
CHOICE = {"classifier": "ferg", "labels": "ferplus", "models_dir": MINE}
FURTHER = (*CHOSEN, "--min-confidence", 0.3, "--device", "openvino")
FURTHER_CHOICE = {**CHOICE, "min_confidence": 0.3, "device": "openvino"}
PREDICT, LIVE = ("predict", ASTRONAUT), ("live", ASTRONAUT, "--no-window", "--csv", "a.csv")

OPTIONS: list[tuple[tuple[object, ...], str, dict[str, object]]] = [
    ((*PREDICT, *SCORED), DETECTOR, SCORE),
    ((*PREDICT, *FURTHER), RECOGNIZER, FURTHER_CHOICE),
    ((*LIVE, *SCORED), DETECTOR, SCORE),
    ((*LIVE, *FURTHER), RECOGNIZER, FURTHER_CHOICE),
    (
        (*LIVE, "--model", "ferg", "--excel", "--jsonl", "a.jsonl", "--video", "a.mp4", "--top", 2),
        "mien.sinks.recorder.Recorder",
        {"csv": Path("a.csv"), "excel": True, "jsonl": Path("a.jsonl"), "video": Path("a.mp4"), "top": 2},
    ),
    (
        (*LIVE, "--voice", "--voice-model", "v.onnx", "--min-confidence", 0.3, "--models", MINE),
        LISTENER,
        {"classifier": "v.onnx", "min_confidence": 0.3, "models_dir": MINE},
    ),
    (("explain", ASTRONAUT, *CHOSEN, "--detector", "haar"), RECOGNIZER, {**CHOICE, "detector": "haar"}),
    (
        ("listen", "--model", "v.onnx", "--min-confidence", 0.3, "--models", MINE),
        LISTENER,
        {"classifier": "v.onnx", "min_confidence": 0.3, "models_dir": MINE},
    ),
    (
        ("bench", "--model", "ferg", "--repeats", 7, "--models", MINE),
        "mien.machine.bench.bench",
        {"photo": None, "model": "ferg", "repeats": 7, "models_dir": MINE},
    ),
    (
        ("convert", "net.h5", "--labels", "a,b", "--normalize", "signed", "--equalize", "--name", "n", "--out",
         "o.onnx", "--architecture", "net.json", "--licence", "MIT"),
        "mien.convert.keras.convert",
        {"source": Path("net.h5"), "labels": "a,b", "normalize": "signed", "equalize": True, "name": "n",
         "target": Path("o.onnx"), "architecture": Path("net.json"), "license": "MIT", "install": None},
    ),
    (
        ("convert", "net.h5", "--install", "--models", MINE),
        "mien.convert.keras.convert",
        {"target": None, "install": MINE, "equalize": False},
    ),
    (
        ("models", "add", "net.onnx", "--labels", "a,b", "--name", "n", "--size", 64, "--channels", 3, "--normalize",
         "none", "--equalize", "--bgr", "--mean", "1,2,3", "--std", "4", "--graph-input", "uint8-nhwc",
         "--graph-output", "logits", "--output", "scores", "--columns", "1,0", "--out", "o.onnx", "--licence", "MIT",
         "--models", MINE),
        "mien.models.adopt.adopt_model",
        {"source": Path("net.onnx"), "labels": "a,b", "name": "n", "size": 64, "channels": 3, "normalize": "none",
         "equalize": True, "bgr": True, "mean": [1, 2, 3], "deviation": [4], "layout": "uint8-nhwc",
         "output": "logits", "scores": "scores", "columns": [1, 0], "target": Path("o.onnx"), "license": "MIT",
         "models_dir": MINE},
    ),
    (
        ("page", "--out", "site", "--model", "ferg", "--model", "base", "--models", MINE),
        "mien.web.browser.write_site",
        {"out": Path("site"), "models": ["ferg", "base"], "models_dir": MINE},
    ),
    (("page", "--out", "site"), "mien.web.browser.write_site", {"models": (DEFAULT_MODEL,), "models_dir": None}),
    (
        ("evaluate", "ferg", "--data", ASTRONAUT, "--models", MINE, "--device", "openvino"),
        CLASSIFIER,
        {"name": "ferg", "models_dir": MINE, "device": "openvino"},
    ),
    (
        ("compare", "ferg", "base", "--data", ASTRONAUT, "--models", MINE),
        CLASSIFIER,
        {"name": "ferg", "models_dir": MINE},
    ),
    (
        ("ensemble", "base", "vgg-b", "--out", "both", "--models", MINE),
        "mien.models.store.find_model",
        {"name": "base", "models_dir": MINE},
    ),
    (
        ("ensemble", "base", "vgg-b", "--out", "both", "--models", MINE),
        "mien.models.ensemble.write_ensemble",
        {"target": MINE / "both.onnx", "name": "both"},
    ),
    (
        ("quantize", "base", "--out", "fast", "--models", MINE),
        "mien.models.store.find_model",
        {"name": "base", "models_dir": MINE},
    ),
    (
        ("quantize", "base", "--out", "fast", "--data", ASTRONAUT, "--models", MINE),
        "mien.files.make_folder",
        {"path": MINE},
    ),
    (
        ("train-temporal", "--model", "base", "--labels", "ferplus", "--seed", 7, "--out", "t.onnx", "--install",
         "--models", MINE),
        "mien.training.temporal.train_temporal",
        {"config": TemporalConfig(seed=7), "labels": FERPLUS, "path": Path("t.onnx"), "install": MINE},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "target", "expected"), OPTIONS, ids=[f"{words[0]} {target}" for words, target, _ in OPTIONS]
)
def test_options_reach_the_library(words: tuple[object, ...], target: str, expected: dict[str, object]) -> None:
    if target.startswith("mien.convert"):
        pytest.importorskip("h5py", reason="needs the extra: pip install '.[keras]'")
    found = passed(target, *words)
    assert {name: found[name] for name in expected} == expected


def of_data(*words: object) -> Any:
    return pytest.param(words, id=" ".join(map(str, words[:2])))


@pytest.mark.parametrize(
    "words",
    [
        of_data("data", "info", "DRAWN"),
        of_data("data", "prepare", "DRAWN", "new.npz"),
        of_data("data", "export", "DRAWN", "new"),
        of_data("data", "audit", "DRAWN"),
        of_data("evaluate", "ferg", "--data", "DRAWN"),
        of_data("compare", "ferg", "base", "--data", "DRAWN"),
        of_data("train", "tiny", "--data", "DRAWN", "--run", "new"),
        of_data("train", "--resume", "run", "--data", "DRAWN"),
        of_data("train-temporal", "--model", "ferg", "--data", "DRAWN"),
        of_data("export", "run", "--data", "DRAWN"),
        of_data("soft-labels", "run", "--out", "teacher.npz", "--data", "DRAWN"),
        of_data("ensemble", "base", "vgg-b", "--out", "both", "--data", "DRAWN"),
        of_data("quantize", "base", "--out", "fast", "--data", "DRAWN"),
    ],
)
def test_options_of_reading_data_reach_the_reader(
    words: tuple[object, ...], drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(reading: Reading, path: Path, **_: object) -> None:
        calls.append((reading, path))
        raise Reached("reading")

    if "run" in words:
        Run.start(small_config(), small_dataset(), Path("run"))
    calls: list[tuple[Reading, Path]] = []
    monkeypatch.setattr(Reading, "read", note)
    options = [
        "--detector", "haar", "--group-by", "person", "--classes", "1=happy", "--image-column", "image",
        "--label-column", "label", "--split-column", "part",
    ]  # fmt: skip
    assert run(*(drawn if word == "DRAWN" else word for word in words), *options) == 2
    ((reading, path),) = calls
    assert (replace(reading, size=None), path) == (
        Reading(
            detector="haar", group_by="person", classes={"1": "happy"}, image_column="image", label_column="label",
            split_column="part",
        ),
        drawn,
    )  # fmt: skip


def test_options_of_export_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(**options: object) -> None:
        calls.append(options)
        raise Reached("export")

    calls: list[dict[str, object]] = []
    opened = SimpleNamespace(export=export, spec=SimpleNamespace(name="tiny"))
    monkeypatch.setattr("mien.cli.training._opened", lambda *_: opened)
    assert run("export", "run", "--out", "o.onnx", "--storage", "int8", "--install", "--models", MINE) == 2
    assert calls == [{"target": Path("o.onnx"), "storage": "int8", "install": MINE}]


class TestServe:
    @pytest.fixture(autouse=True)
    def listening(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        """The addresses that would be listened on; any certificate is good."""
        pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
        addresses: list[tuple[str, int]] = []

        def listen(host: str, port: int) -> SimpleNamespace:
            addresses.append((host, port))
            return SimpleNamespace(getsockname=lambda: (host, port or 4321))

        monkeypatch.setattr("mien.web.serving.listen", listen)
        monkeypatch.setattr("mien.web.serving.check_certificate", lambda *_: None)
        return addresses

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], {}),
            (["--no-page"], {"page": False}),
            (["--workers", 3], {"workers": 3}),
            (["--sessions", 5], {"sessions": 5}),
            (["--max-upload", 1.5], {"max_upload": 1_500_000}),
            (["--models", MINE], {"models_dir": MINE}),
            (["--model", "ferg", "--detector", "haar"], {"model": "ferg", "detector": "haar"}),
            (["--token", "secret"], {"token": "secret"}),
            (
                ["--allow-host", "a.example", "--allow-host", "b.example"],
                {"hosts": ("a.example", "b.example", "127.0.0.1")},
            ),
            (["--allow-origin", "https://a.example"], {"origins": ("https://a.example",)}),
        ],
    )
    def test_options_become_settings(self, words: list[object], expected: dict[str, Any]) -> None:
        from mien.web.settings import ServerSettings

        found = passed("mien.web.serving.serve", "serve", *words)["settings"]
        assert found == ServerSettings(**{"hosts": ("127.0.0.1",), **expected})

    def test_log_and_certificate_are_passed_on(self) -> None:
        plain = passed("mien.web.serving.serve", "serve")
        found = passed("mien.web.serving.serve", "serve", "--log", "--tls-cert", "c.pem", "--tls-key", "k.pem")
        names = ("log", "certificate", "key")
        assert [plain[name] for name in names] == [False, None, None]
        assert [found[name] for name in names] == [True, Path("c.pem"), Path("k.pem")]

    @pytest.mark.parametrize(
        ("words", "opened", "said"),
        [
            ([], [], "http://127.0.0.1:8008"),
            (["--port", 0, "--open"], ["http://127.0.0.1:4321"], "http://127.0.0.1:4321"),
            (
                ["--open", "--tls-cert", "c.pem", "--tls-key", "k.pem", "--host", "::1"],
                ["https://[::1]:8008"],
                "https://[::1]:8008",
            ),
        ],
    )
    def test_the_address_is_printed_and_opened_if_asked(
        self, words: list[object], opened: list[str], said: str, listening: list[tuple[str, int]],
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        pages: list[str] = []
        monkeypatch.setattr("webbrowser.open", pages.append)
        started = passed("mien.web.serving.serve", "serve", *words)["on_start"]
        assert (pages, capsys.readouterr().out) == ([], "")
        started()
        assert pages == opened
        assert f"mien is running at {said};" in capsys.readouterr().out
        assert listening == [("::1" if "::1" in words else "127.0.0.1", 0 if 0 in words else 8008)]


class TestBench:
    RESULT = BenchResult(
        model="ferg", size=(640, 480), faces={"haar": 1}, repeats=7, timings=(Timing("crop", 1.25, 2.5),),
        skipped={"detect, yunet": "not fetched yet"}, machine={"processor": "a fast one"},
    )  # fmt: skip

    @pytest.fixture
    def measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = importlib.import_module("mien.machine.bench")
        monkeypatch.setattr(module, "bench", lambda *_, **__: self.RESULT)

    def test_the_photo_is_measured(self) -> None:
        assert passed("mien.machine.bench.bench", "bench", ASTRONAUT)["photo"].shape == (512, 512, 3)

    def test_times_are_a_table(self, measured: None, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("bench") == 0
        printed = capsys.readouterr().out
        for part in (
            "ferg, fitted into 640×480", "crop", "1.25 ms", "2.50 ms", "not measured: detect, yunet: not fetched yet",
            "processor a fast one",
        ):  # fmt: skip
            assert part in printed

    def test_json_has_every_field(self, measured: None, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("bench", "--json") == 0
        assert json.loads(capsys.readouterr().out) == {
            "model": "ferg", "size": [640, 480], "faces": {"haar": 1}, "repeats": 7,
            "timings": [{"stage": "crop", "median_ms": 1.25, "p90_ms": 2.5}],
            "skipped": {"detect, yunet": "not fetched yet"}, "machine": {"processor": "a fast one"},
        }  # fmt: skip


def test_page_says_where_the_site_is_and_its_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(out: Path, **_: object) -> Path:
        (out / "deep").mkdir(parents=True)
        (out / "deep" / "a.js").write_bytes(bytes(1_000_000))
        (out / "index.html").write_bytes(bytes(500_000))
        return out

    monkeypatch.setattr("mien.web.browser.write_site", write)
    assert run("page", "--out", "site") == 0
    assert capsys.readouterr().out == "site: site (1.5 MB)\n"


class TestWindows:
    @pytest.fixture(autouse=True)
    def toolkit(self) -> None:
        for package in ("tkinter", "pygubu"):
            pytest.importorskip(package, reason="needs the extra: pip install '.[app]', and Tk")

    def test_options_of_live_reach_its_window(self) -> None:
        found = passed(
            "mien.app.viewer.Viewer", "live", ASTRONAUT, "--model", "ferg", "--detector", "haar", "--min-confidence",
            0.3, "--top", 2, "--out", "saved", "--half-life", 0.5, "--csv", "a.csv", "--excel", "--voice",
        )  # fmt: skip
        assert found["open_camera"].args == (ASTRONAUT,)
        assert found["open_camera"].keywords == {"as_camera": True}
        assert found["models"][0] == "ferg"
        assert DEFAULT_MODEL in found["models"][1:]
        assert (found["detector"], found["top"], found["saves"], found["voice"]) == ("haar", 2, Path("saved"), True)
        recorder = found["open_recorder"].keywords
        assert (recorder["csv"], recorder["excel"], recorder["top"]) == (Path("a.csv"), True, 2)
        assert recorder["voice"] is not None
        recognizer = found["make"]("ferg")
        assert (recognizer.min_confidence, recognizer.provenance.detector) == (0.3, "haar")
        assert found["smoother_for"](recognizer).half_life == 0.5

    def test_a_plain_window_of_live_saves_into_a_folder_of_its_own(self) -> None:
        found = passed("mien.app.viewer.Viewer", "live", ASTRONAUT)
        assert (found["saves"], found["voice"], found["top"]) == (Path("mien-live"), False, 1)

    def test_options_of_app_reach_its_window(self) -> None:
        found = passed("mien.app.window.run", "app", "holiday", "--out", "saved", "--models", MINE)
        assert found == {"source": Path("holiday"), "saves": Path("saved"), "models_dir": MINE}
