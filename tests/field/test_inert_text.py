"""Text from files never acts: names of files, classes, datasets and models, and the texts of a spec.

Sources: Rich's markup in file names ended pip and others with a MarkupError (github.com/Textualize/rich/issues/2187);
terminal escapes in names (CVE-2003-0063 and its kin); Trojan Source (CVE-2021-42574); CSV injection (OWASP).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from markdown_it import MarkdownIt

from commands import run
from mien.cli.console import PlainConsole, fail, new_table, notice, say
from mien.data.audit import audit
from mien.data.dataset import Dataset
from mien.data.synthetic import draw_faces
from mien.escape import visible
from mien.evaluation.compare import compare
from mien.evaluation.evaluate import evaluate
from mien.evaluation.results import Evaluation
from mien.evaluation.temporal import TemporalScores
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.spec import Head, Temporal
from mien.reports.audit import write_audit
from mien.reports.card import model_card
from mien.reports.comparison import write_comparison
from mien.reports.metrics_json import to_metrics
from mien.reports.overview import write_reports
from mien.reports.sheets import mistakes_sheet, most_confident_mistakes
from mien.reports.temporal import temporal_card

PRINTABLE = r"=[b]x[/b] <i>y</i> \[red] $\frac{$ *a* `c` | [l](j:x) # "
CODES = "\x1b[31m\n\r\u202e\udcff"
NASTY = PRINTABLE + CODES
ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # all but line feeds


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def evaluation_named(name: str, pixel_reader: Any, written: Any) -> tuple[Evaluation, Dataset]:
    """Return an evaluation, with mistakes, whose names are all `name`, and its dataset.

    Labels, dataset and the spec's texts are the printable part, as a spec with control codes is refused.
    """
    printable = name.removesuffix(CODES)
    labels = LabelSet(printable, tuple(f"{printable}{i}" for i in range(3)))
    rows = [(i % 3, i % 2, i % 3, split) for i in range(12) for split in ("test", "train")]
    dataset = replace(written(rows, labels=labels, name=printable), names=np.array([name] * len(rows)))
    reader = pixel_reader(labels, FERPLUS, temperature=1.5)
    reader.spec = replace(reader.spec, **spec_texts(printable))
    return evaluate(reader, dataset, views=["single"], name=name, split="test"), dataset


def spec_texts(name: str) -> dict[str, Any]:
    trained_on = {"name": name, name: name, "init": name, "made": f"```\n{name} --hold-out {name}"}
    return {"name": name, "arch": name, "license": name, "trained_on": trained_on, "recipe": {"name": name, name: 1}}


def write_all(name: str, folder: Path, pixel_reader: Any, written: Any) -> None:
    """Write every kind of report about things called `name`."""
    folder.mkdir()
    evaluation, dataset = evaluation_named(name, pixel_reader, written)
    other = replace(evaluation, name=f"{name} 2", dataset=f"{name} 2")
    sheet, most_confident = mistakes_sheet(evaluation, dataset), most_confident_mistakes(evaluation, dataset, 2)
    write_reports([evaluation, other], folder / "several", sheets=[sheet, sheet], most_confident=[most_confident, None])
    comparison = compare(evaluation, other, view="single")
    write_comparison(comparison, folder / "comparison", sheet=sheet)
    write_audit(audit(dataset), dataset, folder / "audit")
    card = model_card(evaluation.spec, [to_metrics(evaluation)], size_bytes=1)
    scores = TemporalScores(accuracy=0.5, changes=1.0, delay=0.1, missed=0.0)
    temporal = Temporal(classifier=evaluation.spec.name, fingerprint="", width=3, state=4)
    spec = replace(evaluation.spec, kind="temporal", temporal=temporal)
    for text, file in ((card, "card.md"), (temporal_card(spec, {name: {"single frames": scores}}), "temporal.md")):
        (folder / file).write_text(text, encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path, pixel_reader: Any, written: Any) -> tuple[Path, Path]:
    """Return two folders of the same reports, about nasty and about harmless names."""
    for folder, name in (("nasty", NASTY), ("plain", "plain")):
        write_all(name, tmp_path / folder, pixel_reader, written)
    return tmp_path / "nasty", tmp_path / "plain"


@pytest.mark.filterwarnings("ignore:Glyph")  # of the plots: the font lacks what replaces an undecodable byte
def test_names_in_reports_are_only_text(folders: tuple[Path, Path]) -> None:
    nasty, plain = folders
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    for ours in (path for path in nasty.rglob("*") if path.suffix in (".md", ".html", ".csv")):
        text = ours.read_text(encoding="utf-8")
        theirs = plain / str(ours.relative_to(nasty)).replace(visible(NASTY), "plain")
        if theirs.parent != plain and not theirs.exists():  # the folder's name holds that of the model
            (theirs,) = plain.rglob(f"{ours.parent.name[:2]}-*/{ours.name}")
        expected = theirs.read_text(encoding="utf-8")
        if ours.suffix == ".csv":
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert len(cells) == len([cell for row in csv.reader(io.StringIO(expected)) for cell in row])
            assert not any(cell.startswith("=") for cell in cells)
            continue
        assert ACTING.search(text) is None, ours
        if ours.suffix == ".html":
            assert Tags(text).found == Tags(expected).found, ours
        else:
            assert kinds(parser, text) == kinds(parser, expected), ours


def kinds(parser: MarkdownIt, text: str) -> list[str]:
    """Return the kinds of a text's elements; neighbouring pieces of text count as one."""
    found = [leaf.type for token in parser.parse(text) for leaf in (token.children or [token])]
    return [kind for kind, _ in groupby("text" if kind in ("text_special", "softbreak") else kind for kind in found)]


