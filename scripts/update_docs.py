"""Renew what is generated in the documents: tables of shipped models, their cards, and what FER2013's audit found.

Usage: python scripts/update_docs.py     (make docs)

The figures are those of the specs inside the ONNX files and of the reports beside the cards, which
scripts/release_model.py measured, and those of docs/reports/fer2013-audit.json, which is the audit.json of
`mien data audit fer2013`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mien.data.audit_report import Figures, findings
from mien.evaluation.card import released_card
from mien.evaluation.report import split_name, table
from mien.models.spec import ModelSpec
from mien.models.zoo import Model, list_models, shipped_dir

ROOT = Path(__file__).parent.parent
AUDIT = "docs/reports/fer2013-audit.json"
SPLITS = {"PublicTest": "valid", "PrivateTest": "test"}
NONE_YET = "None yet."


def main() -> None:
    for page, after in pages().items():
        path = ROOT / page
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(after, encoding="utf-8", newline="\n")
        print(f"{page}: {'renewed' if after != before else 'was fresh'}")


def pages() -> dict[str, str]:
    """Return the pages that are generated, wholly or between markers, as they ought to be."""
    models = list_models(shipped_dir())  # as the user's directory too, so that no user model hides a shipped one
    found: Figures = json.loads((ROOT / AUDIT).read_text(encoding="utf-8"))
    blocks = {
        "README.md": ("models", models_table(models, cards="docs/models/")),
        "docs/models/README.md": ("models", models_table(models, cards="")),
        "docs/guides/auditing.md": ("audit", findings(found)),
        "docs/evaluation.md": ("leaks", leaks_table(found)),
    }
    cards = {
        f"docs/models/{model.name}.md": released_card(model.path, ROOT / "docs/models" / model.name) for model in models
    }
    return cards | {
        page: renewed((ROOT / page).read_text(encoding="utf-8"), content, name=name)
        for page, (name, content) in blocks.items()
    }


def renewed(text: str, content: str, *, name: str) -> str:
    """Return a page with the content put between the markers of that name."""
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begin, rest = text.partition(start)
    _, end, after = rest.partition(stop)
    if not begin or not end:
        sys.exit(f"a page lacks the markers {start} and {stop}; put them where its {name} belong")
    return f"{before}{start}\n{content}\n{stop}{after}"


def leaks_table(found: Figures) -> str:
    """Return a Markdown table of how much of what is evaluated on occurs in what was fitted, or decided, on."""
    rows = []
    for split, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
        part, (name, seen) = found["splits"][split], (split_name(found["dataset"], each) for each in (split, other))
        counts = (part["same_pixels"][other], part["same_photo"][other])
        shares = (f"{count:,} ({100 * count / part['pictures']:.1f} %)" for count in counts)
        rows.append([f"{name} in {seen}", f"{part['pictures']:,}", *shares])
    return table(["pictures of … that occur in …", "pictures", "same pixels", "same photo"], rows)


def models_table(models: list[Model], *, cards: str) -> str:
    """Return a Markdown table with a row for each model, or a line that says there is none.

    Args:
        models: What `list_models` gave.
        cards: Folder of the model cards, relative to the page, with "/" at its end.
    """
    if not models:
        return NONE_YET
    header = ["model", "net", "size, MB", "labels", *(f"{split}, %" for split in SPLITS)]
    sides = ["---", "---", "---:", "---", *("---:" for _ in SPLITS)]
    lines = [header, sides, *(_row(model, cards) for model in models)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(model: Model, cards: str) -> list[str]:
    if model.spec is None:
        sys.exit(f"{model.path} is no model to ship: {model.problem}")
    labels = ", ".join(f"{head.labels.name} ({len(head.labels)})" for head in model.spec.heads)
    size = f"{model.path.stat().st_size / 1e6:.1f}"
    accuracies = [_accuracy(model.spec, split) for split in SPLITS.values()]
    return [f"[{model.name}]({cards}{model.name}.md)", model.spec.arch, size, labels, *accuracies]


def _accuracy(spec: ModelSpec, split: str) -> str:
    """Return "single / flip" in percent."""
    figures = [spec.metrics.get(f"{split}/{view}/accuracy") for view in ("single", "flip")]
    return " / ".join("–" if figure is None else f"{100 * figure:.2f}" for figure in figures)


if __name__ == "__main__":
    main()
