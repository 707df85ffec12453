"""Statistics of a stream while it runs: how often each expression, on which face, and when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType

import numpy as np
import numpy.typing as npt

from mien.drawing.charts import TrackRow, bar_chart, timeline_chart, track_chart
from mien.files import atomic_folder, counted, write_text
from mien.fusion import VoiceResult
from mien.pixels import write_picture
from mien.sinks.records import origin_keys
from mien.structures import UNCERTAIN, Expression, Frame, Provenance

Floats = npt.NDArray[np.float64]
SCHEMA = 1  # of statistics.json; increases when a key is removed or changes its meaning
MAX_GAP = 1.0  # s counted for one frame at most; a longer gap is a pause, with unknown expressions
MAX_BINS = 600  # of the timeline; even, since bins are merged in pairs
MAX_ROWS = 12  # of the chart of tracks
MAX_TRACKS = 1000  # with counts of their own; further ones, in a crowd, only count in the totals
CHART_SIZE = (1200, 640)  # pixels
SHOWN_SHARE = 0.005  # of an expression in words; a smaller one is 0 %
FILES = ("statistics.json", "statistics-bars.png", "statistics-timeline.png", "statistics-tracks.png")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Mean probabilities over time, in n bins of equal length.

    Args:
        bin_seconds: Length of a bin in seconds.
        times: Middle of each bin in seconds from the first frame, shape (n,).
        faces: Number of faces per bin, each counted once per frame, shape (n,).
        probabilities: Mean probabilities of the k labels, shape (n, k); NaN without a face.
    """

    bin_seconds: float
    times: Floats
    faces: npt.NDArray[np.int64]
    probabilities: Floats


