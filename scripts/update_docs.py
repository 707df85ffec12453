"""Regenerate parts of the documents: tables and cards of shipped models, and the findings of FER2013's audit.

Usage: python scripts/update_docs.py     (make docs)

The figures come from the specs inside the ONNX files, from the reports next to the cards (scripts/release_model.py),
and from docs/reports/fer2013-audit.json, the audit.json of `mien data audit fer2013`. The table of the temporal report
comes from the card by `mien train-temporal`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np

from mien.evaluation.metrics import per_class, wilson_interval
from mien.models.onnx_file import read_spec
from mien.models.spec import ModelSpec
from mien.models.store import Model, list_models, shipped_dir
from mien.reports.audit import findings
from mien.reports.audit_json import AuditFigures
from mien.reports.card import CURVES_NOTE, released_card
from mien.reports.metrics_json import Metrics, read_metrics
from mien.reports.tables import first_view, split_name, table
from mien.reports.voice import read_voice_metrics, voice_card
from mien.structures import IntArray

ROOT = Path(__file__).parent.parent
APART = "noncommercial/voice-ravdess"  # a model that is not part of the package
AUDIT = "docs/reports/fer2013-audit.json"
PROTOTYPE_PAGE, CROSS_PAGE = "docs/reports/prototype.md", "docs/reports/cross-dataset.md"
SPLITS = {"PublicTest": "valid", "PrivateTest": "test"}
PHOTOGRAPHS = ("happy", "neutral", "angry", "sad", "surprise")  # classes with 18 photographs or more
OTHER_DATA = "Trained and evaluated on other data, described in the card; not comparable with the figures above:"
NONE_YET = "None yet."
PUBLIC_MODULES = ["client", "cluster", "errors", "shards"]  # beside the packages; their names are in __all__

# From the 2020 prototype's published confusion matrices, over PublicTest and PrivateTest together: name and accuracy of
# each model, and our nets that replace it.
PROTOTYPE_PICTURES = 7178
PROTOTYPE: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("model2020", 0.560, ("model2020",)),
    ("VGG-B", 0.591, ("vgg-b",)),
    ("VGGFace transfer", 0.642, ("vggface", "dlib-resnet")),
)
PROTOTYPE_TEXT = """\
# Comparison with the prototype of 2020

mien began as a prototype in Keras, in 2020. This page compares the models that come with mien with its results.

For the prototype we know the overall accuracy of its published confusion matrices, over PublicTest and PrivateTest
together, {pictures:,} images. We have neither the cells of these matrices nor the way its epochs were selected. Our
accuracies are on the same images, in the single view, summed over the reports next to the [cards](../models/README.md);
in brackets are 95 % Wilson intervals. We selected no epoch, but made decisions on PublicTest, half of these images;
PrivateTest is the column that no decision has seen. Photos that also occur in Training are included, for the prototype
and for our models.

{accuracies}

The prototype's transfer model used VGGFace, whose weights are for research only. mien starts from dlib's net instead,
which is in the public domain.

## Cartoons

The prototype also had a cartoon model: 100 % on FERG-DB, and about 14 % on real faces (FER2013), which is chance for
seven labels. {cartoons}

## Per class

Recall per class of our models, in percent, over the {pictures:,} images. Below are the confusion matrices and training
curves of all models that come with mien.

{curves}

{recalls}
"""


def main() -> None:
    for page, after in pages().items():
        path = ROOT / page
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(after, encoding="utf-8", newline="\n")
        print(f"{page}: {'renewed' if after != before else 'was fresh'}")


def voice_cards() -> dict[str, str]:
    """Return the cards of voice models; beside each is the JSON of its figures."""
    places = {f"docs/models/{model.name}.md": model.path for model in list_models(shipped_dir(), kind="voice")}
    places |= {f"{APART}/README.md": path for path in (ROOT / APART).glob("*.onnx")}
    return {
        card: voice_card(
            read_spec(path), read_voice_metrics((ROOT / card).with_suffix(".json")), size_bytes=path.stat().st_size
        )
        for card, path in places.items()
    }


def pages() -> dict[str, str]:
    """Return the pages that are generated, in full or between markers."""
    models = list_models(shipped_dir())  # as the user's directory too, so that no user model hides a shipped one
    found: AuditFigures = json.loads((ROOT / AUDIT).read_text(encoding="utf-8"))
    blocks = {
        "README.md": ("models", models_table(models, cards="docs/models/")),
        "docs/models/README.md": ("models", models_table(models, cards="")),
        "docs/guides/auditing.md": ("audit", findings(found)),
        "docs/evaluation.md": ("leaks", leaks_table(found)),
        "docs/reference/README.md": ("reference", reference()),
        "docs/reports/temporal.md": ("temporal", temporal_results_in(ROOT / "docs/models/base-temporal.md")),
    }
    measured = {model.name: reports for model in models if (reports := fer2013_reports(model.name))}
    others = {model.name: _reports(model.name) for model in models if model.name not in measured}
    cards = {
        f"docs/models/{model.name}.md": released_card(model.path, ROOT / "docs/models" / model.name) for model in models
    } | voice_cards()
    return (
        cards
        | {PROTOTYPE_PAGE: prototype_page(measured, others)}
        | {
            page: renewed((ROOT / page).read_text(encoding="utf-8"), content, name=name)
            for page, (name, content) in blocks.items()
        }
    )


def renewed(text: str, content: str, *, name: str) -> str:
    """Return a page with the content between the markers of that name replaced."""
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = text.partition(start)
    _, end, after = rest.partition(stop)
    if not begin or not end:
        sys.exit(f"a page lacks the markers {start} and {stop}; add them around its {name}")
    return f"{before}{start}\n{content}\n{stop}{after}"


def reference() -> str:
    """Return Markdown tables of the public names of packages and modules, with the first line of their docstrings."""
    folders = [stub.parent.name for stub in (ROOT / "src" / "mien").glob("*/__init__.pyi")]
    names = ["mien", *(f"mien.{name}" for name in sorted(folders + PUBLIC_MODULES))]
    parts = []
    for package in map(importlib.import_module, names):
        purpose = (package.__doc__ or "").splitlines()[0]
        rows = (f"| `{name}` | {summary(getattr(package, name))} |\n" for name in package.__all__)
        parts.append(f"## {package.__name__}\n\n{purpose}\n\n| name | summary |\n| --- | --- |\n{''.join(rows)}")
    return "\n".join(parts).rstrip()


def summary(thing: object) -> str:
    """Return the first line of an object's own docstring; its value for a constant."""
    if inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing):
        return (inspect.getdoc(thing) or "").splitlines()[0]
    if isinstance(thing, dict):
        return "one of " + ", ".join(f"`{key}`" for key in thing)
    return "a constant"


