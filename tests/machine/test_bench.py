"""`mien bench` and the scripts in benchmarks/: they run and count correctly; speed is not tested."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, UnknownModel
from mien.machine.bench import (
    GROUP,
    ONE_THREAD,
    bench,
    detection_stage,
    end_to_end_stage,
    fit_image,
    time_stage,
)
from mien.machine.facts import git_commit, machine_facts
from mien.structures import Box, Face, ImageArray

ROOT = Path(__file__).parents[2]
BENCH = importlib.import_module("mien.machine.bench")  # the function of that name hides it in the package
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
NEED_TORCH = ("finetuning", "nets", "training")


class OneFace:
    """A detector that finds one face in the middle of every image."""

    def detect(self, image: ImageArray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face(Box(width * 0.4, height * 0.4, width * 0.6, height * 0.6), 0.9)]


@pytest.fixture
def no_yunet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BENCH, "local_yunet", lambda: None)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    """The module of benchmarks/ given as parameter."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    name = request.param
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return module


@pytest.mark.usefixtures("no_yunet")
def test_bench_times_every_stage_of_a_photo_with_a_face(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BENCH, "HaarDetector", OneFace)
    photo = np.full((60, 50, 3), 90, np.uint8)
    result = bench(photo, str(tiny_model), repeats=2)
    assert [t.stage for t in result.timings] == [
        "detect, haar",
        "crop",
        "preprocess",
        "classify, 1 face, 1 thread",
        "classify, 1 face, all threads",
        "classify, 8 faces, all threads",
        "picture to expressions, haar",
    ]
    assert all(0 < t.median_ms <= t.p90_ms for t in result.timings)
    assert result.faces == {"haar": 1}
    assert result.skipped == {detection_stage("yunet"): "not fetched yet; run `mien doctor --fetch`"}
    assert (result.model, result.size, result.repeats) == ("tiny", (640, 480), 2)
    assert {"processor", "cores", "opencv", "onnxruntime", "opencv_threads"} <= set(result.machine)


@pytest.mark.usefixtures("no_yunet")
def test_bench_gives_the_reason_for_skipping_a_stage_that_needs_a_face(tiny_model: Path) -> None:
    result = bench(np.zeros((48, 64, 3), np.uint8), str(tiny_model), repeats=1)
    assert result.faces == {"haar": 0}
    assert result.skipped[end_to_end_stage("haar")] == "no face was found; give a photo with one"


