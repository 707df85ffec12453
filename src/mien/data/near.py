"""Near duplicates: pairs of images of the same photo, shifted, cropped, scaled, mirrored or recompressed.

Two steps. *Candidates*: 24 windows of each image (nine shifts, three scales) are reduced to 8×8, standardised and
whitened; a pair is a candidate where a window of one resembles the centre of the other, plain or mirrored.
*Correlation*: of each candidate the band-passed images, independent of brightness and contrast, are compared by
normalised cross-correlation over small shifts and scales.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np

from mien.pixels import resize, to_grey
from mien.structures import BoolArray, FloatArray, ImageArray, IntArray, Progress

IMAGE_SIDE = 48  # images are compared at this size, FER2013's
WINDOW_SIDE = 40  # of the central window, in pixels
GRID = 8  # side of a thumbnail in cells
DIMENSIONS = 40  # of a descriptor; on FER2013, 48 and 56 find no more
CANDIDATES_PER_IMAGE = 10  # on average: 3 of 10,000 pairs of FER2013, with 19 of 20 planted copies among them
BOUND_SAMPLE = 256  # images that the bound for candidates is estimated from
TILE_ROWS, TILE_COLUMNS = 256, 512  # of the similarity matrix; half a megabyte fits the cache, in half the time

PATCH_SIDE = 32  # of the patch that is correlated, in pixels
MAX_SHIFT = 3  # of the patch, in pixels; windows are four pixels apart
ZOOMS = 1.04 ** np.arange(-2, 3)  # the scales of the windows are 15 % apart
FINE_SIGMA, COARSE_SIGMA = 0.8, 4.0  # of the band-pass, in pixels
# Correlations below which the next two zooms, and the last two, are skipped; this loses no pair above 0.88.
EARLY_STOP = (0.6, 0.75)

Descriptors: TypeAlias = tuple[FloatArray, FloatArray]  # (n, e), (n, o): parts even and odd under mirroring, norm 1


class Window(NamedTuple):
    """A square of an image: centre and side in pixels."""

    x: float
    y: float
    side: float


class Pairs(NamedTuple):
    """Pairs of near duplicates.

    Args:
        first: Index of one image, int64 (m,).
        second: Index of the other, int64 (m,), larger than the first.
        scores: Correlation of the band-passed images in [-1, 1], float32 (m,).
        mirrored: Whether one is mirrored, bool (m,).
    """

    first: IntArray
    second: IntArray
    scores: FloatArray
    mirrored: BoolArray


class _Candidates(NamedTuple):
    """Pairs where a window of `query` resembles the centre of `base`; int64 (m,), similarity float32 (m,)."""

    query: IntArray
    base: IntArray
    window: IntArray
    mirrored: BoolArray
    similarity: FloatArray


class _Whitening(NamedTuple):
    """Whitening of thumbnails: mean of the even part, and matrices for the even and the odd part."""

    mean: FloatArray
    even: FloatArray
    odd: FloatArray


def near_pairs(images: ImageArray, *, threshold: float, progress: Progress | None = None) -> Pairs:
    """Find pairs of images of the same photo.

    Args:
        images: uint8 (n, H, W, C), without exact duplicates, which `audit.first_identical` finds faster.
        threshold: Least correlation of a pair.
        progress: Called with (done, all) in thousandths.

    Returns:
        The pairs, sorted by first, then second image.
    """
    if len(images) < 2:
        none = np.empty(0, np.int64)
        return Pairs(none, none, none.astype(np.float32), none.astype(np.bool_))
    images = np.stack([resize(to_grey(image), IMAGE_SIDE) for image in images])
    candidates = _find_candidates(images, progress=progress)
    scores = _correlations(images, candidates, progress=progress)
    chosen = _argmax_per_key(_pair_keys(candidates.query, candidates.base, len(images)), scores)
    chosen = chosen[scores[chosen] >= threshold]
    query, base = candidates.query[chosen], candidates.base[chosen]
    return Pairs(np.minimum(query, base), np.maximum(query, base), scores[chosen], candidates.mirrored[chosen])


def _windows() -> list[Window]:
    """Return 24 windows.

    At full scale six of nine shifts suffice: swapping the roles of two images reverses a shift, or, if one is
    mirrored, its vertical part.
    """
    middle = IMAGE_SIDE / 2
    halves = ((0, 0), (1, 0), (-1, 0), (0, 1), (1, 1), (-1, 1))
    wholes = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1))
    plan = ((1.0, 4, halves), (0.87, 4, wholes), (0.75, 5, wholes))
    return [Window(middle + d * x, middle + d * y, z * WINDOW_SIDE) for z, d, shifts in plan for x, y in shifts]


def _find_candidates(images: ImageArray, *, progress: Progress | None) -> _Candidates:
    """Return the candidate pairs, each with its most similar window."""
    windows, centre = _windows(), Window(IMAGE_SIDE / 2, IMAGE_SIDE / 2, WINDOW_SIDE)
    whitening = _fit_whitening(images, windows)
    base = _descriptors(images, centre, whitening)
    bound = _similarity_bound(images, windows, whitening, base)
    parts = []
    for start in range(0, len(images), TILE_ROWS):
        block = images[start : start + TILE_ROWS]
        for number, window in enumerate(windows):
            query = _descriptors(block, window, whitening)
            tiles = (
                _tile_candidates(query, base, bound, start, column, number)
                for column in range(0, len(images), TILE_COLUMNS)
            )
            parts += [hits for hits in tiles if len(hits.query)]
        _report(progress, start + len(block), len(images), 0.0, 0.75)
    found = _Candidates._make(map(np.concatenate, zip(*parts, strict=True)))
    return _best_per_pair(found, len(images))


def _best_per_pair(found: _Candidates, n: int) -> _Candidates:
    """Keep the most similar window of each pair, separately for plain and mirrored."""
    keys = 2 * _pair_keys(found.query, found.base, n) + found.mirrored
    chosen = _argmax_per_key(keys, found.similarity)
    return _Candidates._make(column[chosen] for column in found)


def _tile_candidates(
    query: Descriptors, base: Descriptors, bound: float, row: int, column: int, window: int
) -> _Candidates:
    """Return the candidates in one tile of the similarity matrix."""
    even, odd = (half[column : column + TILE_COLUMNS] for half in base)
    similarity = _similarity(query, (even, odd))
    rows, columns = np.divmod(np.flatnonzero(similarity >= bound), similarity.shape[1])
    different = rows + row != columns + column
    rows, columns = rows[different], columns[different]
    mirrored = (query[1][rows] * odd[columns]).sum(axis=1) < 0
    return _Candidates(rows + row, columns + column, np.full(len(rows), window), mirrored, similarity[rows, columns])


def _similarity(query: Descriptors, base: Descriptors) -> FloatArray:
    """Return the larger cosine similarity of plain and mirrored query, float32 (n, m).

    Mirroring changes the sign of the odd part only: cos = even ± odd.
    """
    similarity = query[1] @ base[1].T
    np.abs(similarity, out=similarity)
    similarity += query[0] @ base[0].T
    return similarity


def _similarity_bound(images: ImageArray, windows: list[Window], whitening: _Whitening, base: Descriptors) -> float:
    """Estimate from a sample the similarity that `CANDIDATES_PER_IMAGE` others exceed per image."""
    sample = _evenly_spaced(len(images), BOUND_SAMPLE)
    best = np.full((len(sample), len(images)), -1, np.float32)
    for window in windows:
        np.maximum(best, _similarity(_descriptors(images[sample], window, whitening), base), out=best)
    best[np.arange(len(sample)), sample] = -1
    rank = min(CANDIDATES_PER_IMAGE, len(images) - 1) * len(sample)
    reached = np.partition(best, best.size - rank, axis=None)[best.size - rank]
    return float(reached) - 1e-5  # tolerance, since tiles of another shape round differently


def _fit_whitening(images: ImageArray, windows: list[Window]) -> _Whitening:
    """Fit the principal components of the thumbnails' even and odd parts, scaled to unit variance."""
    sample = images[_evenly_spaced(len(images), 4000)]
    halves = [_mirror_parts(_thumbnails(sample, window)) for window in windows[::4]]
    even, odd = np.concatenate([even for even, _ in halves]), np.concatenate([odd for _, odd in halves])
    mean = even.mean(axis=0)
    even_values, even_vectors = np.linalg.eigh((even - mean).T @ (even - mean) / len(even))
    odd_values, odd_vectors = np.linalg.eigh(odd.T @ odd / len(odd))
    variances = np.sort(np.concatenate([even_values, odd_values]))
    least = max(float(variances[-DIMENSIONS]), 1e-6)  # 0 where all images are blank
    return _Whitening(
        mean, _whitening_matrix(even_values, even_vectors, least), _whitening_matrix(odd_values, odd_vectors, least)
    )