def temporal_results_in(card: Path) -> str:
    """Return the only table of a temporal model's card, its results on held-out sequences."""
    return "\n".join(line for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("|"))


def leaks_table(found: AuditFigures) -> str:
    """Return a Markdown table of the leaks from valid and test into the splits that were fitted or decided on."""
    rows = []
    for split, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
        part, (name, seen) = found["splits"][split], (split_name(found["dataset"], each) for each in (split, other))
        counts = (part["same_pixels"][other], part["same_photo"][other])
        shares = (f"{count:,} ({100 * count / part['pictures']:.1f} %)" for count in counts)
        rows.append([f"{name} in {seen}", f"{part['pictures']:,}", *shares])
    return table(["images of … that occur in …", "images", "same pixels", "same photo"], rows)


def fer2013_reports(name: str) -> list[Metrics]:
    """Return a shipped model's metrics on PublicTest and PrivateTest; empty if it was evaluated on other data."""
    reports = _reports(name)
    return reports if all(report["data"]["name"] == "fer2013" for report in reports) else []


def _reports(name: str) -> list[Metrics]:
    return [read_metrics(ROOT / "docs/models" / name / split / "metrics.json") for split in SPLITS.values()]


def prototype_page(measured: dict[str, list[Metrics]], others: dict[str, list[Metrics]]) -> str:
    """Return the page that compares our models with the prototype.

    Args:
        measured: Name of a model -> its metrics on PublicTest and PrivateTest.
        others: Likewise for models of other data, on its splits valid and test.
    """
    sums = {name: _confusion(reports) for name, reports in measured.items()}
    text = PROTOTYPE_TEXT.format(
        pictures=PROTOTYPE_PICTURES,
        accuracies=_prototype_table(measured),
        cartoons=_cartoons_text(list(others)),
        curves=CURVES_NOTE,
        recalls=_recalls_table(measured, sums) if measured else NONE_YET,
    )
    return "\n".join([text, *(_matrices(name, reports) for name, reports in (measured | others).items())])


def _prototype_table(measured: dict[str, list[Metrics]]) -> str:
    """Return one row per model of the prototype and our replacement, and one per other model of ours."""
    rows = []
    for theirs, accuracy, nets in PROTOTYPE:
        known = f"{theirs}, {_percent(round(accuracy * PROTOTYPE_PICTURES), PROTOTYPE_PICTURES, digits=1)}"
        ours = [name for name, reports in measured.items() if reports[0]["model"]["arch"] in nets]
        rows += [[known, *_figures(name, measured[name], accuracy)] for name in ours]
        if not ours:
            rows.append([known, "none yet", "", "", "", ""])
    paired = {net for _, _, nets in PROTOTYPE for net in nets}
    alone = [name for name, reports in measured.items() if reports[0]["model"]["arch"] not in paired]
    rows += [["–", *_figures(name, measured[name], None)] for name in alone]
    header = ["prototype, %", "mien", "both, %", "difference, points", *(f"{split}, %" for split in SPLITS)]
    return table(header, rows)


def _figures(name: str, reports: list[Metrics], theirs: float | None) -> list[str]:
    counts = [(report["views"]["single"]["correct"], report["views"]["single"]["n"]) for report in reports]
    correct, n = map(sum, zip(*counts, strict=True))
    more = "" if theirs is None else f"{100 * (correct / n - theirs):+.1f}"
    return [f"[{name}](../models/{name}.md)", _percent(correct, n), more, *(_percent(*count) for count in counts)]


