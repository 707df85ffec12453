"""The options of commands that read a dataset, as a user gives them: --detector, --group-by, --classes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from commands import error_of, run
from mien.data.readers import read_dataset
from mien.models.onnx_file import read_spec
from mien.vision.detect import DETECTORS
from photographs import SquareDetector, scene, square_photo, write_pictures

pytestmark = pytest.mark.usefixtures("own_folder")

SETTINGS = (
    "--set",
    "stages=[{size=16,epochs=1}]",
    "--set",
    "preprocess.size=16",
    "--set",
    "precision=32-true",
    "--set",
    "batch_size=16",
)


@pytest.fixture
def photos(own_folder: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photographs of squares in class folders: 60 with one face, one without, one with two."""
    monkeypatch.setitem(DETECTORS, "square", SquareDetector)
    rng = np.random.default_rng(0)
    pictures = {}
    for i in range(60):
        x, y, side = rng.integers(5, 40), rng.integers(5, 40), rng.integers(50, 75)
        pictures[f"{('happy', 'sad')[i % 2]}/Person{i // 4}_{i}.png"] = square_photo((x, y, side))
    pictures["happy/Nobody_1.png"] = square_photo()
    pictures["sad/Crowd_1.png"] = square_photo((5, 5, 40), (60, 30, 60))
    return write_pictures(Path("photos"), pictures)


def test_info_counts_and_lists_pictures_without_a_face(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "info", photos, "--detector", "square", "--group-by", "name", "--json") == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert (facts["detector"], facts["n_pictures"], facts["n_groups"]) == ("square", 61, 16)
    assert facts["without_face"] == ["happy/Nobody_1.png"]
    assert facts["several_faces"] == ["sad/Crowd_1.png"]
    note = captured.err.splitlines()[0]
    assert note == (
        "note: the detector square searched 62 pictures of 'photos': without a face 1 (happy/Nobody_1.png), left out; "
        "with several 1 (sad/Crowd_1.png), the largest face is taken"
    )


