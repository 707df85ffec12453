"""`mien explain` as a user has it."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from commands import error_of, run
from disks import no_permission_to_read
from mien.pixels import write_picture
from mien.sources.pictures import read_picture
from mien.vision.rise import explain_faces

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"

pytestmark = pytest.mark.usefixtures("own_folder")


def test_explain_draws_a_row_for_each_face(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.vision.rise.explain_faces", partial(explain_faces, n_masks=4))
    assert run("explain", ASTRONAUT, "--model", tiny_model, "--out", "new/explained", "--label", "Anger") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("face 1: angry ")
    assert last.split() == ["explained:", str(Path("new/explained/astronaut-explained.png"))]
    assert read_picture("new/explained/astronaut-explained.png").shape[0] < 400
    assert run("explain", ASTRONAUT, "--model", tiny_model, "--out", "new/explained", "--label", "happy") == 0
    assert str(Path("new/explained/astronaut-explained-2.png")) in "".join(capsys.readouterr().out.split())


def test_explain_finds_the_face_of_a_lying_picture(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.vision.rise.explain_faces", partial(explain_faces, n_masks=4))
    write_picture("lying.png", np.rot90(read_picture(ASTRONAUT)).copy())
    assert run("explain", "lying.png", "--model", tiny_model) == 0
    assert capsys.readouterr().out.startswith("face 1: ")


def test_explain_reports_a_picture_without_faces(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture("wall.png", np.full((200, 200, 3), 128, np.uint8))
    assert run("explain", "wall.png", "--model", tiny_model, "--out", "explained") == 0
    assert capsys.readouterr().out == "wall.png: no face found\n"
    assert not Path("explained").exists()


def test_explain_names_a_picture_that_may_not_be_read(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ASTRONAUT, "a.png")
    with no_permission_to_read("a.png"):
        line = error_of(capsys, "explain", "a.png", "--model", tiny_model)
    assert line == "error: cannot read 'a.png': Permission denied; check the path and its permissions\n"
