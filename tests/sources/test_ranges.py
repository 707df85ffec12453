"""The frames of all time ranges of a video are those of the video, each once, whatever the file is like."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from zlib import crc32

import pytest

from films import FILMS, cut, write_film
from mien.errors import InputError
from mien.sources import frames
from mien.sources.media import ALL_FRAMES, WHOLE, FrameSelection, TimeRange
from mien.sources.ranges import RangeReader
from mien.structures import Frame

pytest.importorskip("av")

ENDS = (0.4, 0.8, 1.65, 1.7, 2.5, 5.0, 60.0)
RANGES = [TimeRange(*pair) for pair in zip((0.0, *ENDS), (*ENDS, None), strict=True)]
SELECTIONS = [ALL_FRAMES, FrameSelection(fps=3), FrameSelection(start=0.9, stop=2.1), FrameSelection(fps=7, start=1.0)]


def plain(frame: Frame) -> tuple[int, float, int]:
    return frame.index, frame.time, crc32(frame.image.tobytes())


def read(reader: RangeReader, path: Path, within: TimeRange) -> list[tuple[int, float, int]]:
    return [plain(frame) for frame in reader.open(path, within)[1]]


@pytest.mark.filterwarnings("ignore:.*ends before its header says")
@pytest.mark.parametrize("kind", FILMS)
def test_ranges_together_are_the_whole_video(kind: str, tmp_path: Path) -> None:
    path = FILMS[kind](tmp_path / kind)
    for selection in SELECTIONS:
        check_ranges(path, selection)


def check_ranges(path: Path, selection: FrameSelection) -> None:
    whole = [plain(frame) for frame in frames(path, selection=selection)]
    with RangeReader(selection) as reader:
        in_order = [read(reader, path, within) for within in RANGES]
        shuffled = random.Random(0).sample(range(len(RANGES)), len(RANGES))
        in_any_order = {i: read(reader, path, RANGES[i]) for i in shuffled}
    assert [frame for found in in_order for frame in found] == whole
    assert [in_any_order[i] for i in range(len(RANGES))] == in_order
    for within, found in zip(RANGES, in_order, strict=True):
        assert all(within.start <= time < (within.stop or 1e9) for _, time, _ in found)


def test_a_range_after_another_reads_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mp4")
    opened = []
    monkeypatch.setattr(
        "mien.sources.ranges.opened_since", lambda *args, **named: opened.append(args) or _opened(*args, **named)
    )
    with RangeReader(ALL_FRAMES) as reader:
        for within in RANGES[:4]:
            read(reader, path, within)
        assert len(opened) == 1
        read(reader, path, RANGES[2])  # back
        assert len(opened) == 2
        read(reader, path, RANGES[6])  # ahead
        assert len(opened) == 2
        write_film(path, n=30)
        assert read(reader, path, RANGES[3]) == [plain(f) for f in frames(path) if 1.65 <= f.time < 1.7]
        assert len(opened) == 3


def _opened(*args: object, **named: object) -> object:
    from mien.sources.frames import opened_since

    return opened_since(*args, **named)


def test_a_range_that_was_left_early_is_not_read_on(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4")
    whole = [plain(frame) for frame in frames(path)]
    with RangeReader(ALL_FRAMES) as reader:
        assert plain(next(reader.open(path, TimeRange(0, 1))[1])) == whole[0]
        assert read(reader, path, TimeRange(0, 1)) == whole[:20]
        assert read(reader, path, WHOLE) == whole


def test_what_is_wrong_with_the_whole_video_is_said_once(tmp_path: Path) -> None:
    path = cut(tmp_path / "cut.mp4")
    with warnings.catch_warnings(record=True) as said, RangeReader(ALL_FRAMES) as reader:
        warnings.simplefilter("always")
        for within in RANGES:
            read(reader, path, within)
    assert len(said) == 1
    write_film(path)
    with RangeReader(FrameSelection(start=30)) as reader:
        with pytest.raises(InputError, match="has no frame from 30 s to the end; its last one is at"):
            read(reader, path, TimeRange(0, 31))
        assert read(reader, path, TimeRange(31, None)) == []
