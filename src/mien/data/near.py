"""Near duplicates: pairs of pictures that show the same photo, shifted, cropped, scaled, mirrored or compressed anew.

Two steps. *Candidates*: each picture is looked at through 24 windows (nine shifts, three scales), brought to 8×8,
standardised and whitened; two pictures are a candidate where a window of one is like the middle of the other, as it is
or mirrored. *Measuring*: of each candidate the fine structure (a band-pass, so that light and contrast don't count) is
laid over the other's, by normalised cross-correlation over small shifts and scales.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mien.pixels import resize, to_grey
from mien.structures import FloatArray, ImageArray, IntArray, Progress

SIDE = 48  # pictures are compared at this size, FER2013's
WINDOW = 40  # side of the middle, in pixels of SIDE
CELLS = 8  # of a thumbnail, a side
DIMENSIONS = 40  # of a descriptor: on FER2013, 48 and 56 find no more
CANDIDATES = 10  # of each picture, on average: of FER2013's pairs 3 in 10,000, among which are 19 of 20 planted copies
SAMPLE = 256  # pictures that the bound for candidates is taken from
ROWS, COLUMNS = 256, 512  # of a tile of similarities, half a megabyte: in the cache it takes half the time

PATCH = 32  # side of what is laid over, in pixels of SIDE
REACH = 3  # and how far it is moved: windows lie four pixels apart
ZOOMS = 1.04 ** np.arange(-2, 3)  # the windows' scales lie 15 % apart
FINE, COARSE = 0.8, 4.0  # sigmas of the band-pass, in pixels of SIDE
GIVE_UP = (
    0.6,
    0.75,
)  # below this the middle zoom spares the next two, and these the last two; costs no pair above 0.88

Descriptors: TypeAlias = tuple[FloatArray, FloatArray]  # (n, e), (n, o): even and odd under mirroring, together unit


class Window(NamedTuple):
    """A square of a picture: centre and side in pixels of SIDE."""

    x: float
    y: float
    side: float


class Pairs(NamedTuple):
    """Pairs of pictures and how alike they are.

    Args:
        first: Index of a picture, int64 (m,).
        second: Index of the other one, int64 (m,), larger than the first.
        scores: Correlation of their fine structure in [-1, 1], float32 (m,).
        mirrored: Whether one had to be mirrored, bool (m,).
    """

    first: IntArray
    second: IntArray
    scores: FloatArray
    mirrored: npt.NDArray[np.bool_]


class _Candidates(NamedTuple):
    """A window of `query` resembles the middle of `base`; int64 (m,), similarity float32 (m,)."""

    query: IntArray
    base: IntArray
    window: IntArray
    mirrored: npt.NDArray[np.bool_]
    similarity: FloatArray


class _Basis(NamedTuple):
    """Whitens thumbnails: mean of their even part, and what to multiply the even and odd part with."""

    mean: FloatArray
    even: FloatArray
    odd: FloatArray


def near_pairs(images: ImageArray, *, threshold: float, progress: Progress | None = None) -> Pairs:
    """Find pairs of pictures that show the same photo.

    Args:
        images: uint8 (n, H, W, C); no two should be the same, since that is found out more cheaply.
        threshold: Least correlation of the fine structure.
        progress: Called with (done, all) in no particular unit.

    Returns:
        The pairs in order of their first, then their second picture.
    """
    if len(images) < 2:
        none = np.empty(0, np.int64)
        return Pairs(none, none, none.astype(np.float32), none.astype(np.bool_))
    pictures = np.stack([resize(to_grey(image), SIDE) for image in images])
    candidates = _candidates(pictures, progress=progress)
    scores = _measure(pictures, candidates, progress=progress)
    chosen = _best(_keys(candidates.query, candidates.base, len(images)), scores)
    chosen = chosen[scores[chosen] >= threshold]
    query, base = candidates.query[chosen], candidates.base[chosen]
    return Pairs(np.minimum(query, base), np.maximum(query, base), scores[chosen], candidates.mirrored[chosen])


def _windows() -> list[Window]:
    """Return 24 windows.

    At full scale, two thirds of the shifts: the others follow with the roles swapped, which turns a shift round, but of
    mirrored pictures only its vertical part.
    """
    middle = SIDE / 2
    halves = ((0, 0), (1, 0), (-1, 0), (0, 1), (1, 1), (-1, 1))
    wholes = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1))
    plan = ((1.0, 4, halves), (0.87, 4, wholes), (0.75, 5, wholes))
    return [Window(middle + d * x, middle + d * y, z * WINDOW) for z, d, shifts in plan for x, y in shifts]


def _candidates(pictures: ImageArray, *, progress: Progress | None) -> _Candidates:
    """Return the pairs worth measuring, each with the window that fits it best."""
    windows, middle = _windows(), Window(SIDE / 2, SIDE / 2, WINDOW)
    basis = _fit(pictures, windows)
    base = _describe(pictures, middle, basis)
    bound = _bound(pictures, windows, basis, base)
    parts = []
    for start in range(0, len(pictures), ROWS):
        block = pictures[start : start + ROWS]
        for number, window in enumerate(windows):
            query = _describe(block, window, basis)
            tiles = (_hits(query, base, bound, start, column, number) for column in range(0, len(pictures), COLUMNS))
            parts += [hits for hits in tiles if len(hits.query)]
        _tell(progress, start + len(block), len(pictures), 0.0, 0.75)
    return _best_windows(_joined(parts), len(pictures))


def _joined(parts: list[_Candidates]) -> _Candidates:
    return _Candidates(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.base for part in parts]),
        np.concatenate([part.window for part in parts]),
        np.concatenate([part.mirrored for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )


def _best_windows(found: _Candidates, n: int) -> _Candidates:
    """Keep the best window of each pair, plain and mirrored apart."""
    keys = 2 * _keys(found.query, found.base, n) + found.mirrored
    chosen = _best(keys, found.similarity)
    return _Candidates(
        found.query[chosen],
        found.base[chosen],
        found.window[chosen],
        found.mirrored[chosen],
        found.similarity[chosen],
    )


def _hits(query: Descriptors, base: Descriptors, bound: float, row: int, column: int, window: int) -> _Candidates:
    """Return what reaches the bound in one tile of the matrix of similarities."""
    even, odd = (half[column : column + COLUMNS] for half in base)
    similarity = _similarity(query, (even, odd))
    rows, columns = np.divmod(np.flatnonzero(similarity >= bound), similarity.shape[1])
    apart = rows + row != columns + column
    rows, columns = rows[apart], columns[apart]
    mirrored = (query[1][rows] * odd[columns]).sum(axis=1) < 0
    return _Candidates(rows + row, columns + column, np.full(len(rows), window), mirrored, similarity[rows, columns])


def _similarity(query: Descriptors, base: Descriptors) -> FloatArray:
    """Return the larger cosine of plain and mirrored query, float32 (n, m).

    Mirroring changes the sign of the odd part alone: cos = even ± odd.
    """
    similarity = query[1] @ base[1].T
    np.abs(similarity, out=similarity)
    similarity += query[0] @ base[0].T
    return similarity


def _bound(pictures: ImageArray, windows: list[Window], basis: _Basis, base: Descriptors) -> float:
    """Return the similarity that `CANDIDATES` others reach per picture, taken from a sample."""
    sample = _spread(len(pictures), SAMPLE)
    best = np.full((len(sample), len(pictures)), -1, np.float32)
    for window in windows:
        np.maximum(best, _similarity(_describe(pictures[sample], window, basis), base), out=best)
    best[np.arange(len(sample)), sample] = -1
    rank = min(CANDIDATES, len(pictures) - 1) * len(sample)
    reached = np.partition(best, best.size - rank, axis=None)[best.size - rank]
    return float(reached) - 1e-5  # a tile of another form rounds otherwise


def _fit(pictures: ImageArray, windows: list[Window]) -> _Basis:
    """Take the principal components of the thumbnails' even and odd parts, scaled to unit variance."""
    sample = pictures[_spread(len(pictures), 4000)]
    halves = [_halves(_thumbnails(sample, window)) for window in windows[::4]]
    even, odd = np.concatenate([even for even, _ in halves]), np.concatenate([odd for _, odd in halves])
    mean = even.mean(axis=0)
    even_values, even_vectors = np.linalg.eigh((even - mean).T @ (even - mean) / len(even))
    odd_values, odd_vectors = np.linalg.eigh(odd.T @ odd / len(odd))
    least = max(float(np.sort(np.concatenate([even_values, odd_values]))[-DIMENSIONS]), 1e-6)  # flat ones have none
    return _Basis(mean, _whitening(even_values, even_vectors, least), _whitening(odd_values, odd_vectors, least))