def _whitening_matrix(values: FloatArray, vectors: FloatArray, least: float) -> FloatArray:
    kept = values >= least
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)


def _descriptors(images: ImageArray, window: Window, whitening: _Whitening) -> Descriptors:
    """Return the whitened thumbnails of a window, with norm 1."""
    halves = _mirror_parts(_thumbnails(images, window))
    even, odd = (halves[0] - whitening.mean) @ whitening.even, halves[1] @ whitening.odd
    length = np.sqrt((even**2).sum(axis=1) + (odd**2).sum(axis=1))[:, None].clip(1e-6)
    return np.asarray(even / length, np.float32), np.asarray(odd / length, np.float32)


def _thumbnails(images: ImageArray, window: Window) -> FloatArray:
    """Return the windows reduced to GRID × GRID, with mean 0 and norm 1, float32 (n, GRID, GRID)."""
    across, down = (_averaging_matrix(centre, window.side) for centre in (window.x, window.y))
    cells = down @ (images.astype(np.float32) @ across.T)
    cells -= cells.mean(axis=(1, 2), keepdims=True)
    return np.asarray(cells / np.sqrt((cells**2).sum(axis=(1, 2), keepdims=True)).clip(1e-3), np.float32)


def _averaging_matrix(centre: float, side: float) -> FloatArray:
    """Return the matrix that averages the pixels of a window into cells, float32 (GRID, IMAGE_SIDE)."""
    edges = np.linspace(centre - side / 2, centre + side / 2, GRID + 1)
    pixels = np.arange(IMAGE_SIDE)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(shared.clip(0) / (side / GRID), np.float32)