def test_bench_without_a_photo_measures_only_the_model_and_loads_no_torch(tiny_model: Path) -> None:
    code = f"""
import json, sys
from dataclasses import asdict
from mien.machine.bench import bench
print(json.dumps(asdict(bench(model={str(tiny_model)!r}, repeats=1)) | {{"torch": "torch" in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert not result["torch"]
    assert [t["stage"] for t in result["timings"]][-1] == GROUP
    assert set(result["skipped"]) == {detection_stage("haar"), detection_stage("yunet")}


def test_bench_refuses_an_unknown_model_and_no_repeats(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        bench(model="no-such-model", models_dir=tmp_path)
    for repeats in (0, 999_999_999):
        with pytest.raises(ConfigError, match=f"repeats is {repeats}; expected 1 to 10000"):
            bench(repeats=repeats)


def test_a_stage_runs_the_given_number_of_times_after_its_warm_up() -> None:
    calls: list[int] = []
    result = time_stage("stage", lambda: calls.append(1), repeats=20)
    assert len(calls) == 22
    assert result.stage == "stage"
    with pytest.raises(ZeroDivisionError):
        time_stage("stage", lambda: 1 / 0, repeats=1)


def test_an_image_is_fitted_whole_and_centred_with_replicated_edges() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[:, 1] = 200
    fitted = fit_image(picture, width=6, height=2)
    assert fitted[0, :, 0].tolist() == [0, 0, 0, 200, 200, 200]
    tall = fit_image(np.full((960, 320, 3), 7, np.uint8), width=640, height=480)
    assert tall.shape == (480, 640, 3)
    assert (tall == 7).all()


def test_machine_facts_are_plain_data() -> None:
    facts = machine_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["onnxruntime"] != "not installed"


def test_the_commit_is_that_of_mien_not_of_a_project_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        named = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *named, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / ".venv").mkdir()
    installed = tmp_path / ".venv" / "facts.py"
    installed.write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git("init")
    git("add", ".gitignore")
    git("commit", "-m", "first")
    monkeypatch.setattr("mien.machine.facts.__file__", str(installed))
    assert git_commit() == ""
    git("add", "-f", str(installed))
    git("commit", "-m", "second")
    assert len(git_commit()) == 12


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_explains_itself(name: str) -> None:
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "--out FILE" in done.stdout
    assert f"Example: python benchmarks/{name}.py" in done.stdout


@pytest.mark.parametrize("script", ["_common"], indirect=True)
def test_targets_are_met_at_their_limit(script: ModuleType) -> None:
    met = script.Target(what="speed", value=5.0, limit=5, unit="ms")
    missed = script.Target(what="ratio", value=0.9, limit=0.95, at_least=True)
    assert script.target_table([met, missed]).splitlines() == [
        "| target | measured | limit | result |",
        "| --- | ---: | ---: | ---: |",
        "| speed | 5 ms | ≤ 5 ms | met |",
        "| ratio | 0.9 | ≥ 0.95 | not met |",
    ]


@pytest.mark.parametrize("script", ["_common"], indirect=True)
def test_a_report_names_machine_and_commit_and_writes_json(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.report("Title", ["| a |"], {"figure": 1.5}, out=tmp_path / "out.json", seed=3)
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["figure"] == 1.5
    assert {"processor", "cores", "mien", "commit", "seed"} <= set(written["machine"])
    assert capsys.readouterr().out.startswith("## Title\n\n| a |\n\nmien ")


@pytest.mark.parametrize("script", ["inference"], indirect=True)
@pytest.mark.usefixtures("no_yunet")
def test_inference_compares_its_targets_with_the_right_stages(
    script: ModuleType, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BENCH, "HaarDetector", OneFace)
    result = bench(np.zeros((48, 64, 3), np.uint8), str(tiny_model), repeats=1)
    face, photo = script.targets_of(result)
    assert (face.value, face.limit) == (result.timing(ONE_THREAD).median_ms, 5)
    assert (photo.value, photo.limit) == (result.timing(end_to_end_stage("haar")).median_ms, 40)
    assert "| detect, yunet | – |" in script.stage_table(result)


@pytest.mark.parametrize("script", ["startup"], indirect=True)
def test_startup_measures_a_child_process(script: ModuleType) -> None:
    run = script.run([sys.executable, "-S", "-c", "x = bytearray(200_000_000); print('done')"])
    assert run.output == "done\n"
    assert run.seconds > 0
    assert run.peak_mb > 200
    with pytest.raises(SystemExit, match="failed: gone"):
        script.run([sys.executable, "-S", "-c", "import sys; sys.exit('gone')"])


@pytest.mark.parametrize("script", ["startup"], indirect=True)
def test_sizes_are_summed_by_package(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "numpy" / "core").mkdir(parents=True)
    (tmp_path / "numpy" / "core" / "a.so").write_bytes(bytes(1000))
    (tmp_path / "numpy" / "b.py").write_bytes(bytes(20))
    (tmp_path / "six.py").write_bytes(bytes(3))
    assert script.entry_sizes(tmp_path) == {"numpy": 1020, "six.py": 3}


@pytest.mark.parametrize("script", ["training"], indirect=True)
def test_training_speed_counts_one_checkpoint_per_epoch(script: ModuleType) -> None:
    assert script.step_seconds([10.0, 11.0, 12.0, 12.5, 13.0]) == 0.5  # the first three warm up
    assert script.epoch_speed(0.5, 10.0, batch=100, images=2050) == 100  # 20 steps in 10 s, the checkpoint 10 s
    assert script.Turn(ours=95.0, bare=100.0, checkpoint_seconds=1.0).ratio == 0.95


@pytest.mark.parametrize("script", ["training"], indirect=True)
def test_both_training_loops_run(script: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    from mien.training.recipe import Stage, TrainConfig

    config = TrainConfig(net="tiny", stages=(Stage(size=16, epochs=1),), batch_size=4, precision="32-true")
    try:
        step, checkpoint = script.our_seconds(config, steps=2)
        bare = script.bare_seconds(config, steps=2)
    finally:
        torch.set_num_threads(threads)
    assert min(step, checkpoint, bare) > 0


@pytest.mark.parametrize("script", ["crops"], indirect=True)
def test_a_canvas_knows_the_position_of_its_image(script: ModuleType) -> None:
    image = np.full((48, 48, 1), 77, np.uint8)
    canvas = script.place_on_canvas(image, scale=4, margin_ratio=0.5, border="grey")
    assert canvas.image.shape == (384, 384, 3)
    assert canvas.frame == Box(96, 96, 288, 288)
    assert (script.frame_of(canvas) == 77).all()
    assert (canvas.image[95] == 128).all()
    replicated = script.place_on_canvas(image, scale=2, margin_ratio=0.25, border="replicate")
    assert (replicated.image == 77).all()
    assert replicated.frame == Box(24, 24, 120, 120)


@pytest.mark.parametrize("script", ["crops"], indirect=True)
def test_geometry_is_relative_to_the_frame(script: ModuleType) -> None:
    canvas = script.Canvas(np.zeros((300, 300, 3), np.uint8), Box(100, 100, 200, 200))
    points = np.array([(130, 140), (170, 140), (150, 160), (135, 175), (165, 175)], np.float32)
    faces = [Face(Box(110, 100, 190, 200), 1.0, points), None, Face(Box(90, 100, 190, 220), 1.0, points + 10)]
    places = script.geometry([canvas] * 3, faces)
    assert places["box"] == pytest.approx(
        {"x": 0, "y": 0, "width": 0.9, "height": 1.1, "x_std": 0.1, "y_std": 0, "width_std": 0.1, "height_std": 0.1}
    )
    assert places["nose"] == pytest.approx({"x": 0.55, "y": 0.65, "x_std": 0.05, "y_std": 0.05})
    assert script.geometry([canvas], [None]) == {}
    assert "| nose | 0.550 ± 0.050 | 0.650 ± 0.050 |  |  |" in script.geometry_table("yunet", places)


@pytest.mark.parametrize("script", ["crops"], indirect=True)
def test_detected_crops_are_compared_with_given_ones_pairwise(script: ModuleType) -> None:
    face = Face(Box(0, 0, 1, 1), 1.0)
    correct = {"given": [True, True, False, True], "resized": [True] * 4, "found": [True, False, False, False]}
    summary = script.summary([face, None, face, face, face], correct)
    assert summary == pytest.approx(
        {
            "pictures": 5,
            "found_rate": 0.8,
            "given_accuracy": 0.75,
            "resized_accuracy": 1,
            "found_accuracy": 0.25,
            "difference": -0.5,  # of 0, -1, 0, -1
            "standard_error": 0.25,
        }
    )
    assert "| haar | 80.0% | 75.0% | 100.0% | 25.0% | -50.0 ± 25.0 |" in script.accuracy_table({"haar": summary})
    nothing = script.summary([None], {"given": [], "resized": [], "found": []})
    assert nothing == {"pictures": 1, "found_rate": 0}


@pytest.mark.parametrize("script", ["crops"], indirect=True)
def test_a_face_far_from_the_frame_is_not_matched(script: ModuleType) -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    middle, corner = Box(105, 105, 195, 195), Box(0, 0, 100, 100)
    found = script.find_face(OneFace(), script.Canvas(image, middle))
    assert found is not None
    assert found.box.iou(middle) > 0.4
    assert script.find_face(OneFace(), script.Canvas(image, corner)) is None


@pytest.mark.parametrize("script", ["crops"], indirect=True)
def test_crops_are_classified_where_a_face_was_found(script: ModuleType, tiny_model: Path) -> None:
    from mien.models.classifier import OnnxClassifier

    dataset = script.sample(draw_faces(6, seed=1), 3, seed=0)
    assert len(dataset) == 3
    canvases = [script.place_on_canvas(i, scale=2, margin_ratio=0.5, border="grey") for i in dataset.images]
    faces = [Face(canvases[0].frame, 1.0), None, Face(canvases[2].frame, 1.0)]
    correct = script.correctness(OnnxClassifier(tiny_model, threads=1), dataset, canvases, faces)
    assert {kind: len(right) for kind, right in correct.items()} == {"given": 2, "resized": 2, "found": 2}