def _percent(correct: int, n: int, *, digits: int = 2) -> str:
    low, high = (f"{100 * end:.{digits}f}" for end in wilson_interval(correct, n))
    return f"{100 * correct / n:.{digits}f} ({low}–{high})"


def _cartoons_text(others: list[str]) -> str:
    """Name our cartoon models."""
    if not others:
        return "Ours is not shipped yet."
    links = ", ".join(f"[{name}](../models/{name}.md)" for name in others)
    crossed = "; on other data: [cross-dataset](cross-dataset.md)"
    return f"Ours: {links}, with results in the card{crossed if (ROOT / CROSS_PAGE).exists() else ''}."


def _recalls_table(measured: dict[str, list[Metrics]], sums: dict[str, IntArray]) -> str:
    labels = next(iter(measured.values()))[0]["labels"]
    scores = {name: [score.recall for score in per_class(matrix)] for name, matrix in sums.items()}
    rows = [[label, *(f"{100 * recalls[i]:.1f}" for recalls in scores.values())] for i, label in enumerate(labels)]
    return table(["class", *scores], rows)


def _matrices(name: str, reports: list[Metrics]) -> str:
    """Return a model's section: its confusion matrix over both splits, plots of each, and its training curves."""
    folder, labels = f"../models/{name}", reports[0]["labels"]
    counts = [
        [f"**{label}**", *(f"{count:,}" for count in row)]
        for label, row in zip(labels, _confusion(reports), strict=True)
    ]
    data = reports[0]["data"]["name"]
    splits = {split_name(data, split): split for split in SPLITS.values()}
    pictures = [f"![{name} on {split}]({folder}/{part}/confusion_single.png)" for split, part in splits.items()]
    return "\n".join([
        f"## {name}",
        "",
        f"Images of both splits of {data}; rows are true, columns predicted.",
        "",
        table(["", *labels], counts),
        "",
        table(list(splits), [pictures]),
        "",
        f"![Loss and accuracy of {name} during training]({folder}/curves.png)",
        "",
    ])  # fmt: skip


def _confusion(reports: list[Metrics]) -> IntArray:
    return np.sum([report["views"]["single"]["confusion"] for report in reports], axis=0, dtype=np.int64)


def models_table(models: list[Model], *, cards: str) -> str:
    """Return a Markdown table with one row per model, or a line if there is none.

    Models of other data than FER2013 get a table of their own, which names the data.

    Args:
        models: From `list_models`.
        cards: Folder of the model cards, relative to the page, with "/" at its end.
    """
    if not models:
        return NONE_YET
    specs = {model.name: _spec(model) for model in models}
    others = [model for model in models if specs[model.name].trained_on.get("name") != "fer2013"]
    tables = []
    if on_fer2013 := [model for model in models if model not in others]:
        header = ["model", "net", "size, MB", "labels", *(f"{split}, %" for split in SPLITS), "photographs, %"]
        rows = [[*_row(model, specs[model.name], cards), _on_photographs(model.name)] for model in on_fer2013]
        tables.append(_rows(header, rows))
    if others:
        header = ["model", "net", "size, MB", "labels", *(f"{split}, %" for split in SPLITS.values()), "data"]
        data = [specs[model.name].trained_on.get("name", "unknown") for model in others]
        rows = [[*_row(model, specs[model.name], cards), name] for model, name in zip(others, data, strict=True)]
        tables += [OTHER_DATA, _rows(header, rows)]
    return "\n\n".join(tables)


def _spec(model: Model) -> ModelSpec:
    if model.spec is None:
        sys.exit(f"{model.path} can't be shipped: {model.problem}")
    return model.spec


def _rows(header: list[str], rows: list[list[str]]) -> str:
    sides = ["---:" if "%" in name or "MB" in name else "---" for name in header]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, sides, *rows))


def _row(model: Model, spec: ModelSpec, cards: str) -> list[str]:
    labels = ", ".join(f"{head.labels.name} ({len(head.labels)})" for head in spec.heads)
    size = f"{model.path.stat().st_size / 1e6:.1f}"
    accuracies = [_accuracy(spec, split) for split in SPLITS.values()]
    return [f"[{model.name}]({cards}{model.name}.md)", spec.arch, size, labels, *accuracies]


def _on_photographs(name: str) -> str:
    """Return "neutral / mean recall of `PHOTOGRAPHS`" in percent; a dash if it was not measured."""
    path = ROOT / "docs/models" / name / "photographs" / "metrics.json"
    if not path.exists():
        return "–"
    classes = first_view(read_metrics(path))["classes"]
    recalls = [classes[label]["recall"] for label in PHOTOGRAPHS]
    return f"{100 * classes['neutral']['recall']:.1f} / {100 * np.mean(recalls):.1f}"


def _accuracy(spec: ModelSpec, split: str) -> str:
    """Return "single / flip" in percent."""
    figures = [spec.metrics.get(f"{split}/{view}/accuracy") for view in ("single", "flip")]
    return " / ".join("–" if figure is None else f"{100 * figure:.2f}" for figure in figures)


if __name__ == "__main__":
    main()
