"""The commands evaluate and compare, as a user has them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import error_of, run
from mien.data.audit import audit, save_audit
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.evaluation.evaluate import evaluate
from mien.models.classifier import load_classifier
from mien.models.onnx_file import read_spec, write_with_spec
from photographs import scene, write_pictures

pytestmark = pytest.mark.usefixtures("own_folder")


def test_compare_takes_the_valid_split_and_writes_a_sheet(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_model, "other.onnx")
    assert run("compare", tiny_model, "other.onnx", "--data", drawn) == 0
    printed = capsys.readouterr().out
    assert "The difference is not significant" in printed
    assert " points, 95 % interval " in printed
    (folder,) = Path("reports").iterdir()
    assert folder.name.endswith("-other.onnx-drawn-valid")
    assert (folder / "differences.png").is_file()


def test_compare_json_is_the_only_output_on_stdout(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_model, "other.onnx")
    assert run("compare", tiny_model, "other.onnx", "--data", drawn, "--json", "--out", "new/folder") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("new/folder/comparison.json").read_text())


def test_compare_refuses_an_unknown_view(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(tiny_model, "other.onnx")
    assert run("compare", tiny_model, "other.onnx", "--data", drawn, "--view", "best") == 2
    assert "choose from single, flip, tencrop" in capsys.readouterr().err


def test_evaluate_puts_models_and_datasets_in_one_table(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_model, "other.onnx")
    assert run("evaluate", tiny_model, "other.onnx", "--data", drawn, "--views", "single", "--out", "all") == 0
    assert "other.onnx" in capsys.readouterr().out
    assert len([path for path in Path("all").iterdir() if path.is_dir()]) == 2


def test_evaluate_takes_the_valid_split_and_names_it_with_its_images_and_chance(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    valid = read_dataset(drawn).split("valid")
    chance = valid.counts().sum(axis=0).max() / len(valid)
    assert run("evaluate", tiny_model, "--data", drawn, "--views", "single") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"drawn, split valid: {len(valid)} images, chance {100 * chance:.2f} %" in printed
    assert [folder.name.rpartition("-")[2] for folder in Path("reports").iterdir()] == ["valid"]


def test_evaluate_prints_a_table_per_dataset(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = read_dataset(drawn)
    prepare(replace(part, name="part").select(np.arange(0, len(part), 2)), "part.npz")
    assert run("evaluate", tiny_model, "--data", drawn, "--data", "part.npz", "--views", "single", "--out", "all") == 0
    printed = capsys.readouterr().out
    assert printed.count("split valid") == 2
    assert "part, split valid" in printed


@pytest.mark.filterwarnings("default:the report has no plots")
def test_evaluate_without_matplotlib_lacks_only_the_plots(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tiny_model, "other.onnx")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("evaluate", tiny_model, "other.onnx", "--data", drawn, "--views", "single", "--out", "all") == 0
    captured = capsys.readouterr()
    assert "macro-F1" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("warning: the report has no plots")
    assert re.search(r"pip install .*\[reports\]", line)
    assert len(list(Path("all").glob("*/metrics.json"))) == 2


def test_a_model_given_twice_is_refused(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", tiny_model, tiny_model, "--data", drawn) == 2
    assert "is given twice; name each model once" in capsys.readouterr().err


def test_evaluate_averages_ten_crops_if_asked(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", tiny_model, "--data", drawn, "--views", "tencrop", "--json", "--out", "ten") == 0
    assert json.loads(capsys.readouterr().out)["views"].keys() == {"tencrop"}


def test_evaluate_finds_leaks_by_an_audit(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = read_dataset(drawn)
    train, valid = (int((dataset.splits == split).argmax()) for split in (0, 1))
    clusters = np.arange(len(dataset))
    clusters[[train, valid]] = min(train, valid)
    save_audit(replace(audit(dataset, threshold=1.0), clusters=clusters), "audit.npz")
    assert run("evaluate", tiny_model, "--data", drawn, "--audit", "audit.npz", "--out", "report") == 0
    assert "without leaks" in capsys.readouterr().out
    metrics = json.loads(Path("report/metrics.json").read_text())
    assert metrics["data"]["leak_criterion"] == "photo"
    assert metrics["views"]["single"]["leak_free"]["n"] == metrics["data"]["n"] - 1


def claimed(model: Path, to: Path, fingerprint: str, accuracy: float) -> None:
    spec = replace(
        read_spec(model), metrics={"test/single/accuracy": accuracy}, trained_on={"fingerprint": fingerprint}
    )
    write_with_spec(model, to, spec)


def test_published_figures_are_remeasured(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = read_dataset(drawn)
    true = (
        evaluate(load_classifier(str(tiny_model)), dataset, views=["single"], split="test")
        .views["single"]
        .accuracy.value
    )
    claimed(tiny_model, Path("mine.onnx"), dataset.fingerprint, true)
    assert run("evaluate", "--published", "mine.onnx", "--data", drawn, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["holds"]
    claimed(tiny_model, Path("boaster.onnx"), dataset.fingerprint, true + 0.01)
    assert run("evaluate", "--published", "boaster.onnx", "--data", drawn) == 2
    captured = capsys.readouterr()
    assert "boaster.onnx test/single/accuracy by -1.000 points" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_published_figures_whose_data_is_not_given_are_named(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(drawn)
    true = (
        evaluate(load_classifier(str(tiny_model)), dataset, views=["single"], split="test")
        .views["single"]
        .accuracy.value
    )
    shipped = Path("shipped")
    shipped.mkdir()
    monkeypatch.setattr("mien.models.store.shipped_dir", lambda: shipped.absolute())
    claimed(tiny_model, shipped / "elsewhere.onnx", "fedcba", 0.5)
    assert run("evaluate", "--published", "--data", drawn) == 2  # nothing could be checked
    not_checked, error = capsys.readouterr().err.splitlines()
    assert not_checked.startswith("not checked: elsewhere")
    assert error.startswith("error: no shipped model is published on 'drawn'; give its data with --data")
    claimed(tiny_model, shipped / "mine.onnx", dataset.fingerprint, true)
    assert run("evaluate", "--published", "--data", drawn, "--json") == 0
    captured = capsys.readouterr()
    assert [(row["model"], row["holds"]) for row in json.loads(captured.out)] == [("elsewhere", None), ("mine", True)]
    assert captured.err.startswith("not checked: elsewhere")
    assert run("evaluate", "--published", "elsewhere", "mine", "--data", drawn) == 2  # both were asked for


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no model to evaluate"),
        (["--target-accuracy", "80"], "at most 1"),
        (["--views", "single,best"], "no view 'best'; choose from single, flip, tencrop"),
        (["--published"], "published without figures"),
        (["--published", "--votes", "v.csv", "--data", "DRAWN"], "--votes belongs to one dataset"),
        (["--votes", "v.csv", "--data", "DRAWN"], "belongs to one dataset"),
        (["--audit", "audits", "--data", "DRAWN"], "--audit belongs to one dataset"),
        (["--slices", "s.csv", "--data", "DRAWN"], "--slices belongs to one dataset"),
        (["--published", "--robustness"], "--robustness does not change"),
        (["--audit", "nowhere"], "'nowhere' is not an audit"),
        (["--published", "--audit", "audits"], "leave it out"),
        (["--split", "exam"], "unknown split 'exam'; choose from train, valid, test"),
    ],
)
def test_bad_arguments_of_evaluate_are_one_clear_line(
    arguments: list[str], expected: str, tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [tiny_model] if arguments else []
    assert run("evaluate", *model, "--data", drawn, *(drawn if a == "DRAWN" else a for a in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("evaluate", "--labels", "quark"),
        ("evaluate", "--views", "foo"),
        ("evaluate", "--target-accuracy", "3"),
        ("evaluate", "--audit", "nope"),
        ("compare", "--labels", "quark"),
        ("compare", "--view", "foo"),
    ],
)
def test_wrong_options_are_noticed_before_the_data_is_read(
    command: str, option: str, value: str, tiny_model: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the data was read")

    monkeypatch.setattr("mien.cli.measuring.read_data", read)
    shutil.copy(tiny_model, "other.onnx")
    models = [tiny_model] if command == "evaluate" else [tiny_model, "other.onnx"]
    assert value in error_of(capsys, command, *models, "--data", drawn, option, value)


@pytest.fixture
def scenes() -> Path:
    """Photographs of drawn faces, and one without a face, of two classes."""
    pictures = {f"valid/{('happy', 'neutral')[i % 2]}/{i}.png": scene(i) for i in range(5)}
    empty = np.full((240, 320), 90, np.uint8)
    return write_pictures(Path("scenes"), pictures | {"valid/happy/empty.png": empty, "test/happy/7.png": scene(7)})


def test_evaluate_shows_missed_faces_apart_and_end_to_end(
    tiny_model: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("evaluate", tiny_model, "--data", scenes, "--detector", "haar", "--out", "report")
    assert run(*command, "--sheet", 3) == 0
    assert "with a face, 1 without" in " ".join(capsys.readouterr().out.split())
    metrics = json.loads(Path("report/metrics.json").read_text())
    single = metrics["views"]["single"]
    assert metrics["data"]["detector"] == "haar"
    assert (single["end_to_end"]["n"], single["n"]) == (single["n"] + 1, metrics["data"]["n"])
    assert single["end_to_end"]["classes"]["happy"]["missed"] == 1
    report = Path("report/report.html").read_text()
    assert "haar detected no face in 1 of" in report
    assert Path("report/missed_faces.csv").read_text() == "file,true\nvalid/happy/empty.png,happy\n"
    lines = Path("report/most_confident_mistakes.csv").read_text().splitlines()
    assert lines[0] == "file,row,true,predicted,confidence"
    assert all(line.split(",")[0].endswith(".png") for line in lines[1:])


@pytest.mark.filterwarnings("default:1 of 6 rows", "default:column 'source'")
def test_evaluate_reports_by_the_columns_of_a_table(
    tiny_model: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{i}.png,{'ab'[i % 2]},web\n" for i in range(5))
    Path("slices.csv").write_text(f"file,light,source\n{rows}other.png,a,web\n")
    command = ("evaluate", tiny_model, "--data", scenes, "--detector", "haar", "--slices", "slices.csv")
    assert run(*command, "--views", "single", "--out", "report") == 0
    captured = capsys.readouterr()
    assert "1 of 6 rows of 'slices.csv' are about pictures that the dataset lacks, such as 'other.png'" in captured.err
    assert "column 'source' of 'slices.csv' has only the value 'web'; it is left out" in captured.err
    assert "by light" in captured.out
    assert "a (few)" in captured.out
    assert "Not compared: fewer than two values have 30 pictures" in captured.out
    metrics = json.loads(Path("report/metrics.json").read_text())
    assert [column["name"] for column in metrics["slices"]] == ["light"]
    assert "### light" in Path("report/report.md").read_text()


def test_evaluate_reports_degraded_images(tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", tiny_model, "--data", drawn, "--views", "single", "--robustness", "--out", "report") == 0
    assert "JPEG, quality 20" in capsys.readouterr().out
    metrics = json.loads(Path("report/metrics.json").read_text())
    clean = metrics["robustness"][0]
    assert (clean["name"], clean["accuracy"]) == ("clean", metrics["views"]["single"]["accuracy"])
    assert (Path("report") / "robustness.png").is_file()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot read 'slices.csv'"),
        ("", "'slices.csv' is empty"),
        ("who,sex\n0.png,f\n", "has no column of file names"),
        ("file,sex\nnobody.png,f\n", "names none of the"),
    ],
)
def test_bad_slices_are_one_clear_line(
    text: str | None, expected: str, tiny_model: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("slices.csv").write_text(text)
    assert run("evaluate", tiny_model, "--data", scenes, "--detector", "haar", "--slices", "slices.csv") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert expected in errors[0]


def test_slices_of_data_without_file_names_are_refused(
    tiny_model: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("slices.csv").write_text("file,sex\na.png,f\n")
    assert run("evaluate", tiny_model, "--data", drawn, "--slices", "slices.csv") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no file names" in line
