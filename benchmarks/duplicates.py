"""Measure the recall of near duplicates by `mien data audit`: altered copies are planted in a dataset.

Each kind of alteration has its own originals. The table lists the share of copies paired with their original, and the
share in its cluster. Precision needs inspection: --sheet draws thirty random pairs and the thirty of the lowest
correlation. (A sheet of FER2013 is not to be published.)

Example: python benchmarks/duplicates.py --data fer2013.csv.gz --sheet pairs.png --out duplicates.json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from _common import arguments, markdown, report
from mien.data.audit import THRESHOLD, Audit, audit
from mien.data.dataset import Dataset
from mien.data.readers import data_path, read_dataset
from mien.errors import MienError
from mien.machine.bench import threads
from mien.pixels import resize, to_grey, write_picture
from mien.structures import ImageArray, IntArray

Alteration = Callable[[ImageArray, np.random.Generator], ImageArray]  # of a grey image (H, W), H = W
CELL, COLUMNS, SHOWN = 96, 6, 30


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", help="dataset: file, folder or zip; $MIEN_DATA if not given")
    parser.add_argument("-n", type=int, default=500, help="copies per kind (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="default: %(default)s")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw the pairs found, for inspection")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    try:
        dataset = read_dataset(data_path(options.data))
        planted, originals = plant(dataset, options.n, seed=options.seed)
        began = time.process_time()
        audited = audit(planted, threshold=options.threshold)
        seconds = time.process_time() - began
        if options.sheet is not None:
            write_picture(options.sheet, sheet(audited, planted, among=len(dataset), seed=options.seed))
    except MienError as error:
        sys.exit(str(error))
    found = shares(audited, originals, among=len(dataset))
    rows = [[kind, *(f"{100 * share:.1f} %" for share in both.values())] for kind, both in found.items()]
    report(
        f"Duplicates: {options.n} copies per kind among {len(dataset):,} images of {dataset.name}",
        [markdown(["copy", "paired", "in the cluster"], rows), f"{seconds:.0f} s of processor time"],
        {"found": found, "processor_seconds": round(seconds, 1), "threshold": options.threshold},
        out=options.out,
        **threads(),
        seed=options.seed,
        fingerprint=dataset.fingerprint[:12],
    )


def zoomed(picture: ImageArray, x: float, y: float, side: float) -> ImageArray:
    """Return a square crop at the image's size; x, y and side are in 48ths of it. The border is repeated."""
    size = len(picture)
    scale, unit = 48 / side, size / 48
    place = np.array([[scale, 0, -x * unit * scale], [0, scale, -y * unit * scale]])
    return np.asarray(cv2.warpAffine(picture, place, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def cropped(picture: ImageArray, rng: np.random.Generator, *, least: float, most: float) -> ImageArray:
    side = rng.uniform(least, most)
    return zoomed(picture, *rng.uniform(0, 48 - side, 2), side)


def relit(picture: ImageArray, rng: np.random.Generator) -> ImageArray:
    return np.asarray((picture * rng.uniform(0.6, 1.3) + rng.uniform(-30, 30)).clip(0, 255), np.uint8)


def compressed(picture: ImageArray, rng: np.random.Generator) -> ImageArray:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 91))])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def turned(picture: ImageArray, rng: np.random.Generator) -> ImageArray:
    size = len(picture)
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), rng.uniform(-5, 5), 1)
    return np.asarray(cv2.warpAffine(picture, turn, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def several(picture: ImageArray, rng: np.random.Generator) -> ImageArray:
    picture = relit(cropped(picture, rng, least=42, most=47), rng)
    return compressed(np.ascontiguousarray(picture[:, ::-1] if rng.random() < 0.5 else picture), rng)


KINDS: dict[str, Alteration] = {
    "mirrored": lambda picture, _: np.ascontiguousarray(picture[:, ::-1]),
    "light and contrast": relit,
    "JPEG of quality 30–90": compressed,
    "shifted, up to 4 pixels of 48": lambda picture, rng: zoomed(picture, *rng.uniform(-4, 4, 2), 48),
    "cropped to 42–47 pixels of 48": lambda picture, rng: cropped(picture, rng, least=42, most=47),
    "cropped to 36–42 pixels of 48": lambda picture, rng: cropped(picture, rng, least=36, most=42),
    "turned, up to 5°": turned,
    "cropped to 42–47, relit, JPEG, half of them mirrored": several,
}


def plant(dataset: Dataset, n: int, *, seed: int) -> tuple[Dataset, dict[str, IntArray]]:
    """Append n altered copies per kind; return also the originals' indices per kind, in the order of the copies."""
    rng = np.random.default_rng(seed)
    usable = np.flatnonzero(np.ptp(dataset.images, axis=(1, 2, 3)) > 0)
    drawn = rng.permutation(usable)[: n * len(KINDS)]
    originals = dict(zip(KINDS, np.array_split(drawn, len(KINDS)), strict=True))
    copies = [KINDS[kind](to_grey(dataset.images[i]), rng) for kind, chosen in originals.items() for i in chosen]
    shape = (len(copies), *dataset.images.shape[1:])
    images = np.broadcast_to(np.stack(copies)[..., None], shape)
    where = np.concatenate([np.arange(len(dataset)), drawn])
    planted = dataset.select(where)
    return replace(planted, images=np.concatenate([dataset.images, images])), originals


def shares(audited: Audit, originals: dict[str, IntArray], *, among: int) -> dict[str, dict[str, float]]:
    """Return per kind the share of copies paired with their original, and the share in its cluster."""
    pairs = set(zip(audited.pairs.first.tolist(), audited.pairs.second.tolist(), strict=True))
    found, copy = {}, among
    for kind, chosen in originals.items():
        first, second = audited.exact[chosen], audited.exact[copy : copy + len(chosen)]
        paired = [
            a == b or (min(a, b), max(a, b)) in pairs for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
        together = audited.clusters[first] == audited.clusters[second]
        found[kind] = {"paired": float(np.mean(paired)), "in_cluster": float(together.mean())}
        copy += len(chosen)
    return found


def sheet(audited: Audit, dataset: Dataset, *, among: int, seed: int) -> ImageArray:
    """Draw pairs of the dataset's own images, the second one mirrored if the pair is."""
    own = np.flatnonzero(audited.pairs.second < among)
    random = np.random.default_rng(seed).permutation(own)[:SHOWN]
    lowest = own[np.argsort(audited.pairs.scores[own])][:SHOWN]
    cells = [_pair(audited, dataset, int(i)) for i in (*random, *lowest)]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % COLUMNS) if cells else []
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    return np.vstack(rows) if rows else np.full((CELL, CELL), 255, np.uint8)


def _pair(audited: Audit, dataset: Dataset, i: int) -> ImageArray:
    first, second, score, mirrored = (column[i] for column in audited.pairs)
    one, other = (resize(to_grey(dataset.images[picture]), CELL) for picture in (first, second))
    cell = np.full((CELL + 20, 2 * CELL + 14), 255, np.uint8)
    cell[:CELL, :CELL], cell[:CELL, CELL + 2 : 2 * CELL + 2] = one, other[:, ::-1] if mirrored else other
    text = f"{score:.3f}{' mirrored' if mirrored else ''}"
    cv2.putText(cell, text, (0, CELL + 14), cv2.FONT_HERSHEY_DUPLEX, 0.4, 60, 1, cv2.LINE_AA)
    return cell


if __name__ == "__main__":
    main()