def _whitening(values: FloatArray, vectors: FloatArray, least: float) -> FloatArray:
    kept = values >= least
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)


def _describe(pictures: ImageArray, window: Window, basis: _Basis) -> Descriptors:
    """Return the whitened thumbnails of a window, of length one."""
    halves = _halves(_thumbnails(pictures, window))
    even, odd = (halves[0] - basis.mean) @ basis.even, halves[1] @ basis.odd
    length = np.sqrt((even**2).sum(axis=1) + (odd**2).sum(axis=1))[:, None].clip(1e-6)
    return np.asarray(even / length, np.float32), np.asarray(odd / length, np.float32)


def _thumbnails(pictures: ImageArray, window: Window) -> FloatArray:
    """Return the windows at CELLS × CELLS, mean 0 and length 1; float32 (n, CELLS, CELLS)."""
    across, down = (_averaging(centre, window.side) for centre in (window.x, window.y))
    cells = down @ (pictures.astype(np.float32) @ across.T)
    cells -= cells.mean(axis=(1, 2), keepdims=True)
    return np.asarray(cells / np.sqrt((cells**2).sum(axis=(1, 2), keepdims=True)).clip(1e-3), np.float32)


def _averaging(centre: float, side: float) -> FloatArray:
    """Return what averages SIDE pixels to CELLS cells of a window, float32 (CELLS, SIDE)."""
    edges = np.linspace(centre - side / 2, centre + side / 2, CELLS + 1)
    pixels = np.arange(SIDE)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(shared.clip(0) / (side / CELLS), np.float32)


