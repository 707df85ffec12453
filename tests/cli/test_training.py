"""The command train, as a user runs it: selections by an audit, and bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import commands as commands_module
from commands import error_of, run
from mien.data.audit import FOLD_SEED, audit, folds, read_audit, save_audit
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.synthetic import draw_faces
from mien.data.votes import VOTE_COLUMNS
from mien.models.onnx_file import read_spec
from mien.pixels import write_picture
from mien.training import read_teacher

pytestmark = pytest.mark.usefixtures("own_folder")

SETTINGS = (
    "--run",
    "run",
    "--set",
    "stages=[{size=16,epochs=1}]",
    "--set",
    "preprocess.size=16",
    "--set",
    "precision=32-true",
)


@pytest.fixture
def audited(drawn: Path, own_folder: None) -> Path:
    """An audit of the drawn faces in which the first 20 training images are in test too."""
    dataset = read_dataset(drawn)
    clusters = np.arange(len(dataset))
    train, test = (np.flatnonzero(dataset.splits == split)[:20] for split in (0, 2))
    clusters[train] = clusters[test] = np.minimum(train, test)
    save_audit(replace(audit(dataset, threshold=1.0), clusters=clusters), "audit.npz")
    return Path("audit.npz")


def test_train_leaves_out_leaks_and_says_so(drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, "--audit", audited, "--drop-leaks", *SETTINGS) == 0
    n = int((read_dataset(drawn).splits == 0).sum())
    assert f"training on {n - 20} of {n} training images, dropped 20 leaks" in capsys.readouterr().out
    data = json.loads(Path("run/environment.json").read_text())["data"][0]
    assert (data["audit"], data["dropped"]) == (str(audited.resolve()), 20)
    assert data["fingerprint"] == read_dataset(drawn).fingerprint
    assert read_spec(Path("run/tiny.onnx")).trained_on["dropped"] == "20 leaks"

    audited.unlink()  # no longer needed
    before = Path("run/tiny.onnx").read_bytes()
    assert run("train", "--resume", "run") == 0
    said = capsys.readouterr().out
    assert said.startswith("run is finished: ")
    assert len(said.splitlines()) == 1
    assert run("export", "run") == 0
    assert Path("run/tiny.onnx").read_bytes() == before


def test_resuming_a_finished_run_checks_the_data_that_is_given(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, *SETTINGS) == 0
    assert run("train", "--resume", "run", "--data", drawn) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("run is finished: ")
    prepare(draw_faces(40, seed=1), "other.npz")
    for option, value, message in (
        ("--data", "other.npz", "run was started on data with fingerprint"),
        ("--data", "nowhere", "no dataset at 'nowhere'"),
        ("--votes", "votes.csv", "cannot take the votes 'votes.csv'"),
    ):
        assert run("train", "--resume", "run", option, value) == 2
        assert message in capsys.readouterr().err


def test_train_leaves_out_a_fold(drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, "--audit", audited, "--folds", 4, "--fold", 3, *SETTINGS) == 0
    assert ", fold 3 of 4 left out" in capsys.readouterr().out
    dataset = read_dataset(drawn)
    left_out = folds(read_audit(audited, dataset), 4, seed=FOLD_SEED, split="train") == 3
    assert (np.load("run/rows.npy") == ((dataset.splits == 0) & ~left_out)).all()
    assert 0 < left_out.sum() < (dataset.splits == 0).sum()


def test_soft_labels_of_folds_teach_a_net(drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--data", drawn, "--audit", audited, "--folds", 2, *SETTINGS[2:])
    for fold in range(2):
        assert run("train", "tiny", *flags, "--fold", fold, "--run", f"fold-{fold}") == 0
    capsys.readouterr()
    assert run("soft-labels", "fold-0", "fold-1", "--out", "teacher.npz") == 0
    said = capsys.readouterr().out.splitlines()
    dataset = read_dataset(drawn)
    rows = read_teacher("teacher.npz", dataset, [dataset.labels]).probabilities[dataset.labels.name]
    train = dataset.splits == 0
    assert (np.isfinite(rows).all(1) == train).all()
    right = 100 * (rows[train].argmax(1) == dataset.targets[train]).mean()
    assert said[0] == f"soft labels: teacher.npz ({dataset.labels.name})"
    assert said[1].startswith(f"right about {right:.1f} % of {train.sum()} training images; cross-entropy ")
    assert said[2] == "use it: mien train RECIPE --set teacher=teacher.npz, with the same --data first"
    assert run("train", "tiny", "--data", drawn, "--set", "teacher=teacher.npz", *SETTINGS) == 0
    assert read_spec(Path("run/tiny.onnx")).trained_on["teacher"].startswith("teacher.npz (SHA-256 ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fold-0", "--out", "teacher.npz"), "training images were left out by no run; give the runs of all folds"),
        (("fold-0", "nowhere", "--out", "teacher.npz"), "nowhere is not a run folder of this mien"),
        (("fold-0", "--stack-votes", "--out", "teacher.npz"), "has no FER+ votes to stack; train the runs with them"),
        (("fold-0", "--out", "fold-0/rows.npy"), "soft labels to fold-0/rows.npy; expected a name that ends in .npz"),
        (("fold-0", "--out", "nowhere/teacher.npz"), "'nowhere/teacher.npz': there is no such folder"),
        (("fold-0", "--out", "data.npz"), "'data.npz' would overwrite one of the sources"),
    ],
)
def test_soft_labels_that_cannot_be_are_one_clear_line(
    arguments: tuple[str, ...], expected: str, drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = ("--audit", audited, "--folds", 2, "--fold", 0, "--run", "fold-0")
    shutil.copyfile(drawn, "data.npz")
    before = Path("data.npz").read_bytes()
    assert run("train", "tiny", "--data", "data.npz", *folds, *SETTINGS[2:]) == 0
    capsys.readouterr()
    assert run("soft-labels", *arguments) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not Path("teacher.npz").exists()
    assert Path("data.npz").read_bytes() == before


def test_votes_of_another_place_are_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    faces = draw_faces(90, seed=0, size=16)
    usages = [("Training", "PublicTest", "PrivateTest")[split] for split in faces.splits]
    pixels = [" ".join(map(str, image.ravel())) for image in faces.images]
    rows = [f"{label},{text},{usage}" for label, text, usage in zip(faces.targets, pixels, usages, strict=True)]
    Path("faces.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    votes = [",".join([usage, f"fer{i:07}.png", *"1111111111"]) for i, usage in enumerate(usages)]
    Path("elsewhere.csv").write_text("\n".join([f"Usage,Image name,{','.join(VOTE_COLUMNS)}", *votes]))
    assert run("train", "tiny", "--data", "faces.csv", "--votes", "elsewhere.csv", *SETTINGS) == 0
    assert read_spec(Path("run/tiny.onnx")).names == ("fer2013", "ferplus")
    Path("run/tiny.onnx").unlink()
    assert run("train", "--resume", "run") == 0
    Path("elsewhere.csv").rename("moved.csv")
    Path("run/tiny.onnx").unlink()
    capsys.readouterr()
    assert "elsewhere.csv" in error_of(capsys, "train", "--resume", "run")
    assert run("train", "--resume", "run", "--votes", "moved.csv") == 0


def test_an_audit_alone_leaves_nothing_out(drawn: Path, audited: Path) -> None:
    assert run("train", "tiny", "--data", drawn, "--audit", audited, *SETTINGS) == 0
    assert read_spec(Path("run/tiny.onnx")).trained_on.keys() == {"name", "fingerprint"}
    assert np.load("run/rows.npy").sum() == (read_dataset(drawn).splits == 0).sum()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--drop-leaks",), "--drop-leaks, --folds and --fold need the output of mien data audit"),
        (("--folds", 5, "--fold", 0), "name it with --audit"),
        (("--fold", 0), "name it with --audit"),
        (("--audit", "AUDIT", "--folds", 5), "go together"),
        (("--audit", "AUDIT", "--fold", 0), "go together"),
        (("--audit", "AUDIT", "--folds", 5, "--fold", 5), "choose 0 to 4"),
        (("--audit", "nowhere"), "'nowhere' is not an audit"),
        (("--resume", "run", "--drop-leaks"), "a resumed run keeps its training images"),
        (("--resume", "run", "--audit", "AUDIT"), "leave out --audit"),
        (("--resume", "run", "--init", "base"), "a resumed run continues from its own checkpoint"),
        (("--resume", "run", "--seed", 1), "a resumed run keeps folder and settings"),
        (("--resume", "run", "--set", "learning_rate=0.1"), "leave out --run, --set, --weight and --seed"),
        (("--resume", "run", "--devices", 2), "a resumed run keeps its number of processes"),
        (("--resume", "run", "--weight", 2), "leave out --run, --set, --weight and --seed"),
        (("--data", "DRAWN"), "is the same data as 'drawn'; give it once, with a --weight"),
        (("--weight", 1, "--weight", 2), "there are 2 weights (--weight) for 1 datasets (--data)"),
        (("--weight", 0), "data_weights[0] is 0.0; expected a positive number; --weight takes one"),
        (("--devices", 999), "more than this process may use"),
        (("--set", "net=resnet9"), "unknown net 'resnet9'; choose from model2020"),
        (("--set", "name='CON'"), "a model cannot be called 'CON'"),
        (("--log", "csv"), "unknown logger 'csv' (--log); choose from tensorboard, wandb, mlflow"),
    ],
)
def test_impossible_flags_are_one_clear_line(
    arguments: tuple[object, ...], expected: str, drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("train", "tiny", "--data", drawn, *({"AUDIT": audited, "DRAWN": drawn}.get(str(a), a) for a in arguments))
        == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not Path("run").exists()
    assert not Path("runs").exists()


def test_an_unknown_net_is_refused_before_the_data_are_read(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mien.data.readers.read_dataset", lambda *_, **__: pytest.fail("the data are read"))
    assert "unknown net 'resnet9'" in error_of(capsys, "train", "tiny", "--data", drawn, "--set", "net=resnet9")


def test_bad_input_is_found_before_pytorch_is_imported() -> None:
    commands = [
        ("train", "tiny", "--data", "nowhere"),
        ("train", "huge", "--data", "nowhere"),
        ("train", "tiny", "--data", "nowhere", "--set", "seed"),
        ("train", "tiny", "--data", "nowhere", "--log", "paper"),
        ("train", "--resume", "nowhere"),
        ("train", "--help"),
    ]
    code = "import sys; from commands import run; codes = [run(*each) for each in eval(sys.argv[1])]; "
    code += "assert codes == [2] * 5 + [0], codes; assert 'torch' not in sys.modules"
    path = os.pathsep.join(filter(None, [str(Path(commands_module.__file__).parent), os.environ.get("PYTHONPATH")]))
    subprocess.run([sys.executable, "-c", code, repr(commands)], check=True, env={**os.environ, "PYTHONPATH": path})


def test_an_audit_of_other_data_is_refused(drawn: Path, audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "prepare", drawn, "small.npz", "--size", 24) == 0
    assert run("train", "tiny", "--data", "small.npz", "--audit", audited, "--drop-leaks", *SETTINGS) == 2
    assert "audit the same dataset" in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_last_stage_of_another_size_is_one_line_of_warning(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run("train", "tiny", "--data", drawn, *SETTINGS, "--set", "preprocess.size=24") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the last stage trains at 16 pixels, but the model's input has 24")


def test_a_run_starts_from_the_weights_of_another(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "tiny", "--data", drawn, *SETTINGS) == 0
    assert run("train", "tiny", "--data", drawn, *SETTINGS[2:], "--init", "run", "--run", "next") == 0
    assert "started from tiny (" in capsys.readouterr().out


def test_a_model_with_folded_branches_is_no_start(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "start from its run" in error_of(capsys, "train", "tiny", "--data", drawn, *SETTINGS, "--init", "mini")


@pytest.fixture
def photos(drawn: Path, own_folder: None) -> Path:
    """A class folder of two of the drawn faces' labels, larger and in colour."""
    faces = draw_faces(60, seed=9, size=40)
    kept = np.isin(faces.targets, [3, 6])
    faces = replace(faces, images=np.repeat(faces.images, 3, axis=3)).select(kept)
    for i, (image, target) in enumerate(zip(faces.images, faces.targets, strict=True)):
        folder = Path("photos") / ("train" if i % 4 else "valid") / faces.labels.labels[target]
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(folder / f"{i}.png", image)
    return Path("photos")


