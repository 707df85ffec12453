"""The documents are true: tables, links, commands, settings, imports, figures of the models."""

import ast
import importlib
import json
import re
import runpy
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mien.cli.commands import app, with_values
from mien.cli.voices import RECIPE as VOICE
from mien.labels import FER2013, FERPLUS
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.store import Model, list_models, shipped_dir
from mien.settings import parse_override
from mien.training.recipe import load_recipe
from mien.vision.detect import DETECTORS

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "update_docs.py"))
FOLDERS = [ROOT / name for name in ("docs", "noncommercial")]
FOUND = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
PAGES = {path.relative_to(ROOT).as_posix(): path for path in FOUND}
TEXTS = {page: path.read_text(encoding="utf-8") for page, path in PAGES.items()}
SHIPPED = {model.name: model for model in list_models(shipped_dir())}
COMMANDS: Any = typer.main.get_command(app)  # click's, or the copy of it that newer Typers carry

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return page and content of each fenced block in a language."""
    found = [(page, *block) for page, text in TEXTS.items() for block in FENCE.findall(text)]
    return [(page, content) for page, of, content in found if of == language]


def lines_of_shell() -> list[tuple[str, str]]:
    joined = [(page, content.replace("\\\n", " ")) for page, content in blocks("sh")]
    return [(page, line.strip()) for page, content in joined for line in content.splitlines() if line.strip()]


def spans() -> list[tuple[str, str]]:
    """Return page and text of each code span outside of the fences."""
    return [(page, span) for page, text in TEXTS.items() for span in SPAN.findall(FENCE.sub("", text))]


def arguments_of(line: str) -> list[str] | None:
    """Return the words after "mien" in a command line, without leading variables; None for another command."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return words[1:] if words and words[0] == "mien" else None


def command_of(arguments: list[str]) -> tuple[Any, list[str]]:
    """Return the innermost command that arguments name, and the arguments left to it."""
    command, rest = COMMANDS, arguments
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


LINES = [(page, line) for page, line in lines_of_shell() if arguments_of(line) is not None]
SPANS = sorted({(page, span) for page, span in spans() if span.startswith("mien ")})
RELATIVE = sorted(
    {
        (page, target.partition("#")[0])
        for page, text in TEXTS.items()
        for target in LINK.findall(FENCE.sub("", text))
        if not re.match(r"[a-z]+:|#", target)
    }
)


FRESH: dict[str, str] = SCRIPT["pages"]()


@pytest.mark.parametrize("page", FRESH)
def test_what_is_generated_is_fresh(page: str) -> None:
    assert TEXTS[page] == FRESH[page], "renew it: make docs"


def test_tables_cards_and_findings_are_generated() -> None:
    assert {"README.md", "docs/models/README.md", "docs/guides/auditing.md", "docs/evaluation.md"} <= FRESH.keys()
    assert FRESH["docs/reports/temporal.md"].count("| temporal |") == 6  # drawn faces and pictures at three rates
    assert {f"docs/models/{name}.md" for name in SHIPPED} | {"docs/reports/prototype.md"} <= FRESH.keys()


def test_only_what_is_between_the_markers_is_renewed() -> None:
    page = "before <!-- b -->\nold\n<!-- /b --> between <!-- a -->\nold\n<!-- /a --> after"
    renewed = SCRIPT["renewed"](page, "new", name="a")
    assert renewed == "before <!-- b -->\nold\n<!-- /b --> between <!-- a -->\nnew\n<!-- /a --> after"


def test_the_table_of_leaks_tells_what_is_seen_before_the_evaluation() -> None:
    def split(photos: dict[str, int]) -> dict[str, Any]:
        return {"pictures": 200, "same_pixels": dict.fromkeys(photos, 1), "same_photo": photos}

    splits = {"valid": split({"train": 50}), "test": split({"train": 30, "valid": 4})}
    assert SCRIPT["leaks_table"]({"dataset": "fer2013", "splits": splits}).splitlines()[2:] == [
        "| PublicTest in Training | 200 | 1 (0.5 %) | 50 (25.0 %) |",
        "| PrivateTest in Training | 200 | 1 (0.5 %) | 30 (15.0 %) |",
        "| PrivateTest in PublicTest | 200 | 1 (0.5 %) | 4 (2.0 %) |",
    ]


