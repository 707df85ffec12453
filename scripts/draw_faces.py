"""Write drawn faces in the form of fer2013.csv: data to try a training out with.

Usage: python scripts/draw_faces.py 3000 runs/drawn.csv.gz
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from mien.data.synthetic import draw_faces

USAGES = ("Training", "PublicTest", "PrivateTest")  # FER2013's words for train, valid and test


def main(n: str, path: str) -> None:
    faces = draw_faces(int(n), seed=0)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", compresslevel=1, encoding="ascii") as file:
        file.write("emotion,pixels,Usage\n")
        for image, target, split in zip(faces.images, faces.targets, faces.splits, strict=True):
            file.write(f"{target},{' '.join(map(str, image.ravel()))},{USAGES[split]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
