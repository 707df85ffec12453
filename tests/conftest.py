"""What tests of several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.data.readers import data_path
from mien.errors import DatasetError


@pytest.fixture(scope="session")
def fer2013_path() -> Path:
    """The real FER2013 (csv), found through MIEN_DATA; tests that need it are skipped without."""
    if not os.environ.get("MIEN_DATA"):
        pytest.skip("needs the real FER2013: set MIEN_DATA to the folder that holds fer2013/fer2013.csv.gz")
    try:
        return data_path("fer2013")
    except DatasetError as error:
        pytest.skip(f"needs the real FER2013: {error}")
