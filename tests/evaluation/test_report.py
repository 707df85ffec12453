import csv
import json
import subprocess
import sys

import pytest
from PIL import Image

from mien.errors import InputError, MissingExtra, OutputError
from mien.evaluation.evaluate import evaluate
from mien.evaluation.report import NOTE, read_metrics, report_markdown, to_metrics, write_report
from mien.labels import FER2013, FERPLUS


def rows_after(markdown: str, heading: str) -> list[list[str]]:
    """Cells of the first table after a heading, header first."""
    lines = markdown[markdown.index(heading) :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


def test_a_report_is_a_folder_of_numbers_text_and_pictures(evaluation, tmp_path):
    path = write_report(evaluation, tmp_path / "new" / "report")
    assert path.name == "report.md"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "confusion_flip.csv",
        "confusion_flip.png",
        "confusion_single.csv",
        "confusion_single.png",
        "metrics.json",
        "report.md",
    ]
    for view in ("single", "flip"):
        with Image.open(path.parent / f"confusion_{view}.png") as picture:
            picture.load()


def test_metrics_json_holds_the_figures_rounded(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["version"] == 1
    assert metrics["model"]["trained_on"] == {"name": "fer2013", "fingerprint": "abc"}
    assert metrics["data"]["fingerprint"] == evaluation.fingerprint
    figures, result = metrics["views"]["single"], evaluation.views["single"]
    assert figures["accuracy"] == round(result.accuracy.correct / 200, 5)
    assert figures["accuracy_low"] == round(result.accuracy.low, 5)
    assert figures["unleaked"]["n"] == 192
    assert figures["nll_uncalibrated"] == round(result.nll_uncalibrated, 5)
    assert figures["confusion"] == result.confusion.tolist()
    assert list(figures["classes"]) == metrics["labels"] == list(FER2013.labels)
    assert figures["classes"]["fear"]["support"] == result.classes[2].support
    assert "probabilities" not in figures


def test_metrics_are_read_back_as_they_were(evaluation, tmp_path):
    write_report(evaluation, tmp_path)
    assert read_metrics(tmp_path / "metrics.json") == to_metrics(evaluation)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}'])
def test_a_file_that_holds_no_metrics_is_refused(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="mien evaluate"):
        read_metrics(tmp_path / "metrics.json")


def test_metrics_that_are_not_there_are_an_input_error(tmp_path):
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
    assert (cells["split"], cells["view"], cells["pictures"]) == ("fer2013 PrivateTest", "single", "200")
    assert cells["accuracy, %"] == f"{100 * accuracy.value:.2f} ({100 * accuracy.low:.2f}–{100 * accuracy.high:.2f})"
    unleaked = evaluation.views["single"].unleaked
    assert cells["without copies, %"].startswith(f"{100 * unleaked.value:.2f} (")
    result = evaluation.views["single"]
    assert cells["NLL"] == f"{result.nll:.3f} ({result.nll_uncalibrated:.3f})"
    assert flip[1] == "flip"


def test_the_text_tells_classes_apart_and_what_they_are_taken_for(evaluation):
    header, *rows = rows_after(report_markdown(to_metrics(evaluation)), "## Per class, flip")
    assert [row[0] for row in rows] == list(FER2013.labels)
    cells, result = dict(zip(header, rows[3], strict=True)), evaluation.views["flip"]
    assert cells["recall"] == f"{result.classes[3].recall:.3f}"
    assert cells["pictures"] == str(result.classes[3].support)
    wrong = result.confusion[3].copy()
    wrong[3] = 0
    expected = f"{FER2013.labels[wrong.argmax()]} ({100 * wrong.max() / result.confusion[3].sum():.1f} %)"
    assert cells["most often taken for"] == expected


def test_the_text_says_what_it_is_about(evaluation):
    text = report_markdown(to_metrics(evaluation))
    assert text.startswith("# pixel-reader on fer2013 PrivateTest\n")
    assert NOTE in text
    assert evaluation.fingerprint in text
    assert "- Recipe: tiny\n" in text
    assert "- Trained on: name fer2013, fingerprint abc\n" in text
    assert "192 of 200 pictures whose exact pixels don't occur in Training" in text
    assert "![Confusion matrix, flip](confusion_flip.png)" in text


def test_classes_that_only_one_side_knows_are_told(pixel_reader, written):
    rows = [(7, 0, 0, "test"), (1, 3, 0, "test")]
    text = report_markdown(to_metrics(evaluate(pixel_reader(FER2013), written(rows, labels=FERPLUS))))
    assert "1 pictures of classes that the model lacks are left out (contempt)" in text
    text = report_markdown(to_metrics(evaluate(pixel_reader(FERPLUS), written([(1, 3, 0, "test")]))))
    assert "classes that the model knows (contempt); probabilities are renormalised" in text


def test_the_splits_of_other_data_keep_our_names(pixel_reader, written):
    dataset = written([(1, 1, 1, "valid")], name="mine")
    metrics = to_metrics(evaluate(pixel_reader(FER2013), dataset, split="valid"))
    assert report_markdown(metrics).startswith("# pixel-reader on mine valid, head fer2013\n")
    assert rows_after(report_markdown(metrics), "## Results")[1][4] == "–"


def test_numbers_are_written_even_without_matplotlib(evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra):
        write_report(evaluation, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "confusion_flip.csv",
        "confusion_single.csv",
        "metrics.json",
    ]


def test_a_folder_that_is_a_file_is_an_output_error(evaluation, tmp_path):
    (tmp_path / "report").write_text("taken", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot make folder"):
        write_report(evaluation, tmp_path / "report")


def test_importing_the_report_loads_neither_matplotlib_nor_torch():
    code = "import sys, mien.evaluation.card; sys.exit(bool({'matplotlib', 'torch', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