def test_train_fits_several_datasets_and_resumes(drawn: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--data", drawn, "--data", photos, "--weight", 1, "--weight", 2.5)
    assert run("train", "tiny", *given, *SETTINGS, "--set", "class_balance=0.5") == 0
    assert "valid photos" in capsys.readouterr().out
    data = json.loads(Path("run/environment.json").read_text())["data"]
    assert [(facts["name"], facts["weight"], facts["head"]) for facts in data] == [
        ("drawn", 1.0, "fer2013"), ("photos", 2.5, "fer2013"),
    ]  # fmt: skip
    assert json.loads(Path("run/config.json").read_text())["data_weights"] == [1.0, 2.5]
    before = Path("run/tiny.onnx").read_bytes()
    assert run("train", "--resume", "run") == 0
    assert run("export", "run", *given[:4]) == 0
    assert Path("run/tiny.onnx").read_bytes() == before
    assert run("export", "run", "--data", photos) == 2
    assert "give the same --data" in capsys.readouterr().err


def test_labels_that_no_head_has_are_one_clear_line(
    drawn: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in photos.iterdir():
        (folder / "happy").rename(folder / "bored")
    assert run("train", "tiny", "--data", drawn, "--data", photos, *SETTINGS) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # after the note on held-out images
    assert "no head has all labels of 'photos' (bored, neutral)" in line
    own = 'heads=[{labels="fer2013"}, {labels="photos"}]'
    assert own in line
    assert run("train", "tiny", "--data", drawn, "--data", photos, *SETTINGS, "--set", own) == 0
    assert read_spec(Path("run/tiny.onnx")).names == ("fer2013", "photos")


def test_ctrl_c_names_the_command_that_resumes(
    drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mien.training.run.Trainer._step", interrupt)
        assert run("train", "tiny", "--data", drawn, *SETTINGS) == 130
    assert "stopped; resume with: mien train --resume run" in capsys.readouterr().err
    assert run("train", "--resume", "run") == 0
    assert Path("run/tiny.onnx").exists()


def test_help_shows_the_layout_of_clips(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train-temporal", "--help") == 0
    assert "<class>/<clip>" in capsys.readouterr().out