def _halves(thumbnails: FloatArray) -> Descriptors:
    """Split thumbnails into parts that mirroring keeps and turns round, each float32 (n, CELLS²/2)."""
    left, right = thumbnails[:, :, : CELLS // 2], thumbnails[:, :, ::-1][:, :, : CELLS // 2]
    n = len(thumbnails)
    return ((left + right) / np.sqrt(2)).reshape(n, -1), ((left - right) / np.sqrt(2)).reshape(n, -1)


def _measure(pictures: ImageArray, candidates: _Candidates, *, progress: Progress | None) -> FloatArray:
    """Return the correlation of each candidate's fine structure, float32 (m,)."""
    windows = _windows()
    inside = slice((SIDE - PATCH) // 2 - REACH, (SIDE + PATCH) // 2 + REACH)
    fine = np.empty(pictures.shape, np.float32)
    for i, picture in enumerate(pictures):
        fine[i] = _fine_structure(picture)
    scores = np.empty(len(candidates.query), np.float32)
    for i, (query, base, window, mirrored, _) in enumerate(zip(*candidates, strict=True)):
        scores[i] = _correlation(fine[query], fine[base][inside, inside], windows[window], mirrored=mirrored)
        if i % 4096 == 0:
            _tell(progress, i, len(scores), 0.75, 1.0)
    _tell(progress, 1, 1, 0.75, 1.0)
    return scores


def _fine_structure(picture: ImageArray) -> FloatArray:
    """Return the band-pass of a picture, float32 (SIDE, SIDE)."""
    grey = picture.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(grey, (0, 0), s, borderType=cv2.BORDER_REPLICATE) for s in (FINE, COARSE))
    return np.asarray(fine - coarse, np.float32)


def _correlation(query: FloatArray, base: FloatArray, window: Window, *, mirrored: bool) -> float:
    """Return the best correlation of a window of the query, zoomed a little, with any place of the base."""
    best = -1.0
    for zooms, enough in zip((ZOOMS[2:3], ZOOMS[1:4:2], ZOOMS[::4]), (*GIVE_UP, 1.0), strict=True):
        for zoom in zooms:
            patch = _patch(query, window, zoom * window.side / WINDOW, mirrored=mirrored)
            best = max(best, float(cv2.matchTemplate(base, patch, cv2.TM_CCOEFF_NORMED).max()))
        if best < enough:
            break
    return best


def _patch(picture: FloatArray, window: Window, step: float, *, mirrored: bool) -> FloatArray:
    """Return PATCH × PATCH samples around a window's centre, `step` pixels apart."""
    half = (PATCH - 1) / 2
    across = -step if mirrored else step
    x, y = window.x - 0.5, window.y - 0.5  # OpenCV counts from the centre of the first pixel
    place = np.array([[across, 0, x - across * half], [0, step, y - step * half]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(picture, place, (PATCH, PATCH), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.float32)


def _keys(first: IntArray, second: IntArray, n: int) -> IntArray:
    """Return a number for each pair of pictures, whichever of the two comes first."""
    return np.minimum(first, second) * n + np.maximum(first, second)


def _best(keys: IntArray, scores: FloatArray) -> IntArray:
    """Return where each key has its highest score, in the order of the keys."""
    order = np.lexsort((-scores, keys))
    return order[np.unique(keys[order], return_index=True)[1]]


def _spread(n: int, most: int) -> IntArray:
    """Return up to `most` indices, evenly spread over n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _tell(progress: Progress | None, done: int, total: int, begin: float, end: float) -> None:
    """Report a part of the work as a share of the whole, in thousandths."""
    if progress is not None:
        progress(round(1000 * (begin + (end - begin) * done / max(total, 1))), 1000)