def report(arch: str, matrix: list[list[int]]) -> dict[str, Any]:
    """The part of a metrics.json that the page about the prototype reads."""
    counts = {"correct": sum(matrix[i][i] for i in range(2)), "n": sum(map(sum, matrix))}
    view = {**counts, "confusion": matrix}
    return {"model": {"arch": arch}, "data": {"name": "fer2013"}, "labels": ["happy", "sad"], "views": {"single": view}}


def test_the_prototype_s_page_adds_both_splits_and_pairs_models_by_their_net() -> None:
    reports = {
        "small": [report("model2020", [[50, 10], [20, 20]]), report("model2020", [[60, 0], [10, 30]])],
        "ours": [report("base", [[60, 0], [0, 40]]), report("base", [[60, 0], [40, 0]])],
    }
    page = SCRIPT["prototype_page"](reports, {})
    assert "| model2020, 56.0 (54.9–57.1) | [small](../models/small.md) | 80.00 (73.91–84.95) | +24.0 | 70.00" in page
    assert "| VGG-B, 59.1 (58.0–60.2) | none yet |" in page
    assert "| – | [ours](../models/ours.md) | 80.00 (73.91–84.95) |  | 100.00" in page
    assert "| happy | 91.7 | 100.0 |\n| sad | 62.5 | 50.0 |" in page
    assert "| **happy** | 110 | 10 |\n| **sad** | 30 | 50 |" in page
    assert "Ours is not shipped yet." in page
    toon = [report("ferg", [[5, 0], [0, 5]]), report("ferg", [[4, 1], [0, 5]])]
    for each in toon:
        each["data"]["name"] = "cartoons"
    page = SCRIPT["prototype_page"](reports, {"toon": toon})
    assert "Ours: [toon](../models/toon.md)" in page
    part = page.split("## toon")[1]
    assert "both splits of cartoons" in part
    assert "| **happy** | 9 | 1 |\n| **sad** | 0 | 10 |" in part
    assert "![toon on valid](../models/toon/valid/confusion_single.png)" in part
    assert "![Loss and accuracy of toon during training](../models/toon/curves.png)" in part


def test_the_prototype_s_figures_are_over_as_many_pictures_as_ours() -> None:
    for name in SHIPPED:
        if reports := SCRIPT["fer2013_reports"](name):
            assert sum(report["views"]["single"]["n"] for report in reports) == SCRIPT["PROTOTYPE_PICTURES"]


def test_a_table_without_models_says_so() -> None:
    assert SCRIPT["models_table"]([], cards="") == "None yet."


def test_a_table_tells_labels_size_and_accuracy_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(bytes(1_500_000))
    metrics = {"valid/single/accuracy": 0.684, "valid/flip/accuracy": 0.691, "test/single/accuracy": 0.70214}
    heads = (Head(FER2013), Head(FERPLUS))
    spec = ModelSpec(
        name="mine", arch="base", heads=heads, preprocess=Preprocess(), metrics=metrics, trained_on={"name": "fer2013"}
    )
    table = SCRIPT["models_table"]([Model("mine", path, True, spec)], cards="docs/models/")
    assert table.splitlines() == [
        "| model | net | size, MB | labels | PublicTest, % | PrivateTest, % | photographs, % |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
        "| [mine](docs/models/mine.md) | base | 1.5 | fer2013 (7), ferplus (8) | 68.40 / 69.10 | 70.21 / – | – |",
    ]


def test_a_model_of_other_data_is_kept_apart_and_its_data_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(bytes(1_500_000))
    metrics = {"valid/single/accuracy": 0.99, "test/single/accuracy": 0.98}
    spec = ModelSpec(name="toon", arch="ferg", heads=(Head(FER2013),), preprocess=Preprocess(), metrics=metrics)
    models = [
        Model("mine", path, True, replace(spec, name="mine", arch="base", trained_on={"name": "fer2013"})),
        Model("toon", path, True, replace(spec, trained_on={"name": "cartoons-ada"})),
    ]
    first, told, second = SCRIPT["models_table"](models, cards="").split("\n\n")
    assert "PrivateTest" in first
    assert "toon" not in first
    assert "not comparable" in told
    assert second.splitlines() == [
        "| model | net | size, MB | labels | valid, % | test, % | data |",
        "| --- | --- | ---: | --- | ---: | ---: | --- |",
        "| [toon](toon.md) | ferg | 1.5 | fer2013 (7) | 99.00 / – | 98.00 / – | cartoons-ada |",
    ]


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(SystemExit, match="lacks the markers <!-- models --> and <!-- /models -->"):
        SCRIPT["renewed"]("# A page", "a table", name="models")


