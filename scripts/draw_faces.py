"""Write synthetic faces as a prepared dataset, for trial trainings.

Usage: python scripts/draw_faces.py 3000 runs/drawn.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

from mien.data.prepared import prepare
from mien.data.synthetic import draw_faces


def main(n: str, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    prepare(draw_faces(int(n), seed=0), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
