"""Contact sheets hold their images at the side that is asked for."""

import numpy as np
import pytest

from mien.drawing.sheets import PAPER, SheetRow, contact_sheet


@pytest.mark.parametrize("cell", [24, 150])
def test_images_fill_cells_of_the_side_asked_for(cell):
    red = np.full((60, 60, 3), (255, 0, 0), np.uint8)
    rows = [SheetRow("", "", [red] * 3, captions) for captions in (["", "", ""], ())]
    sheet = contact_sheet(rows, title="", columns=2, cell=cell)
    filled = (sheet == (255, 0, 0)).all(axis=2)
    assert filled.sum() == 4 * cell**2  # two rows of two columns
    assert (filled.any(axis=0).sum(), filled.any(axis=1).sum()) == (2 * cell, 2 * cell)
    assert (sheet[~filled] == PAPER).all()
