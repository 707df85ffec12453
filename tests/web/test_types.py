"""The types in the comments of the page's modules are right, as TypeScript checks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "types"
COMPILER = Path(sys.prefix) / "typescript" / "tsc.js"


@pytest.mark.parametrize("project", ["page", "sw"])
def test_the_types_of_the_modules_are_right(project: str) -> None:
    node = shutil.which("node")
    if node is None or not COMPILER.exists():
        pytest.skip("needs Node.js and TypeScript: scripts/npm-packages .venv")
    arguments = [node, COMPILER, "--project", PROJECT / f"{project}.json", "--pretty", "false"]
    found = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert found.stdout == ""
