"""Renew the tables of shipped models in README.md and docs/models/README.md.

Usage: python scripts/update_docs.py     (make docs)

The figures are those of the specs inside the ONNX files, which scripts/release_model.py measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mien.models.spec import ModelSpec
from mien.models.zoo import Model, list_models, shipped_dir

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- models -->", "<!-- /models -->"
PAGES = {"README.md": "docs/models/", "docs/models/README.md": ""}  # page -> where the cards lie, seen from there
SPLITS = {"PublicTest": "valid", "PrivateTest": "test"}
NONE_YET = "None yet."


def main() -> None:
    models = list_models(shipped_dir())  # as the user's directory too, so that no user model hides a shipped one
    for page, cards in PAGES.items():
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = renewed(before, models_table(models, cards=cards))
        path.write_text(after, encoding="utf-8", newline="\n")
        print(f"{page}: {'renewed' if after != before else 'was fresh'}")


def renewed(text: str, table: str) -> str:
    """Return a page with the table put between its markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"a page lacks the markers {BEGIN} and {END}; put them where its table belongs")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


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