@pytest.mark.parametrize("terminal", [True, False])
def test_strings_on_a_console_are_shown_as_they_are(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    file = io.StringIO()
    console = PlainConsole(
        file=file, force_terminal=terminal, color_system="truecolor" if terminal else None, width=999
    )
    table = new_table(NASTY, title=NASTY)
    table.add_row(NASTY)
    console.print(NASTY, highlight=False)
    console.print(table)
    printed = re.sub("\x1b\\[[0-9;]*m", "", file.getvalue())  # the styles of the table, which are ours
    assert printed.count(visible(NASTY)) == 4
    assert ACTING.search(printed) is None
    say(NASTY)
    fail(NASTY)
    notice("note:", NASTY)
    captured = capsys.readouterr()
    assert (captured.out.count("\n"), captured.err.count("\n")) == (1, 2)
    assert ACTING.search(captured.out + captured.err) is None


@pytest.fixture
def nasty_things(tiny_model: Path, own_folder: None, tmp_path: Path) -> dict[str, str]:
    """Return the nasty names of a model, a folder of classes, a picture, and a recipe."""
    spec = read_spec(tiny_model)
    labels = LabelSet(PRINTABLE, tuple(f"{PRINTABLE}{label}" for label in FER2013))
    named = replace(spec, **spec_texts(PRINTABLE), heads=(Head(labels), *spec.heads[1:]))
    model = tmp_path / "models" / f"{PRINTABLE.replace('/', '')}.onnx"
    model.parent.mkdir()
    write_with_spec(tiny_model, model, named)
    classes = tmp_path / NASTY.replace("/", "")
    faces = draw_faces(80, seed=0)
    for i, (image, target) in enumerate(zip(faces.images, faces.targets, strict=True)):
        folder = classes / ("test", "train")[i % 2] / f"{labels.labels[target]}".replace("/", "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}{NASTY.replace('/', '')}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return {"MODEL": model.stem, "FILE": str(model), "DATA": str(classes), "PHOTO": str(next(classes.rglob("*.png")))}


@pytest.mark.parametrize(
    "command",
    [
        "models",
        "models add FILE --labels a,b --name MODEL",
        "predict PHOTO --model MODEL --detector whole --top 3",
        "predict PHOTO --model MODEL --labels DATA",
        "predict PHOTO PHOTO.png --min-confidence 1 --detector whole --out DATA",
        "explain PHOTO --model MODEL --detector whole --label MODEL",
        "live PHOTO --no-window --model DATA --csv x.csv",
        "data info DATA",
        "data info PHOTO",
        "data audit DATA",
        "data prepare DATA PHOTO.npz",
        "data export DATA DATA",
        "evaluate MODEL --data DATA --split test",
        "evaluate MODEL DATA --data DATA",
        "compare MODEL base --data DATA --split test",
        "bench --model MODEL --repeats 1",
        "doctor",
        "train DATA",
        "train --set DATA=1",
        "export DATA",
        "convert PHOTO",
    ],
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_commands_print_names_as_text(
    command: str, nasty_things: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    for word, thing in nasty_things.items():
        words = [each.replace(word, thing) for each in words]
    assert run(*words) in (0, 2)
    captured = capsys.readouterr()
    assert ACTING.search(captured.out + captured.err) is None
