"""The cost of reading a video by time ranges: decoding the frames before a range, against recognising those in it.

For each video: CPU time per frame of decoding alone, and of recognising (decoding included), one thread each; and how
many of its frames OpenCV finds wrongly when it seeks to them, by number and by time, compared by their pixels with
reading from the start. Up to --probes frames are sought, spread evenly.

From these follows the CPU time of a film in ranges, relative to the whole film: each of n ranges that is read from the
start decodes all frames before it, (n - 1) / 2 times the film in sum; a process that reads on from range to range
decodes the film once at most.

Example: python benchmarks/ranges.py film.mp4 clip.mkv --out ranges.json
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import process_time
from zlib import crc32

import cv2

from _common import arguments, existing, markdown, report
from mien import cores
from mien.quiet import quiet
from mien.recognizer import Recognizer
from mien.sources.frames import frames, inspect

RANGES = (6, 18)  # an hour and three hours, in ranges of ten minutes
PROCESSES = (1, 4, 16)
N_RECOGNISED = 50  # frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of a video.

    Args:
        video: Its name.
        size: Width and height in pixels.
        decode_ms: CPU time of decoding a frame.
        recognise_ms: CPU time of recognising a frame, with decoding.
        probes: Number of frames that were sought.
        wrong_by_number: How many of them were others, sought by their numbers.
        wrong_by_time: The same, sought by their times.
    """

    video: str
    size: tuple[int, int]
    decode_ms: float
    recognise_ms: float
    probes: int
    wrong_by_number: int
    wrong_by_time: int

    def overhead(self, n_ranges: int, n_processes: int) -> float:
        """Return the CPU time of a film in ranges relative to the whole film's."""
        decoded_again = min((n_ranges - 1) / 2, min(n_processes, n_ranges) - 1)
        return 1 + decoded_again * self.decode_ms / self.recognise_ms


def cpu_ms(n: int, work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return 1000 * (process_time() - began) / n


def decode(path: Path) -> None:
    video = cv2.VideoCapture(str(path))
    while video.grab():
        pass


def sought(path: Path, position: int, value: float) -> int:
    video = cv2.VideoCapture(str(path))
    video.set(position, value)
    there, image = video.read()
    return crc32(image) if there else 0


def measure(path: Path, recognizer: Recognizer, *, n_probes: int) -> Figures:
    times = {frame.index: frame.time for frame in frames(path)}
    video = cv2.VideoCapture(str(path))
    step = max(len(times) // n_probes, 1)
    pixels = {}
    for i in range(len(times)):
        if video.grab() and i % step == 0:
            pixels[i] = crc32(video.retrieve()[1])
    n = min(len(times), N_RECOGNISED)
    decode_ms = cpu_ms(len(times), lambda: decode(path))
    recognise_ms = cpu_ms(n, lambda: [None for _ in recognizer.stream(islice(frames(path), n))])
    return Figures(
        video=path.name, size=inspect(path).size, decode_ms=decode_ms, recognise_ms=recognise_ms, probes=len(pixels),
        wrong_by_number=sum(sought(path, cv2.CAP_PROP_POS_FRAMES, i) != pixels[i] for i in pixels),
        wrong_by_time=sum(sought(path, cv2.CAP_PROP_POS_MSEC, 1000 * times[i]) != pixels[i] for i in pixels),
    )  # fmt: skip


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--probes", type=int, default=20, help="frames that are sought per video")
    given = parser.parse_args()
    if given.probes < 1:
        sys.exit(f"--probes is {given.probes}; expected 1 or more")
    cores.use_one_core()
    cv2.setNumThreads(1)
    recognizer = Recognizer()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [measure(existing(path, flag="VIDEOS"), recognizer, n_probes=given.probes) for path in given.videos]
    first = markdown(
        ["video", "size", "decoding ms", "recognising ms", "share", "probes", "wrong by number", "wrong by time"],
        [
            [
                f.video, "{}x{}".format(*f.size), f"{f.decode_ms:.1f}", f"{f.recognise_ms:.1f}",
                f"{f.decode_ms / f.recognise_ms:.3f}", str(f.probes), str(f.wrong_by_number), str(f.wrong_by_time),
            ]
            for f in found
        ],
    )  # fmt: skip
    second = markdown(
        ["video", *(f"{n} ranges, {p} processes" for n in RANGES for p in PROCESSES)],
        [[f.video, *(f"{f.overhead(n, p):.2f}" for n in RANGES for p in PROCESSES)] for f in found],
    )
    report(
        "Ranges of videos", [first, second], {"videos": [asdict(f) for f in found]}, out=given.out,
        detector=recognizer.provenance.detector, model=recognizer.provenance.model,
    )  # fmt: skip


if __name__ == "__main__":
    main()