def test_crops_can_be_prepared_and_exported(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--detector", "square", "--group-by", "name")
    assert run("data", "prepare", photos, "a.npz", *options, "--size", 48, "--split", "0.5,0.25,0.25") == 0
    assert run("data", "export", photos, "crops", *options) == 0
    assert run("data", "info", "a.npz") == 0
    assert "48×48 grey, 0 blank, no FER+ votes, 16 persons or groups" in capsys.readouterr().out
    assert len(list(Path("crops").rglob("*.png"))) == 61
    dataset = read_dataset("a.npz")
    assert dataset.found is not None
    assert (dataset.found.detector, dataset.images.shape) == ("square", (61, 48, 48, 1))


def test_photographs_are_audited(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "audit", photos, "--detector", "square", "--json") == 0
    assert json.loads(capsys.readouterr().out)["splits"]


def test_a_run_reads_its_photographs_in_the_same_way_again(photos: Path) -> None:
    arguments = ("--data", photos, "--detector", "square", "--group-by", "name", "--run", "run")
    assert run("train", "tiny", *arguments, *SETTINGS) == 0
    data = json.loads(Path("run/environment.json").read_text())["data"][0]
    assert data["reading"] == {"size": 16, "detector": "square", "group_by": "name"}
    assert read_spec(Path("run/tiny.onnx")).trained_on["detector"] == "square"
    before = Path("run/tiny.onnx").read_bytes()
    assert run("train", "--resume", "run") == 0
    assert run("export", "run") == 0
    assert run("export", "run", *arguments[:-2]) == 0
    assert Path("run/tiny.onnx").read_bytes() == before


def test_a_run_on_prepared_photographs_resumes(photos: Path) -> None:
    """The detector is part of the prepared file then, not of how that is read."""
    assert run("data", "prepare", photos, "a.npz", "--detector", "square", "--size", 16) == 0
    assert run("train", "tiny", "--data", "a.npz", "--run", "run", *SETTINGS) == 0
    assert run("train", "--resume", "run") == 0
    assert read_spec(Path("run/tiny.onnx")).trained_on["detector"] == "square"


def test_a_run_of_an_earlier_version_has_crops(drawn: Path) -> None:
    from mien.training import Run

    assert run("train", "tiny", "--data", drawn, "--run", "run", *SETTINGS) == 0
    assert "reading" not in json.loads(Path("run/environment.json").read_text())["data"][0]
    assert Run.open("run").readings[0].detector is None
    assert len(Run.open("run").datasets[0]) == 400


def test_a_run_with_options_of_a_later_version_is_refused(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, "--run", "run", *SETTINGS) == 0
    path = Path("run/environment.json")
    facts = json.loads(path.read_text())
    facts["data"][0]["reading"] = {"magic": 1}
    path.write_text(json.dumps(facts))
    capsys.readouterr()
    assert "upgrade mien" in error_of(capsys, "export", "run")


def test_the_detector_is_for_those_of_several_datasets_that_hold_pictures(
    photos: Path, drawn: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", drawn, "--data", photos)
    assert run("train", "tiny", *data, "--detector", "square", "--run", "run", *SETTINGS) == 0
    crops, found = json.loads(Path("run/environment.json").read_text())["data"]
    assert "reading" not in crops
    assert found["reading"]["detector"] == "square"
    assert "detector square" in read_spec(Path("run/tiny.onnx")).trained_on["with photos"]
    assert run("train", "--resume", "run") == 0
    assert run("evaluate", tiny_model, *data, "--detector", "square", "--out", "e") == 0
    capsys.readouterr()
    refused = error_of(capsys, "evaluate", tiny_model, "--data", drawn, "--data", drawn, "--detector", "square")
    assert "none of the datasets takes --detector" in refused


def test_a_model_is_evaluated_and_compared_on_photographs(
    photos: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", photos, "--detector", "square", "--json")
    assert run("evaluate", tiny_model, *options, "--out", "e") == 0
    assert json.loads(capsys.readouterr().out)["data"]["name"] == "photos"
    assert run("compare", tiny_model, tiny_model, *options, "--out", "c") == 2
    assert "is given twice" in capsys.readouterr().err


def test_training_on_photographs_as_crops_goes_on_with_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pictures(Path("scenes"), {f"{('happy', 'sad')[i % 2]}/{i}.png": scene(i) for i in range(40)})

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("train", "tiny", "--data", root, "--run", "run", *SETTINGS) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(lines) == 1
    assert "seems to hold photographs, not crops" in lines[0]
    assert "--detector auto" in lines[0]


def test_a_label_table_is_read_with_chosen_columns(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{path.name},{1 + (path.parent.name == 'sad')},{path.stem[:4]}" for path in sorted(photos.rglob("*.png"))]
    Path("photos/faces.csv").write_text("\n".join(["pic,kind,who", *rows]))
    columns = ("--image-column", "pic", "--label-column", "kind", "--classes", "1=happy,2=sad", "--group-by", "who")
    assert run("data", "info", "photos/faces.csv", "--detector", "square", "--json", *columns) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(part["happy"] for part in facts["counts"].values()) == 30
    assert run("train", "tiny", "--data", photos, "--detector", "square", *columns, "--run", "run", *SETTINGS) == 0
    assert run("export", "run") == 0
    reading = json.loads(Path("run/environment.json").read_text())["data"][0]["reading"]
    assert (reading["label_column"], reading["classes"]) == ("kind", {"1": "happy", "2": "sad"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("data", "info", "photos", "--label-column", "mood"), "'photos' holds no label table"),
        (("data", "info", "photos", "--detector", "eyes"), "unknown detector 'eyes'; choose from auto, yunet, haar"),
        (("data", "info", "DRAWN", "--detector", "haar"), "--detector is for picture files, but"),
        (("data", "info", "photos", "--group-by", "person"), "--group-by is 'person', but 'photos' has no label table"),
        (
            ("data", "info", "photos", "--classes", "happy"),
            "expected pairs of a class and its name, such as 1=surprise",
        ),
        (("data", "info", "photos", "--classes", "1=a,1=b"), "expected every class once"),
        (("data", "prepare", "photos", "a.npz", "--hold-out", "ray", "--detector", "haar"), "leave out --detector"),
        (("train", "tiny", "--data", "DRAWN", "--detector", "haar"), "but 'DRAWN' is read as a prepared .npz"),
        (("train-temporal", "--data", "DRAWN", "--detector", "haar"), "--detector is for picture files"),
    ],
)
def test_impossible_options_are_one_clear_line(
    arguments: tuple[str, ...], expected: str, photos: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(drawn) if argument == "DRAWN" else argument for argument in arguments]
    assert expected.replace("DRAWN", str(drawn)) in error_of(capsys, *given)
    assert not Path("runs").exists()


def test_preparing_a_dataset_never_overwrites_it_and_a_part_has_a_name_of_its_own(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "prepare", photos, "all.npz", "--size", "16") == 0
    before = Path("all.npz").read_bytes()
    capsys.readouterr()
    message = error_of(capsys, "data", "prepare", "all.npz", "all.npz", "--subset", "3")
    assert "would overwrite one of the sources" in message
    assert Path("all.npz").read_bytes() == before
    assert run("data", "prepare", "all.npz", "few.npz", "--subset", "9") == 0
    assert read_dataset("few.npz").name == "few"