class Statistics:
    """A sink that counts the expressions of a stream of any length, in nearly constant memory.

    A face counts for the seconds since the previous frame, so a varying frame rate distorts nothing: 0 in the first
    frame, at most `MAX_GAP` after a pause. Bins of the timeline are one second long; above `MAX_BINS` bins, pairs are
    merged.

    One thread may write while others read: every call holds a lock and returns or saves a consistent state.

    Args:
        provenance: `Recognizer.provenance`.
    """

    def __init__(self, provenance: Provenance) -> None:
        origin_keys(provenance)  # or InputError
        self.provenance, self.labels = provenance, provenance.labels
        labels = self.labels
        self._answers = [*labels, UNCERTAIN]
        self._lock = RLock()
        self._n_frames = 0
        self._zero = 0.0  # the stream's clock at our first frame
        self._seconds = 0.0  # from there to the last frame
        self._whole = self._no_faces()
        self._by_track: dict[int, Floats] = {}
        self._bins_of_track: dict[int, dict[int, Floats]] = {}  # of each bin it was seen in: sums, and its faces
        self._tracks: set[int] = set()
        self._bin_seconds = 1.0
        self._bin_sums = np.zeros((MAX_BINS, len(labels)))
        self._bin_faces = np.zeros(MAX_BINS, np.int64)

    def __enter__(self) -> Statistics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: `save` writes the files."""

    def write(
        self, frame: Frame, expressions: Sequence[Expression], *, voice_result: VoiceResult | None = None
    ) -> None:
        """Count the expressions of a frame.

        Args:
            frame: Its time may start anywhere; after a jump back, as in a restarted stream, counting continues from
                the previous frame.
            expressions: Its expressions.
            voice_result: Not counted; statistics are about faces.

        Raises:
            ValueError: An expression has another label set.
        """
        if any(expression.prediction.labels != self.labels for expression in expressions):
            raise ValueError(f"expressions with other labels than '{self.labels.name}'; start new statistics")
        with self._lock:
            before = self._seconds
            if self._n_frames == 0 or frame.time - self._zero < before:
                self._zero = frame.time - before
            self._seconds = max(frame.time - self._zero, before)  # rounding may bring it below
            self._n_frames += 1
            weight = min(self._seconds - before, MAX_GAP)
            while self._seconds >= MAX_BINS * self._bin_seconds:
                self._merge_bins()
            for expression in expressions:
                self._count(expression, weight)

    def __str__(self) -> str:
        """Return the counts in words: "250 frames in 10.0 s, 3 faces: happy 62 %, neutral 38 %"."""
        with self._lock:
            shares = sorted(self.shares().items(), key=lambda share: -share[1])
            frames, tracks = (counted(n, noun) for n, noun in ((self._n_frames, "frame"), (len(self._tracks), "face")))
            named = ", ".join(f"{label} {100 * share:.0f} %" for label, share in shares if share >= SHOWN_SHARE)
            return f"{frames} in {self._seconds:.1f} s, {tracks}" + (f": {named}" if named else "")

    def shares(self) -> dict[str, float]:
        """Return each label's share of the seconds of all faces; shares sum to 1, or are 0 without a face.

        "uncertain" comes last, if there was any. Before any time has passed, shares are of faces.
        """
        with self._lock:
            shares = dict(zip(self._answers, _shares(self._whole).tolist(), strict=True))
            if not self._whole[0, -1]:
                del shares[UNCERTAIN]
            return shares

    def timeline(self) -> Timeline:
        """Return the mean probabilities per bin."""
        with self._lock:
            n_bins = int(self._seconds // self._bin_seconds) + 1 if self._n_frames else 0
            faces = self._bin_faces[:n_bins].copy()
            means = self._bin_sums[:n_bins] / np.maximum(faces, 1)[:, None]
            means[faces == 0] = np.nan
            middles = (np.arange(n_bins, dtype=np.float64) + 0.5) * self._bin_seconds
            return Timeline(self._bin_seconds, middles, faces, means)

    def track_timeline(self, track: int) -> Timeline:
        """Return the mean probabilities of one track, in the bins of `timeline`.

        Raises:
            KeyError: No such track, or one beyond `MAX_TRACKS`.
        """
        with self._lock:
            line = self.timeline()
            faces, means = np.zeros_like(line.faces), np.full_like(line.probabilities, np.nan)
            for place, sums in self._bins_of_track[track].items():
                faces[place], means[place] = sums[-1], sums[:-1] / sums[-1]
            return Timeline(line.bin_seconds, line.times, faces, means)

    def longest_tracks(self, n: int) -> list[int]:
        """Return the numbers of the n longest tracks, in order of appearance."""
        with self._lock:
            found = list(self._by_track)
            by_length = sorted(found, key=lambda track: -self._by_track[track][1].sum())
            return [track for track in found if track in set(by_length[:n])]

    def as_dict(self) -> dict[str, object]:
        """Return all statistics as plain data, for JSON.

        Keys: schema, model, label_set, detector, mien (its version), labels, frames, seconds (from the first frame to
        the last), faces (each counted once per frame), tracks (their number); expressions: faces, seconds (of each
        face) and share (of the seconds) for each label and "uncertain"; by_track: number, faces, seconds and
        expressions of each track; timeline: bin_seconds, times (middles of the bins in s), faces, mean probabilities
        by label (null without a face).
        """
        with self._lock:
            line = self.timeline()
            means = [[None if np.isnan(p) else round(p, 6) for p in row] for row in line.probabilities.T.tolist()]
            return {
                "schema": SCHEMA,
                **origin_keys(self.provenance),
                "labels": list(self.labels),
                "frames": self._n_frames,
                "seconds": round(self._seconds, 3),
                "faces": int(self._whole[0].sum()),
                "tracks": len(self._tracks),
                "expressions": self._plain(self._whole),
                "by_track": [
                    {
                        "track": track,
                        "faces": int(counted[0].sum()),
                        "seconds": round(float(counted[1].sum()), 3),
                        "expressions": self._plain(counted),
                    }
                    for track, counted in self._by_track.items()
                ],
                "timeline": {
                    "bin_seconds": line.bin_seconds,
                    "times": line.times.tolist(),
                    "faces": line.faces.tolist(),
                    "probabilities": dict(zip(self.labels, means, strict=True)),
                },
            }

    def save(self, folder: str | Path, *, dark: bool = False) -> list[Path]:
        """Write statistics.json and three charts, statistics-bars.png, -timeline.png and -tracks.png, atomically.

        Args:
            folder: Created if missing; files of these names are overwritten.
            dark: Draw on a dark background.

        Returns:
            Paths of the four files.

        Raises:
            OutputError: The folder cannot be created, or a file cannot be written.
        """
        with self._lock:
            plain, shares, line, tracks = self.as_dict(), self.shares(), self.timeline(), self._track_rows()
            n_tracks = len(self._tracks)
        bars = bar_chart(shares, size=CHART_SIZE, dark=dark, title="Share of time per expression")
        title = "Mean probabilities over time"
        areas = timeline_chart(line.times, line.probabilities, self.labels, size=CHART_SIZE, dark=dark, title=title)
        title = "Each face" if len(tracks) == n_tracks else f"The {len(tracks)} faces seen longest, of {n_tracks:,}"
        rows = track_chart(line.times, tracks, self.labels, size=CHART_SIZE, dark=dark, title=title)
        text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
        with atomic_folder(folder) as temporary:
            write_text(temporary / FILES[0], text + "\n")
            for name, chart in zip(FILES[1:], (bars, areas, rows), strict=True):
                write_picture(temporary / name, chart)
        return [Path(folder) / name for name in FILES]

    def _track_rows(self) -> list[TrackRow]:
        """Return the rows of the chart of tracks, the longest ones."""
        return [
            TrackRow(
                f"face {track}, {self._by_track[track][1].sum():.0f} s",
                dict(zip(self._answers, _shares(self._by_track[track]).tolist(), strict=True)),
                self.track_timeline(track).probabilities,
            )
            for track in self.longest_tracks(MAX_ROWS)
        ]

    def _count(self, expression: Expression, weight: float) -> None:
        """Count a face of the newest frame for `weight` seconds."""
        one = self._no_faces()
        one[:, self._answers.index(expression.label)] = 1, weight
        self._whole += one
        place = int(self._seconds // self._bin_seconds)
        track = expression.face.track_id
        if track is not None:
            self._tracks.add(track)
            if track in self._by_track or len(self._by_track) < MAX_TRACKS:
                self._by_track[track] = self._by_track.get(track, 0) + one
                bins = self._bins_of_track.setdefault(track, {})
                bins[place] = bins.get(place, 0) + np.append(expression.prediction.probabilities, 1.0)
        self._bin_sums[place] += expression.prediction.probabilities
        self._bin_faces[place] += 1

    def _merge_bins(self) -> None:
        """Merge pairs of bins; the second half of the bins is then empty."""
        self._bin_seconds *= 2
        for bins in (self._bin_sums, self._bin_faces):
            bins[: MAX_BINS // 2] = bins[0::2] + bins[1::2]
            bins[MAX_BINS // 2 :] = 0
        for track, fine in self._bins_of_track.items():
            coarse: dict[int, Floats] = {}
            for place, sums in fine.items():
                coarse[place // 2] = coarse.get(place // 2, 0) + sums
            self._bins_of_track[track] = coarse

    def _no_faces(self) -> Floats:
        """Return zero counts: faces (row 0) and seconds (row 1) of each label and "uncertain", shape (2, k + 1)."""
        return np.zeros((2, len(self._answers)))

    def _plain(self, counted: Floats) -> dict[str, dict[str, float]]:
        return {
            answer: {"faces": int(faces), "seconds": round(seconds, 3), "share": round(share, 6)}
            for answer, faces, seconds, share in zip(
                self._answers, *counted.tolist(), _shares(counted).tolist(), strict=True
            )
        }


def _shares(counted: Floats) -> Floats:
    """Return each label's share of the seconds, or of the faces if there are no seconds, shape (k + 1,)."""
    amounts = counted[1] if counted[1].any() else counted[0]
    return np.asarray(amounts / (amounts.sum() or 1))
