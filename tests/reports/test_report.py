import csv
import html
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.data.dataset import FoundFaces, PictureLabel
from mien.errors import ConfigError, InputError, OutputError
from mien.evaluation.compare import compare
from mien.evaluation.evaluate import evaluate
from mien.evaluation.results import DegradedResult
from mien.evaluation.slice_table import SliceTable
from mien.evaluation.slices import slice_evaluation
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.reports.comparison import comparison_markdown
from mien.reports.metrics_json import read_metrics, to_metrics
from mien.reports.overview import write_reports
from mien.reports.report import NOTE, report_markdown, write_report
from mien.reports.tables import views_table


def rows_after(markdown: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, header first."""
    lines = markdown[markdown.index(heading) :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


def test_a_report_is_a_folder_of_numbers_text_and_plots(evaluation, tmp_path):
    path = write_report(evaluation, tmp_path / "new" / "report")
    assert path.name == "report.md"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "confusion_flip.csv",
        "confusion_flip.png",
        "confusion_single.csv",
        "confusion_single.png",
        "metrics.json",
        "reliability_flip.png",
        "reliability_single.png",
        "report.html",
        "report.md",
        "risk_coverage_flip.png",
        "risk_coverage_single.png",
    ]
    for view in ("single", "flip"):
        with Image.open(path.parent / f"confusion_{view}.png") as picture:
            picture.load()


def test_metrics_json_holds_rounded_metrics(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["version"] == 4
    assert metrics["model"]["trained_on"] == {"name": "fer2013", "fingerprint": "abc"}
    assert metrics["data"]["fingerprint"] == evaluation.fingerprint
    figures, result = metrics["views"]["single"], evaluation.views["single"]
    assert figures["accuracy"] == round(result.accuracy.correct / 200, 5)
    assert figures["accuracy_low"] == round(result.accuracy.low, 5)
    assert figures["leak_free"]["n"] == 192
    assert figures["uncalibrated"]["nll"] == round(result.uncalibrated.nll, 5)
    assert figures["confusion"] == result.confusion.tolist()
    assert list(figures["classes"]) == metrics["labels"] == list(FER2013.labels)
    assert figures["classes"]["fear"]["support"] == result.classes[2].support
    assert "probabilities" not in figures


def test_metrics_are_read_back_as_they_were(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == to_metrics(evaluation)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 3}', '{"version": 5}', "[" * 200_000])
def test_a_file_without_metrics_is_refused(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="mien evaluate"):
        read_metrics(tmp_path / "metrics.json")


OLD_KEYS = {
    "calibration": "honesty",
    "operating_point": "answering",
    "target_accuracy": "wanted",
    "leak_free": "unleaked",
    "leak_criterion": "same",
    "n_excluded": "n_left_out",
}


def as_version_3(value):
    """Return the contents of a metrics.json with the keys up to version 3."""
    if not isinstance(value, dict):
        return value
    return {OLD_KEYS.get(key, key): as_version_3(each) for key, each in value.items()}


@pytest.mark.parametrize("version", [2, 3])
def test_metrics_of_older_versions_are_read(pixel_reader, written, tmp_path, version):
    evaluation = evaluate(pixel_reader(FER2013), written([(0, 0, 0, "test"), (1, 1, 1, "test")]), split="test")
    metrics = as_version_3(to_metrics(evaluation)) | {"version": version}
    assert metrics["views"]["flip"]["honesty"]["answering"]["wanted"] == 0.8
    if version == 2:
        del metrics["data"]["same"]  # leaks were found by pixels only
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert read_metrics(tmp_path / "metrics.json") == to_metrics(evaluation)
    assert list(read_metrics(tmp_path / "metrics.json")["data"]) == list(to_metrics(evaluation)["data"]) or version == 2


def test_classes_may_be_named_like_old_keys(pixel_reader, written, tmp_path):
    labels = LabelSet("moods", ("wanted", "same"))
    evaluation = evaluate(
        pixel_reader(labels), written([(0, 0, 0, "test"), (1, 1, 1, "test")], labels=labels), split="test"
    )
    metrics = to_metrics(evaluation)
    (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "version": 3}), encoding="utf-8")
    assert read_metrics(tmp_path / "metrics.json") == metrics


def test_a_missing_metrics_json_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json"):
        read_metrics(tmp_path / "nowhere.json")


def test_the_csv_has_labels_around_the_counts(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    with (tmp_path / "confusion_flip.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == [row[0] for row in rows] == list(FER2013.labels)
    assert [[int(count) for count in row[1:]] for row in rows] == evaluation.views["flip"].confusion.tolist()


def test_the_text_has_a_row_per_view_with_wilson_intervals(evaluation):
    header, single, flip = rows_after(report_markdown(to_metrics(evaluation)), "## Results")
    cells, accuracy = dict(zip(header, single, strict=True)), evaluation.views["single"].accuracy
    assert (cells["split"], cells["view"], cells["images"]) == ("fer2013 PrivateTest", "single", "200")
    assert cells["accuracy, %"] == f"{100 * accuracy.value:.2f} ({100 * accuracy.low:.2f}–{100 * accuracy.high:.2f})"
    leak_free = evaluation.views["single"].leak_free
    assert cells["without copies, %"].startswith(f"{100 * leak_free.value:.2f} (")
    result = evaluation.views["single"]
    assert cells["NLL"] == f"{result.calibration.nll:.3f}"
    low, high = result.macro_f1_interval
    assert cells["macro-F1"] == f"{result.macro_f1:.3f} ({low:.3f}–{high:.3f})"
    assert flip[1] == "flip"


def test_the_text_has_a_table_of_classes_with_their_confusions(evaluation):
    header, *rows = rows_after(report_markdown(to_metrics(evaluation)), "## Per class, flip")
    assert [row[0] for row in rows] == list(FER2013.labels)
    cells, result = dict(zip(header, rows[3], strict=True)), evaluation.views["flip"]
    assert cells["recall"] == f"{result.classes[3].recall:.3f}"
    assert cells["images"] == str(result.classes[3].support)
    wrong = result.confusion[3].copy()
    wrong[3] = 0
    expected = f"{FER2013.labels[wrong.argmax()]} ({100 * wrong.max() / result.confusion[3].sum():.1f} %)"
    assert cells["most often confused with"] == expected


def test_a_class_without_images_has_no_scores_in_reports(pixel_reader, written):
    evaluation = evaluate(pixel_reader(FER2013), written([(3, 3, 0, "test"), (4, 3, 0, "test")]), split="test")
    rows = rows_after(report_markdown(to_metrics(evaluation)), "## Per class, flip")
    assert [row[1:5] for row in rows if row[0] in ("angry", "sad")] == [["–", "–", "–", "0"], ["0.000"] * 3 + ["1"]]
    both = compare(evaluation, replace(evaluation, name="other"))
    rows = rows_after(comparison_markdown(both), "## By class")
    assert [row[2:5] for row in rows if row[0] == "angry"] == [["–", "–", "–"]]


def test_the_text_names_model_data_and_recipe(evaluation):
    text = report_markdown(to_metrics(evaluation))
    assert text.startswith("# pixel-reader on fer2013 PrivateTest\n")
    assert NOTE in text
    assert evaluation.fingerprint in text
    assert "- Recipe: tiny\n" in text
    assert "- Trained on: fer2013, fingerprint abc\n" in text
    assert "192 of 200 images whose exact pixels do not occur in Training" in text
    assert "![Confusion matrix, flip](confusion_flip.png)" in text


def test_the_text_names_the_leak_criterion(pixel_reader, written):
    dataset = written([(1, 1, 1, "train"), (1, 1, 1, "test"), (2, 1, 1, "test"), (3, 3, 3, "test")])
    by_photo, by_pixels = (
        to_metrics(evaluate(pixel_reader(FER2013), dataset, clusters=clusters, split="test"))
        for clusters in (np.array([0, 0, 2, 3]), None)
    )
    text = report_markdown(by_photo)
    assert rows_after(text, "## Results")[0][4] == "without leaks, %"
    assert rows_after(text, "## Results")[1][4].startswith("50.00 (")
    assert "the 2 of 3 images whose photo does not occur in Training" in text
    assert "the bootstrap resamples photos" in text
    assert "exact pixels" not in text
    text = report_markdown(by_pixels)
    assert rows_after(text, "## Results")[0][4] == "without copies, %"
    assert "the 3 of 3 images whose exact pixels do not occur in Training" in text
    assert "resamples photos" not in text
    assert rows_after(views_table([by_photo, by_pixels]), "| split")[0][4] == "without copies or leaks, %"


def test_the_text_reports_calibration(evaluation):
    text, result = report_markdown(to_metrics(evaluation)), evaluation.views["flip"]
    header, after, before = rows_after(text, "## Calibration, flip")
    assert header == ["probabilities", "NLL", "Brier", "ECE", "AURC"]
    for row, of in ((after, result.calibration), (before, result.uncalibrated)):
        assert row[1:] == [f"{value:.3f}" for value in (of.nll, of.brier, of.ece, of.aurc)]
    assert "![Reliability diagram, flip](reliability_flip.png)" in text
    assert ("answer only at a confidence of at least" in text) == (result.calibration.operating_point is not None)


def test_the_text_says_if_no_threshold_reaches_the_target_accuracy(pixel_reader, written):
    evaluation = evaluate(pixel_reader(FER2013), written([(1, 3, 3, "test")]), split="test")
    assert "No confidence threshold reaches the target accuracy" in report_markdown(to_metrics(evaluation))


def test_a_report_has_a_sheet_of_mistakes_only_if_given_one(evaluation, tmp_path):
    for name, sheet in (("with", np.zeros((20, 20, 3), np.uint8)), ("without", None)):
        path = write_report(evaluation, tmp_path / name, sheet=sheet)
        assert (path.parent / "mistakes.png").exists() == (sheet is not None)
        assert ("mistakes.png" in path.read_text(encoding="utf-8")) == (sheet is not None)


def test_the_html_page_is_self_contained(evaluation, tmp_path):
    path = write_report(evaluation, tmp_path, sheet=np.zeros((20, 20, 3), np.uint8))
    text = path.with_suffix(".html").read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 7
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<h1>pixel-reader on fer2013 PrivateTest</h1>" in text
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


def test_several_evaluations_share_one_table_and_have_a_report_each(evaluation, tmp_path):
    other = replace(evaluation, name="runs/2/other.onnx")
    path = write_reports([evaluation, other], tmp_path / "all")
    header, *rows = rows_after(path.read_text(encoding="utf-8"), "# Evaluations")
    assert header[:3] == ["model", "split", "view"]
    assert [row[0] for row in rows] == ["pixel-reader"] * 2 + ["runs/2/other.onnx"] * 2
    folders = ["01-pixel_reader_on_fer2013_PrivateTest", "02-runs_2_other.onnx_on_fer2013_PrivateTest"]
    for folder in folders:
        assert f"({folder}/report.md)" in path.read_text(encoding="utf-8")
        assert (path.parent / folder / "report.md").is_file()
    assert path.read_text(encoding="utf-8").count("*Without copies*") == 1


def test_several_datasets_get_a_matrix_with_chance_and_all_confusions(evaluation, pixel_reader, written, tmp_path):
    rows = [(3, 3, 3, "test"), (3, 3, 3, "test"), (3, 5, 5, "test"), (5, 4, 4, "test")]
    reader = pixel_reader(FER2013)
    here = evaluate(reader, written(rows, name="here"), name="a", split="test")
    path = write_reports([here, replace(here, name="b"), replace(evaluation, name="a")], tmp_path)
    header, *lines = rows_after(path.read_text(encoding="utf-8"), "## Models by dataset")
    assert header == ["accuracy, %", "here test, head fer2013", "fer2013 PrivateTest"]
    assert [line[0] for line in lines] == ["a", "b", "*chance*"]
    assert lines[0][1].startswith("50.00 (")
    assert lines[1][2] == "–"
    assert lines[2][1] == "75.00"  # three of four are happy
    commonest = evaluation.views["single"].confusion.sum(axis=1).max()
    assert lines[2][2] == f"{100 * commonest / 200:.2f}"
    with Image.open(path.parent / "matrix.png") as picture:
        picture.load()


def test_one_dataset_needs_no_matrix(evaluation, tmp_path):
    path = write_reports([evaluation, replace(evaluation, name="other")], tmp_path)
    assert "Models by dataset" not in path.read_text(encoding="utf-8")
    assert not (tmp_path / "matrix.png").exists()


def test_the_same_evaluation_twice_is_refused(evaluation, tmp_path):
    with pytest.raises(ConfigError, match="'pixel-reader on fer2013 PrivateTest' was evaluated twice"):
        write_reports([evaluation, evaluation], tmp_path)


def test_the_text_names_classes_that_only_model_or_dataset_has(pixel_reader, written):
    rows = [(7, 0, 0, "test"), (1, 3, 0, "test")]
    text = report_markdown(to_metrics(evaluate(pixel_reader(FER2013), written(rows, labels=FERPLUS), split="test")))
    assert "1 images of classes that the model lacks are excluded (contempt)" in text
    text = report_markdown(to_metrics(evaluate(pixel_reader(FERPLUS), written([(1, 3, 0, "test")]), split="test")))
    assert "classes of the model (contempt); probabilities are renormalised" in text


def test_the_splits_of_other_data_keep_our_names(pixel_reader, written):
    dataset = written([(1, 1, 1, "valid")], name="mine")
    metrics = to_metrics(evaluate(pixel_reader(FER2013), dataset, split="valid"))
    assert report_markdown(metrics).startswith("# pixel-reader on mine valid, head fer2013\n")
    assert rows_after(report_markdown(metrics), "## Results")[1][4] == "–"


def test_without_matplotlib_a_report_lacks_only_its_plots_and_says_so(evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match=r"no plots: .* pip install .*\[reports\]"):
        path = write_report(evaluation, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "confusion_flip.csv",
        "confusion_single.csv",
        "metrics.json",
        "report.html",
        "report.md",
    ]
    text = path.read_text(encoding="utf-8")
    assert "Plots are missing" in text
    assert "![" not in text
    assert "<img" not in path.with_suffix(".html").read_text(encoding="utf-8")


def test_without_matplotlib_several_evaluations_still_share_a_table(evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    other = replace(evaluation, name="other", dataset="elsewhere")
    with pytest.warns(UserWarning, match="no plots"):
        text = write_reports([evaluation, other], tmp_path).read_text(encoding="utf-8")
    assert "## Models by dataset" in text
    assert "Plots are missing" in text
    assert "![" not in text


def test_names_are_shown_as_they_are(evaluation, tmp_path):
    name = "<img src=x onerror=alert(1)> _a_ *b* [c](d) ![e](/etc/passwd) f|g"
    path = write_report(replace(evaluation, name=name), tmp_path)
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert f"<h1>{html.escape(name, quote=False)} on fer2013 PrivateTest</h1>" in page
    assert "<img src" not in page
    overview = write_reports([evaluation, replace(evaluation, name=name)], tmp_path / "both").with_suffix(".html")
    assert f"<td>{html.escape(name, quote=False)}</td>" in overview.read_text(encoding="utf-8")


def test_a_folder_that_is_a_file_is_an_output_error(evaluation, tmp_path):
    (tmp_path / "report").write_text("taken", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot make folder"):
        write_report(evaluation, tmp_path / "report")


def test_importing_the_report_loads_neither_matplotlib_nor_torch():
    code = "import sys, mien.reports.card; sys.exit(bool({'matplotlib', 'torch', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_end_to_end_columns_and_missed_faces_are_shown_if_faces_were_detected(pixel_reader, written):
    missed = FoundFaces(detector="haar", n_pictures=4, missed=(PictureLabel("a.jpg", "test", "happy"),))
    rows = [(3, 3, 3, "test"), (3, 4, 4, "test"), (6, 6, 6, "test")]
    evaluation = evaluate(pixel_reader(FER2013), replace(written(rows), found=missed), views=["single"], split="test")
    text = report_markdown(to_metrics(evaluation))
    header, cells = rows_after(text, "## Results")
    shown = dict(zip(header, cells, strict=True))
    assert shown["accuracy, %"].startswith("66.67 (")
    assert shown["end to end, %"].startswith("50.00 (")
    assert shown["balanced, end to end, %"].startswith("66.67 (")
    assert shown["AUC happy/neutral"] == "1.000"  # the ratio of sad is between the two
    assert "haar detected no face in 1 of 4 pictures" in text
    header, *classes = rows_after(text, "## Per class, single")
    happy = dict(zip(header, classes[3], strict=True))
    assert (happy["recall"], happy["missed faces"], happy["recall, end to end"]) == ("0.500", "1", "0.333")


def test_version_4_without_the_optional_keys_is_read_and_reported(evaluation, tmp_path):
    metrics = to_metrics(evaluation)
    for view in metrics["views"].values():
        del view["happy_neutral"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert "AUC happy" not in report_markdown(read_metrics(tmp_path / "metrics.json"))


def test_slices_and_degraded_images_have_sections_and_a_plot(evaluation, pixel_reader, written, tmp_path):
    values = np.where(np.arange(200) % 2, "dark", "light").tolist()
    table = SliceTable(path=tmp_path / "s.csv", names=[f"{i}.jpg" for i in range(200)], columns={"light_": values})
    names = np.array([f"{i}.jpg" for i in range(200)])
    dataset = written([(int(t), 0, 0, "test") for t in evaluation.targets])
    sliced = slice_evaluation(evaluation, replace(dataset, names=names), table)
    degraded = DegradedResult(
        name="noise", accuracy=evaluation.views["single"].accuracy, lost=3, gained=1, difference=-0.01, low=-0.03,
        high=0.01, recalls=(0.5,) * 7, happy_neutral=None,
    )  # fmt: skip
    path = write_report(replace(sliced, robustness=(replace(degraded, name="clean"), degraded)), tmp_path)
    text = path.read_text(encoding="utf-8")
    header, *rows = rows_after(text, "### light\\_")
    dark = dict(zip(header, rows[0], strict=True))
    result = sliced.slices[0].slices[0].result
    assert (dark["value"], dark["pictures"]) == ("dark", "100")
    assert dark["accuracy, %"].startswith(f"{100 * result.accuracy.value:.2f} (")
    assert dark["recall happy, %"] == f"{100 * result.classes[3].recall:.1f} of {result.classes[3].support}"
    assert re.search(r"Largest gap: [\d.]+ points between (light and dark|dark and light) in the mean recall", text)
    header, clean, noise = rows_after(text, "## Degraded images")
    assert dict(zip(header, noise, strict=True))["difference, points"] == "−1.0 (−3.0 to +1.0)"
    assert clean[2:5] == ["–"] * 3
    with Image.open(tmp_path / "robustness.png") as picture:
        picture.load()
    assert read_metrics(tmp_path / "metrics.json")["slices"][0]["slices"][0]["n"] == 100
