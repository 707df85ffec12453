"""Kind of report: "one transparent PNG of 10,000 x 10,000 pixels, and the machine killed the program"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mien.sources.pictures import DECODER_BYTES, PLAIN_BYTES

SIDE = 4000
READ = """
import resource, sys
from mien.sources.pictures import read_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_picture(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB")])
def test_reading_takes_little_more_memory_than_the_decoder_and_the_returned_pixels(
    tmp_path: Path, kind: str, mode: str
) -> None:
    path = tmp_path / "picture"
    Image.new(mode, (SIDE, SIDE)).save(path, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    decoder = DECODER_BYTES.get(kind, PLAIN_BYTES)
    assert 1024 * int(done.stdout) < 1.3 * (decoder + 3) * SIDE**2 + 70_000_000  # and a strip in all its stages
