from __future__ import annotations

from pathlib import Path

import pytest

from foreign_models import write_foreign


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a model of another origin: the mean of a float32 (n, 1, 8, 8) image times 0 to 6."""
    return write_foreign(tmp_path / "elsewhere" / "net.onnx")
