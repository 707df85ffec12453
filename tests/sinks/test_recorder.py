"""Recording a stream: files are complete at any moment, and failures lose nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from disks import no_room_for
from mien.drawing.faces import draw
from mien.errors import ConfigError, OutputError
from mien.labels import FER2013, FERPLUS
from mien.sinks import recorder
from mien.sinks.live_video import LiveVideoSink
from mien.sinks.recorder import Recorder, convert
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames, inspect
from mien.structures import Box, Expression, Face, Frame, ImageArray, Prediction, Provenance

SMOOTHED = Prediction(np.array([0.05, 0.05, 0.1, 0.6, 0.1, 0.05, 0.05], np.float32), FER2013)
RAW = Prediction(np.array([0, 0, 0, 1, 0, 0, 0], np.float32), FER2013)
SEEN = Expression(Face(Box(30, 5, 50, 25), score=0.9, track_id=7), SMOOTHED, raw=RAW)
ORIGIN = Provenance("tiny", FER2013, "haar")
STEP = 20  # between the grey of one frame and the next


def grey(level: int) -> ImageArray:
    return np.full((48, 64, 3), STEP * level, np.uint8)


def shot(
    index: int, *, time: float | None = None, n_faces: int = 1, source: str = "camera 0"
) -> tuple[Frame, list[Expression]]:
    """Frame number `index` of 10 per second, with that many times the same face, in an image of its own grey."""
    return Frame(grey(index), index / 10 if time is None else time, index, source), [SEEN] * n_faces


def levels(path: Path) -> list[int]:
    """Return which picture each frame of a video shows."""
    return [round(float(frame.image.mean()) / STEP) for frame in frames(path)]


def seconds(path: Path) -> float:
    media = inspect(path)
    assert media.frames is not None
    assert media.rate is not None
    return media.frames / media.rate


def write_live(path: Path, times: Sequence[float]) -> Path:
    """Write a video whose image i has the i-th time."""
    with LiveVideoSink(path) as sink:
        for i, time in enumerate(times):
            sink.write(grey(i), time=time)
    return path


class TestRecorder:
    def test_everything_asked_for_is_written_with_the_stream_s_times(self, tmp_path: Path) -> None:
        places = {"video": tmp_path / "a.mkv", "csv": tmp_path / "a.csv", "jsonl": tmp_path / "a.jsonl"}
        faces = [1, 2, 0, 1]
        with Recorder(ORIGIN, **places) as recorder:
            assert recorder.writes
            assert recorder.labels == FER2013
            for index, n in enumerate(faces):
                recorder.write(*shot(index, time=5 + index / 4, n_faces=n))
        with places["csv"].open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["index"], row["face"]) for row in rows] == [
            ("0", "1"),
            ("1", "1"),
            ("1", "2"),
            ("2", ""),
            ("3", "1"),
        ]
        assert (rows[0]["track"], rows[0]["p_happy"], rows[0]["raw_happy"]) == ("7", "0.6", "1.0")
        lines = [json.loads(line) for line in places["jsonl"].read_text().splitlines()]
        assert [(line["time"], len(line["faces"])) for line in lines] == [(5, 1), (5.25, 2), (5.5, 0), (5.75, 1)]
        assert [frame.time for frame in frames(places["video"])] == pytest.approx([0, 0.25, 0.5, 0.75])
        counted = recorder.statistics.as_dict()
        assert (counted["frames"], counted["faces"], counted["seconds"]) == (4, 4, 0.75)

    def test_without_files_the_recorder_only_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with Recorder(ORIGIN) as recorder:
            recorder.write(*shot(0))
        assert not recorder.writes
        assert recorder.statistics.shares()["happy"] == 1
        assert list(tmp_path.iterdir()) == []

    def test_another_model_of_the_same_labels_continues_the_files_and_starts_new_statistics(
        self, tmp_path: Path
    ) -> None:
        other = Provenance("other", FER2013, "yunet")
        with Recorder(ORIGIN, csv=tmp_path / "a.csv", jsonl=tmp_path / "a.jsonl") as recorder:
            recorder.write(*shot(0))
            recorder.switch(other)
            recorder.write(*shot(1))
            with pytest.raises(ConfigError, match="stop the recording first"):
                recorder.switch(Provenance("third", FERPLUS, "haar"))
        with (tmp_path / "a.csv").open(newline="") as file:
            assert [(row["model"], row["detector"]) for row in csv.DictReader(file)] == [
                ("tiny", "haar"),
                ("other", "yunet"),
            ]
        lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
        assert [line["model"] for line in lines] == ["tiny", "other"]
        counted = recorder.statistics.as_dict()
        assert (counted["frames"], counted["model"], counted["detector"]) == (1, "other", "yunet")

    def test_without_files_other_labels_are_accepted(self) -> None:
        with Recorder(ORIGIN) as recorder:
            recorder.write(*shot(0))
            recorder.switch(Provenance("third", FERPLUS, "haar"))
        assert recorder.labels == FERPLUS

    def test_a_table_on_standard_output_grows_with_the_stream(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with Recorder(ORIGIN, csv=Path("-")) as recorder:
            assert recorder.uses_stdout
            for index in range(2):
                recorder.write(*shot(index))
                assert capsys.readouterr().out.count("\n") == (2, 1)[index]
        assert list(tmp_path.iterdir()) == []

    def test_a_video_shows_the_drawn_frame_given_or_draws_it(self, tmp_path: Path) -> None:
        drawn = np.full((48, 64, 3), 200, np.uint8)
        with Recorder(ORIGIN, video=tmp_path / "a.mkv") as recorder:
            recorder.write(*shot(0), drawn)
            recorder.write(*shot(1))
        given, made = (frame.image.astype(int) for frame in frames(tmp_path / "a.mkv"))
        assert np.abs(given - 200).max() < 5
        assert np.abs(made - draw(grey(1), [SEEN])).mean() < np.abs(made - grey(1)).mean() / 2

    @pytest.mark.parametrize("suffix", [".mp4", ".avi", ".MKV"])
    def test_the_requested_video_is_the_only_file_left(self, tmp_path: Path, suffix: str) -> None:
        path = (tmp_path / "a").with_suffix(suffix)
        with Recorder(ORIGIN, video=path) as recorder:
            for index in range(11):
                recorder.write(*shot(index, n_faces=0))
        assert list(tmp_path.iterdir()) == [path]
        assert seconds(path) == pytest.approx(1, abs=0.1)
        assert levels(path)[0] == 0
        assert levels(path)[-1] == 10

    def test_an_mp4_plays_as_mkv_while_it_grows(self, tmp_path: Path) -> None:
        with Recorder(ORIGIN, video=tmp_path / "a.mp4") as recorder:
            for index in range(3):
                recorder.write(*shot(index, n_faces=0))
                assert levels(tmp_path / "a.mkv") == list(range(index + 1))
            assert not (tmp_path / "a.mp4").exists()

    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
    def test_frames_before_an_error_or_ctrl_c_are_kept(self, tmp_path: Path, error: type[BaseException]) -> None:
        def see() -> None:
            with Recorder(ORIGIN, video=tmp_path / "a.mp4", csv=tmp_path / "a.csv") as recorder:
                recorder.write(*shot(0, n_faces=0))
                recorder.write(*shot(1, n_faces=0))
                raise error

        with pytest.raises(error):
            see()
        assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a.csv"}
        assert levels(tmp_path / "a.mp4") == [0, 0, 0, 1]
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 3


class TestNothingIsLost:
    def test_a_stream_without_frames_leaves_no_file(self, tmp_path: Path) -> None:
        with Recorder(ORIGIN, video=tmp_path / "a.mp4", csv=tmp_path / "a.csv", jsonl=tmp_path / "a.jsonl"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_stream_without_frames_leaves_old_files_unchanged(self, tmp_path: Path) -> None:
        names = ["a.mkv", "a.csv", "a.jsonl"]
        for name in names:
            (tmp_path / name).write_text("old")
        with Recorder(ORIGIN, **dict(zip(("video", "csv", "jsonl"), (tmp_path / n for n in names), strict=True))):
            pass
        assert [(tmp_path / name).read_text() for name in names] == ["old"] * 3

    @pytest.mark.parametrize("what", ["video", "csv", "jsonl"])
    @pytest.mark.parametrize("name", ["no/such/folder/a", "folder", "file/a"])
    def test_an_unwritable_path_is_an_error_before_any_file_is_touched(
        self, tmp_path: Path, what: str, name: str
    ) -> None:
        name += ".mp4" if what == "video" else ".txt"
        (tmp_path / "folder.mp4").mkdir()
        (tmp_path / "folder.txt").mkdir()
        (tmp_path / "file").touch()
        places = {"video": tmp_path / "old.mkv", "csv": tmp_path / "old.csv", "jsonl": tmp_path / "old.jsonl"}
        for path in places.values():
            path.write_text("old")
        with (
            pytest.raises(OutputError, match=f"cannot write '.*{name}'"),
            Recorder(ORIGIN, **places | {what: tmp_path / name}),
        ):
            pass
        assert [path.read_text() for path in places.values()] == ["old"] * 3

    def test_a_name_that_is_too_long_is_an_output_error(self, tmp_path: Path) -> None:
        with Recorder(ORIGIN, csv=tmp_path / f"{300 * 'a'}.csv") as recorder, pytest.raises(OutputError, match="long"):
            recorder.write(*shot(0))

    @pytest.mark.parametrize(("video", "table"), [("a.mkv", "a.mkv"), ("a.mp4", "a.mp4"), ("a.mp4", "a.mkv")])
    def test_no_two_files_are_the_same(self, tmp_path: Path, video: str, table: str) -> None:
        with pytest.raises(ConfigError, match="choose different ones"):
            Recorder(ORIGIN, video=tmp_path / video, csv=tmp_path / "." / table)

    def test_an_unknown_kind_of_video_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"choose from .*\.mkv"):
            Recorder(ORIGIN, video=tmp_path / "a.txt")

    def test_an_existing_mkv_beside_the_video_is_not_touched(self, tmp_path: Path) -> None:
        other = write_live(tmp_path / "a.mkv", [0, 1])
        (tmp_path / "a-2.mkv").write_text("another")
        with Recorder(ORIGIN, video=tmp_path / "a.mp4") as recorder:
            recorder.write(*shot(5, n_faces=0))
            assert levels(tmp_path / "a-3.mkv") == [5]
        assert levels(other) == [0, 1]
        assert {path.name for path in tmp_path.iterdir()} == {"a.mkv", "a-2.mkv", "a.mp4"}

    def test_the_recorded_file_is_never_overwritten(self, tmp_path: Path) -> None:
        clip = write_live(tmp_path / "clip.mkv", [0, 0.1, 0.2])
        with Recorder(ORIGIN, video=clip) as recorder, pytest.raises(OutputError, match="choose another name"):
            recorder.write(*shot(0, source=str(clip)))
        with Recorder(ORIGIN, video=tmp_path / "clip.mp4") as recorder:
            recorder.write(*shot(7, source=str(clip)))
        assert levels(clip) == [0, 1, 2]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
    def test_a_full_disk_is_an_error_and_written_rows_stay(self, tmp_path: Path) -> None:
        with (
            pytest.raises(OutputError, match="cannot write '/dev/full': No space left"),
            Recorder(ORIGIN, csv=tmp_path / "a.csv", jsonl=Path("/dev/full")) as recorder,
        ):
            recorder.write(*shot(0))
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 2


class TestConversion:
    @pytest.mark.parametrize(
        ("times", "fps", "expected"),
        [
            ([0, 0.04, 0.08], 25, [0, 1, 2]),  # the rate of the sink
            ([0, 0.02, 0.04, 0.06, 0.08], 25, [0, 2, 4]),  # twice that: each second picture
            ([0, 0.1, 0.2], 25, [0, 0, 0, 1, 1, 2]),  # slower
            ([0, 0.1, 0.25, 1.0], 10, [0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3]),  # with a pause
            ([7, 7.5], 4, [0, 0, 1]),  # from any time on
            ([0], 25, [0]),
        ],
    )
    def test_each_tick_shows_the_newest_picture(
        self, tmp_path: Path, times: list[float], fps: float, expected: list[int]
    ) -> None:
        source = write_live(tmp_path / "a.mkv", times)
        with VideoSink(tmp_path / "b.mp4", fps=fps) as sink:
            assert convert(source, sink) == len(expected)
        assert levels(tmp_path / "b.mp4") == expected
        assert [frame.time for frame in frames(tmp_path / "b.mp4")] == pytest.approx(
            [tick / fps for tick in range(len(expected))], abs=1e-3
        )

    def test_a_rate_that_varies_keeps_each_picture_at_its_time(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        times = np.cumsum([0, *rng.uniform(0.05, 0.9, 11)]).tolist()
        source = write_live(tmp_path / "a.mkv", times)
        with VideoSink(tmp_path / "b.mp4", fps=25) as sink:
            convert(source, sink)
        shown = levels(tmp_path / "b.mp4")
        starts = [shown.index(i) / 25 for i in range(12)]
        assert all(0 <= start - time < 1 / 25 + 1e-3 for start, time in zip(starts, times, strict=True))
        assert seconds(tmp_path / "b.mp4") == pytest.approx(times[-1], abs=2 / 25)

    def see(self, path: Path) -> None:
        with Recorder(ORIGIN, video=path) as recorder:
            for index in range(10):
                recorder.write(*shot(index, n_faces=0))

    def test_a_path_taken_meanwhile_leaves_the_mkv(self, tmp_path: Path) -> None:
        recorder = Recorder(ORIGIN, video=tmp_path / "a.mp4")

        def see() -> None:
            with recorder:
                for index in range(10):
                    recorder.write(*shot(index, n_faces=0))
                (tmp_path / "a.mp4").mkdir()

        with pytest.raises(OutputError, match=r"cannot write '.*a\.mp4': .*; the recording is in '.*a\.mkv'"):
            see()
        assert levels(tmp_path / "a.mkv") == list(range(10))
        assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "a.mkv"}

    @pytest.mark.parametrize("suffix", [".mp4", ".avi"])
    @pytest.mark.parametrize("room", [0, 900])
    def test_a_full_disk_leaves_the_mkv_alone_and_no_half_a_video(
        self, tmp_path: Path, suffix: str, room: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = (tmp_path / "a").with_suffix(suffix)
        recorder = Recorder(ORIGIN, video=path).__enter__()
        for index in range(10):
            recorder.write(*shot(index, n_faces=0))
        with no_room_for(room), pytest.raises(OutputError, match=r"the recording is in '.*a\.mkv'"):
            recorder.__exit__(None, None, None)
        assert levels(tmp_path / "a.mkv") == list(range(10))
        assert list(tmp_path.iterdir()) == [tmp_path / "a.mkv"]
        if suffix == ".mp4":  # OpenCV's reader of AVI prints in any case
            assert capfd.readouterr().err == ""

    def test_ctrl_c_leaves_the_mkv(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(source: Path, sink: VideoSink) -> int:
            sink.write(grey(0))
            raise KeyboardInterrupt

        monkeypatch.setattr(recorder, "convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            self.see(tmp_path / "a.mp4")
        assert levels(tmp_path / "a.mkv") == list(range(10))
