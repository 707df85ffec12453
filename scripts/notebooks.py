"""Execute the notebooks and write them with their outputs into docs/notebooks, each picture as a small PNG.

Usage: python scripts/notebooks.py           (make notebooks)
       python scripts/notebooks.py FILE      execute one notebook in this folder; print its output as JSON

No Jupyter is needed: the cells are plain Python, run one after the other in one namespace, and the last value of each
is shown as Jupyter would. They run on made-up data, in full unless MIEN_NOTEBOOK_QUICK is set.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, PAGES = ROOT / "notebooks", ROOT / "docs" / "notebooks"
PHOTO = "docs/images/astronaut.png"
WIDTH, COLOURS, MAX_BYTES = 640, 128, 100_000  # of a picture on a page, at most; width in pixels
OWN_DATA = ("MIEN_DATA", "MIEN_FACES", "MIEN_SPEECH", "MIEN_VOICES")  # of users; must not come into the documents

Output = dict[str, str]  # "text", "markdown" or "png" (base64) -> its content


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(execute(Path(sys.argv[1]).read_text(encoding="utf-8"))))
        return
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            shown = execute_apart(path, Path(folder), os.environ)
        pictures = PAGES / path.stem
        shutil.rmtree(pictures, ignore_errors=True)
        pictures.mkdir(parents=True)
        page = PAGES / f"{path.stem}.md"
        page.write_text(render(path, shown, pictures), encoding="utf-8", newline="\n")
        print(page.relative_to(ROOT))


def cells_of(path: Path) -> list[tuple[str, str]]:
    """Return kind, "code" or "markdown", and text of each cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def execute_apart(path: Path, folder: Path, environment: Mapping[str, str]) -> list[list[Output]]:
    """Execute a notebook in its own process, in a new folder with the layout of the repository.

    Args:
        path: The notebook.
        folder: A new one; the notebook runs in its folder notebooks, beside docs with the photo.
        environment: Variables, of which those that name data or a models directory are replaced.

    Returns:
        As `execute`.
    """
    for place in ("notebooks", "docs/images"):
        (folder / place).mkdir(parents=True)
    shutil.copy(ROOT / PHOTO, folder / PHOTO)
    variables = {name: value for name, value in environment.items() if name not in OWN_DATA}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).resolve()), str(path)],
        cwd=folder / "notebooks", env=variables | {"MIEN_MODELS": str(folder / "models")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{path.name} fails:\n{done.stderr}")
    shown: list[list[Output]] = json.loads(done.stdout)
    return shown


def execute(notebook: str) -> list[list[Output]]:
    """Execute a notebook's code in this process; return the output of each cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    sources = ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
    return [_execute_cell(source, names, number) for number, source in enumerate(sources, start=1)]


def _execute_cell(source: str, names: dict[str, Any], number: int) -> list[Output]:
    tree, value = ast.parse(source), None
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            value = eval(compile(last, f"cell {number}", "eval"), names)
    shown = [{"text": printed.getvalue()}] if printed.getvalue() else []
    return shown if value is None else [*shown, _shown(value)]


def _shown(value: object) -> Output:
    """Return a value as Jupyter shows it."""
    png, markdown = (getattr(value, name, lambda: None)() for name in ("_repr_png_", "_repr_markdown_"))
    if png is not None:
        return {"png": base64.b64encode(png).decode()}
    return {"text": f"{value!r}\n"} if markdown is None else {"markdown": markdown}


def render(path: Path, shown: list[list[Output]], pictures: Path) -> str:
    """Return a notebook with its output as Markdown; write its images into a folder beside the page."""
    few = "; few of them and few epochs, so the figures are meaningless" if "MIEN_NOTEBOOK_QUICK" in os.environ else ""
    parts = [
        f"<!-- rendered from notebooks/{path.name} by `make notebooks` -->",
        f"[The notebook](../../notebooks/{path.name}), with its output on made-up data{few}.",
    ]
    outputs = iter(shown)
    for kind, text in cells_of(path):
        if kind == "markdown":
            parts.append(text.replace("](../docs/", "](../"))
            continue
        parts.append(f"```python\n{text}\n```")
        parts += [_rendered(output, pictures) for output in next(outputs)]
    return "\n\n".join(parts) + "\n"


def _rendered(output: Output, pictures: Path) -> str:
    if "png" not in output:
        return output["markdown"] if "markdown" in output else f"```text\n{output['text'].rstrip()}\n```"
    name = f"{len(list(pictures.iterdir())) + 1}.png"
    (pictures / name).write_bytes(small_png(base64.b64decode(output["png"])))
    return f"![Output of the cell]({pictures.name}/{name})"


def small_png(png: bytes) -> bytes:
    """Return a picture in few colours, as wide as a page at most, and narrower as long as it is too large."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    width = min(WIDTH, picture.width)
    while True:
        size = (width, round(picture.height * width / picture.width))
        file = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).quantize(COLOURS).save(file, "png", optimize=True)
        if len(file.getvalue()) < MAX_BYTES:
            return file.getvalue()
        width = round(0.9 * width)


if __name__ == "__main__":
    main()