def _mirror_parts(thumbnails: FloatArray) -> Descriptors:
    """Split thumbnails into the parts even and odd under mirroring, each float32 (n, GRID²/2)."""
    left, right = thumbnails[:, :, : GRID // 2], thumbnails[:, :, ::-1][:, :, : GRID // 2]
    n = len(thumbnails)
    return ((left + right) / np.sqrt(2)).reshape(n, -1), ((left - right) / np.sqrt(2)).reshape(n, -1)


def _correlations(images: ImageArray, candidates: _Candidates, *, progress: Progress | None) -> FloatArray:
    """Return the correlation of each candidate pair, float32 (m,)."""
    windows = _windows()
    inside = slice((IMAGE_SIDE - PATCH_SIDE) // 2 - MAX_SHIFT, (IMAGE_SIDE + PATCH_SIDE) // 2 + MAX_SHIFT)
    band_passed = np.empty(images.shape, np.float32)
    for i, image in enumerate(images):
        band_passed[i] = _band_pass(image)
    scores = np.empty(len(candidates.query), np.float32)
    for i, (query, base, window, mirrored, _) in enumerate(zip(*candidates, strict=True)):
        scores[i] = _correlation(
            band_passed[query], band_passed[base][inside, inside], windows[window], mirrored=mirrored
        )
        if i % 4096 == 0:
            _report(progress, i, len(scores), 0.75, 1.0)
    _report(progress, 1, 1, 0.75, 1.0)
    return scores


def _band_pass(image: ImageArray) -> FloatArray:
    """Return a band-passed image, float32 (IMAGE_SIDE, IMAGE_SIDE)."""
    grey = image.astype(np.float32)
    fine, coarse = (
        cv2.GaussianBlur(grey, (0, 0), s, borderType=cv2.BORDER_REPLICATE) for s in (FINE_SIGMA, COARSE_SIGMA)
    )
    return np.asarray(fine - coarse, np.float32)


def _correlation(query: FloatArray, base: FloatArray, window: Window, *, mirrored: bool) -> float:
    """Return the highest correlation of the query's window, over zooms and shifts, with the base."""
    best = -1.0
    for zooms, stop in zip((ZOOMS[2:3], ZOOMS[1:4:2], ZOOMS[::4]), (*EARLY_STOP, 1.0), strict=True):
        for zoom in zooms:
            patch = _patch(query, window, zoom * window.side / WINDOW_SIDE, mirrored=mirrored)
            best = max(best, float(cv2.matchTemplate(base, patch, cv2.TM_CCOEFF_NORMED).max()))
        if best < stop:
            break
    return best


def _patch(image: FloatArray, window: Window, step: float, *, mirrored: bool) -> FloatArray:
    """Sample PATCH_SIDE × PATCH_SIDE points around a window's centre, `step` pixels apart."""
    half = (PATCH_SIDE - 1) / 2
    across = -step if mirrored else step
    x, y = window.x - 0.5, window.y - 0.5  # OpenCV's origin is the centre of the first pixel
    place = np.array([[across, 0, x - across * half], [0, step, y - step * half]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(image, place, (PATCH_SIDE, PATCH_SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.float32)


def _pair_keys(first: IntArray, second: IntArray, n: int) -> IntArray:
    """Return a unique number per unordered pair of images."""
    return np.minimum(first, second) * n + np.maximum(first, second)


def _argmax_per_key(keys: IntArray, scores: FloatArray) -> IntArray:
    """Return the index of each key's highest score, sorted by key."""
    order = np.lexsort((-scores, keys))
    return order[np.unique(keys[order], return_index=True)[1]]


def _evenly_spaced(n: int, most: int) -> IntArray:
    """Return up to `most` indices, evenly spaced over n."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _report(progress: Progress | None, done: int, total: int, begin: float, end: float) -> None:
    """Report the progress of one step, as thousandths of the whole."""
    if progress is not None:
        progress(round(1000 * (begin + (end - begin) * done / max(total, 1))), 1000)
