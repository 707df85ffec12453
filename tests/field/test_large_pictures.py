"""Kind of report: "one transparent PNG of 10,000 x 10,000 pixels, and the machine killed the program"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SIDE = 4000
READ = """
import resource, sys
from mien.sources.pictures import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_picture(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_reading_takes_little_more_memory_than_the_decoded_and_the_returned_pixels(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (SIDE, SIDE)).save(tmp_path / "a.png", compress_level=1)
    done = subprocess.run([sys.executable, "-c", READ, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert 1024 * int(done.stdout) < 1.3 * (4 + 3) * SIDE**2 + 70_000_000  # and a strip in all its stages
