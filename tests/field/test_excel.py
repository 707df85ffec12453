"""Kind of report: "Excel shows ä as Ã¤, and runs the name of a file as a formula"."""

from __future__ import annotations

import codecs
import csv
import shutil
from pathlib import Path

import pytest

from commands import error_of, run

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@a.png", "ä.png"])
def test_a_table_for_excel_has_a_byte_order_mark_and_no_formulas(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASTRONAUT, name)
    assert run("predict", "--csv", "a.csv", "--excel", "--model", tiny_model, "--", name) == 0
    assert Path("a.csv").read_bytes().startswith(codecs.BOM_UTF8 + b"source,")
    (row,) = csv.DictReader(Path("a.csv").read_text(encoding="utf-8-sig").splitlines())
    assert row["source"] == (name if name == "ä.png" else f"'{name}")


def test_the_mark_needs_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "add --csv FILE or omit --excel" in error_of(capsys, "predict", ASTRONAUT, "--excel")
