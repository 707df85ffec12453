"""The report of scripts/cross_dataset.py, and the commands that scripts/release_model.py puts into a model."""

import json
import runpy
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from mien.cli.commands import app
from mien.evaluation.evaluate import evaluate
from mien.labels import FER2013
from mien.models.spec import Head, ModelSpec, Preprocess

SCRIPTS = Path(__file__).parents[2] / "scripts"
HAPPY, SAD = FER2013.index("happy"), FER2013.index("sad")


@pytest.fixture(scope="module")
def cross():
    return runpy.run_path(str(SCRIPTS / "cross_dataset.py"))


@pytest.fixture
def evaluations(pixel_reader, written):
    """ferg names all four cartoons right and one of three photographs, base two and two."""
    photographs = [(HAPPY, HAPPY, HAPPY, "valid"), (HAPPY, SAD, SAD, "valid"), (SAD, HAPPY, HAPPY, "valid")]
    cartoons = [(HAPPY, HAPPY, HAPPY, "test"), (SAD, SAD, SAD, "test")] * 2
    reader = pixel_reader(FER2013)
    data = {
        ("ferg", "valid"): written(photographs),
        ("ferg", "test"): written(cartoons, name="cartoons"),
        ("base", "valid"): written([(HAPPY, HAPPY, HAPPY, "valid"), *photographs[:2]]),
        ("base", "test"): written([*cartoons[:3], (SAD, HAPPY, HAPPY, "test")], name="cartoons"),
    }
    return [evaluate(reader, each, split=split, views=["single"], name=name) for (name, split), each in data.items()]


def test_the_report_has_each_model_on_the_other_kind_of_faces(cross, evaluations, tmp_path):
    cross["write_cross_report"](evaluations, tmp_path)
    text = " ".join((tmp_path / "cross-dataset.md").read_text(encoding="utf-8").split())
    assert "*ferg* classifies 100.0 % of the cartoons correctly" in text
    assert "33.3 % of the photographs, where always naming the most frequent class would reach 66.7 %" in text
    assert "*base* 66.7 % and 75.0 % (chance: 50.0 %)" in text
    assert "PublicTest" in text
    held = json.loads((tmp_path / "cross-dataset.json").read_text(encoding="utf-8"))
    assert [(each["model"]["name"], each["data"]["split"]) for each in held] == [
        ("ferg", "valid"), ("ferg", "test"), ("base", "valid"), ("base", "test"),
    ]  # fmt: skip
    with Image.open(tmp_path / "cross-dataset.png") as picture:
        picture.load()


def test_the_cartoons_are_drawn_by_the_commands_in_the_model(cross, monkeypatch):
    made = "mien data draw toons --characters ada,finn,gus --count 21 --size 16\n"
    made += "mien data prepare toons toons.npz --hold-out ada --valid finn"
    spec = ModelSpec(
        name="ferg", arch="ferg", heads=(Head(FER2013),), preprocess=Preprocess(), trained_on={"made": made}
    )
    drawn = cross["drawn"](spec)
    assert drawn.name == "toons-ada"
    assert drawn.counts().sum(axis=1).tolist() == [7, 7, 7]
    assert cross["drawn"](replace(spec)).fingerprint == drawn.fingerprint


def test_the_script_that_draws_the_cartoons_uses_existing_commands():
    commands = runpy.run_path(str(SCRIPTS / "release_model.py"))["commands_in"](SCRIPTS / "draw_cartoons.sh")
    assert [command.split()[:3] for command in commands] == [
        ["mien", "data", "draw"], ["mien", "data", "draw"], ["mien", "data", "prepare"],
    ]  # fmt: skip
    data = typer.main.get_command(app).commands["data"]
    for command in commands:
        _, _, name, *rest = shlex.split(command)
        data.commands[name].make_context(name, rest)  # raises the error a user would see


def test_a_script_without_commands_is_refused(tmp_path):
    (tmp_path / "empty.sh").write_text("echo mien\n")
    with pytest.raises(SystemExit, match="no line that starts with 'mien '"):
        runpy.run_path(str(SCRIPTS / "release_model.py"))["commands_in"](tmp_path / "empty.sh")


def test_missing_photographs_are_one_error_line_before_anything_is_drawn(cross, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["cross_dataset.py", "--fer2013", str(tmp_path / "nowhere.csv")])
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("cartoons were drawn"))
    with pytest.raises(SystemExit, match=r"no dataset at .*nowhere\.csv"):
        cross["main"]()