@pytest.mark.parametrize(("page", "target"), RELATIVE)
def test_what_a_page_links_to_exists(page: str, target: str) -> None:
    assert (PAGES[page].parent / target).exists()


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_parses(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command, rest = command_of(arguments_of(line) or [])
    if "--models" in rest:
        rest[rest.index("--models") + 1] = "."  # a directory that exists
    values = command.make_context(command.name, with_values(rest)).params  # raises the error that a user would see
    if values.get("detector") is not None:
        assert values["detector"] in DETECTORS
    if "recipe" in values and values["resume"] is None and values["recipe"] != VOICE:
        overrides = dict(parse_override(text) for text in values["setting"] or [])
        load_recipe("base" if values["recipe"].endswith(".toml") else values["recipe"], overrides)


@pytest.mark.parametrize(("page", "span"), SPANS)
def test_a_command_in_the_text_exists_with_its_options(page: str, span: str) -> None:
    command, rest = command_of(arguments_of(span) or [])
    assert command is not COMMANDS, f"no such command: {span}"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def test_make_knows_the_targets_that_are_named() -> None:
    texts = [line for _, line in lines_of_shell()] + [span for _, span in spans()]
    named = {match[1] for text in texts if (match := re.search(r"\bmake ([\w-]+)$", text))}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.M)} == set()


@pytest.mark.parametrize(("page", "content"), blocks("toml"))
def test_a_recipe_in_the_text_can_be_loaded(page: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(content, encoding="utf-8")
    assert load_recipe(str(tmp_path / "recipe.toml")).epochs > 0


@pytest.mark.parametrize(("page", "content"), blocks("python"))
def test_python_in_the_text_compiles_and_imports_what_exists(page: str, content: str) -> None:
    indent = len(content) - len(content.lstrip(" "))
    tree = ast.parse("\n".join(line[indent:] for line in content.splitlines()))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            for alias in node.names:  # a submodule is an attribute only once it was imported
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_a_card_with_the_figures_of_its_spec(name: str) -> None:
    spec, folder = SHIPPED[name].spec, ROOT / "docs" / "models"
    assert spec is not None, SHIPPED[name].problem
    assert spec.name == name
    assert (folder / f"{name}.md").is_file()
    reported = {}
    for split in ("valid", "test"):
        metrics = json.loads((folder / name / split / "metrics.json").read_text(encoding="utf-8"))
        for view, figures in metrics["views"].items():
            reported[f"{split}/{view}/accuracy"] = figures["accuracy"]
    assert reported == spec.metrics


@pytest.mark.parametrize("name", [name for name, model in SHIPPED.items() if model.spec and model.spec.made_by])
def test_a_model_of_drawn_data_tells_the_commands_of_the_script_that_drew_it(name: str) -> None:
    spec, script = SHIPPED[name].spec, (ROOT / "scripts" / "draw_cartoons.sh").read_text(encoding="utf-8")
    assert spec is not None
    assert spec.made_by == [line for line in script.splitlines() if line.startswith("mien ")]


def test_every_card_has_its_model() -> None:
    cards = {path.stem for path in (ROOT / "docs" / "models").glob("*.md")} - {"README"}
    assert cards == {model.name for model in list_models(shipped_dir(), kind=None)}


@pytest.mark.parametrize("decision", sorted(page for page in PAGES if re.match(r"docs/decisions/\d", page)))
def test_a_decision_is_linked_from_the_index_and_the_code_or_a_guide(decision: str) -> None:
    name = Path(decision).name
    assert f"({name})" in TEXTS["docs/decisions/README.md"]
    texts = [text for page, text in TEXTS.items() if page.startswith("docs/guides/")]
    code = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    mentions = re.compile(rf"docs/decisions/(?:\d{{4}}(?:, | and ))*{name[:4]}|decisions/{re.escape(name)}")
    assert any(map(mentions.search, [*texts, *code]))
