"""Files of sinks can be read back, during writing and after."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien.errors import ConfigError, OutputError
from mien.fusion import fuse_faces
from mien.labels import FER2013, LabelSet
from mien.pixels import write_picture
from mien.sinks.annotated import AnnotatedSink, save_faces
from mien.sinks.live_video import LiveVideoSink
from mien.sinks.records import record
from mien.sinks.tables import CsvSink, JsonlSink
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames, inspect
from mien.sources.pictures import read_picture
from mien.structures import Box, Expression, Face, Frame, ImageArray, Prediction, Provenance, Utterance

PROBABILITIES = np.array([0.05, 0.05, 0.1, 0.6, 0.1, 0.05, 0.05], np.float32)
HAPPY = Expression(Face(Box(1.26, 2, 31, 42), score=0.9, track_id=7), Prediction(PROBABILITIES, FER2013))
SAD = Expression(Face(Box(30, 5, 50, 25), score=0.5), Prediction(np.roll(PROBABILITIES, 1), FER2013))


ORIGIN = Provenance("tiny", FER2013, "haar")
FOUR = LabelSet("emodb", ("angry", "happy", "neutral", "sad"))
VOICE = Provenance("voice", FOUR, "silero")
SAID = Utterance(0.5, 2.25, Prediction(np.array([0.1, 0.7, 0.1, 0.1], np.float32), FOUR), 1.6)


def frame(index: int = 0, *, source: str = "a.mp4") -> Frame:
    return Frame(np.full((48, 64, 3), (200, 50, 10 * index), np.uint8), index / 25, index, source)


def near(image: ImageArray, colour: tuple[int, int, int], *, within: int = 12) -> bool:
    return bool(np.abs(image.astype(int) - colour).max() <= within)


def write_then_raise(write: Callable[[ImageArray], None], error: type[BaseException]) -> None:
    write(frame().image)
    raise error


class TestTables:
    def test_a_voice_adds_columns_at_the_end_of_the_csv(self, tmp_path: Path) -> None:
        with CsvSink(tmp_path / "faces.csv", ORIGIN) as sink:
            sink.write(frame(0), [HAPPY])
        with CsvSink(tmp_path / "both.csv", ORIGIN, voice=VOICE) as sink:
            sink.write(frame(0), [HAPPY], voice_result=fuse_faces([HAPPY], SAID))
            sink.write(frame(1), [HAPPY, SAD], voice_result=fuse_faces([HAPPY, SAD], SAID))
            sink.write(frame(2), [], voice_result=fuse_faces([], SAID))
            sink.write(frame(3), [HAPPY], voice_result=fuse_faces([HAPPY], None))
            sink.write(frame(4), [HAPPY])  # a picture among the videos
        faces, both = ((tmp_path / name).read_text().splitlines() for name in ("faces.csv", "both.csv"))
        assert both[0].startswith(faces[0] + ",voice_start,voice_end,")
        assert both[1].startswith(faces[1] + ",0.5,2.25,1.6,true,happy,0.7,true,0.1,0.7,0.1,0.1,happy,")
        rows = list(csv.DictReader(both))
        assert [row["voice_label"] for row in rows] == ["happy", "happy", "happy", "happy", "", ""]
        assert [row["fused_label"] for row in rows] == ["happy", "", "", "happy", "happy", ""]
        assert [row["fused_agree"] for row in rows] == ["true", "", "", "", "", ""]
        assert 0.7 < float(rows[0]["fused_p_happy"]) < 0.8  # which four labels share
        assert rows[3]["fused_p_fear"] == ""  # the voice alone knows no fear
        assert {(row["voice_model"], row["voice_label_set"], row["voice_detector"]) for row in rows} == {
            ("voice", "emodb", "silero")
        }

    def test_json_lines_hold_the_voice_and_the_fused_expression(self, tmp_path: Path) -> None:
        voice_result = fuse_faces([HAPPY], SAID)
        with JsonlSink(tmp_path / "both.jsonl", ORIGIN, voice=VOICE) as sink:
            sink.write(frame(0), [HAPPY], voice_result=voice_result)
        line = json.loads((tmp_path / "both.jsonl").read_text())
        assert line == record(frame(0), [HAPPY], ORIGIN, voice_result=voice_result, voice=VOICE)

    def test_csv_has_one_row_per_face_and_one_for_a_frame_without_faces(self, tmp_path: Path) -> None:
        with CsvSink(tmp_path / "a.csv", ORIGIN) as sink:
            sink.write(frame(0), [HAPPY, SAD])
            sink.write(frame(1), [])
        with (tmp_path / "a.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [
            "source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence",
            "certain", "note", "p_angry", "p_disgust", "p_fear", "p_happy", "p_sad", "p_surprise", "p_neutral",
            "model", "label_set", "detector", "mien",
        ]  # fmt: skip
        assert [(row["index"], row["face"], row["label"], row["note"]) for row in rows] == [
            ("0", "1", "happy", ""),
            ("0", "2", "sad", ""),
            ("1", "", "", "no face found"),
        ]
        assert (rows[0]["x1"], rows[0]["y2"], rows[0]["track"], rows[0]["confidence"]) == ("1.3", "42", "7", "0.6")
        for row in rows:
            origin = (row["model"], row["label_set"], row["detector"], row["mien"])
            assert origin == ("tiny", "fer2013", "haar", mien.__version__)
        assert (rows[1]["track"], rows[2]["time"], rows[2]["p_happy"]) == ("", "0.04", "")

    def test_jsonl_has_one_line_per_frame(self, tmp_path: Path) -> None:
        with JsonlSink(tmp_path / "a.jsonl", ORIGIN) as sink:
            sink.write(frame(0), [HAPPY])
            sink.write(frame(1), [])
        lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
        assert lines[0] == record(frame(0), [HAPPY], ORIGIN)
        assert lines[0]["faces"][0]["probabilities"]["happy"] == pytest.approx(0.6)
        assert lines[0]["faces"][0]["box"] == [1.3, 2, 31, 42]
        assert lines[1] == {
            "source": "a.mp4", "index": 1, "time": 0.04, "note": "no face found", "width": 64, "height": 48,
            "model": "tiny", "label_set": "fer2013", "detector": "haar", "mien": mien.__version__, "schema": 1,
            "faces": [],
        }  # fmt: skip

    def test_smoothed_and_raw_probabilities_are_both_written(self, tmp_path: Path) -> None:
        smoothed = replace(SAD, raw=HAPPY.prediction)
        with CsvSink(tmp_path / "a.csv", ORIGIN, smoothed=True) as sink:
            sink.write(frame(), [smoothed])
        with (tmp_path / "a.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["label"], row["p_happy"], row["raw_happy"]) == ("sad", "0.1", "0.6")
        faces = record(frame(), [smoothed], ORIGIN)["faces"]
        assert isinstance(faces, list)
        assert (faces[0]["probabilities"]["happy"], faces[0]["raw"]["happy"]) == (0.1, 0.6)

    def test_an_uncertain_expression_keeps_its_probabilities(self, tmp_path: Path) -> None:
        unsure = replace(HAPPY, min_confidence=0.7)
        with CsvSink(tmp_path / "a.csv", ORIGIN) as table:
            table.write(frame(), [HAPPY, unsure])
        with (tmp_path / "a.csv").open(newline="") as file:
            rows = [(row["label"], row["certain"], row["confidence"], row["p_happy"]) for row in csv.DictReader(file)]
        assert rows == [("happy", "true", "0.6", "0.6"), ("uncertain", "false", "0.6", "0.6")]
        face = json.loads(json.dumps(record(frame(), [unsure], ORIGIN)))["faces"][0]
        assert (face["label"], face["certain"], face["probabilities"]["happy"]) == ("uncertain", False, 0.6)

    @pytest.mark.parametrize("sink_type", [CsvSink, JsonlSink])
    def test_rows_are_on_disk_before_the_run_ends(
        self, tmp_path: Path, sink_type: type[CsvSink] | type[JsonlSink]
    ) -> None:
        with sink_type(tmp_path / "a", ORIGIN) as sink:
            sink.write(frame(), [HAPPY])
            assert "happy" in (tmp_path / "a").read_text().splitlines()[-1]

    @pytest.mark.parametrize("sink_type", [CsvSink, JsonlSink])
    def test_names_that_are_not_utf8_are_written(
        self, tmp_path: Path, sink_type: type[CsvSink] | type[JsonlSink]
    ) -> None:
        with sink_type(tmp_path / "a", ORIGIN) as sink:
            sink.write(frame(source=os.fsdecode(b"caf\xe9.png")), [HAPPY])
            sink.write(frame(source="茶,\n.png"), [HAPPY])
        text = (tmp_path / "a").read_text(encoding="utf-8")
        assert "caf" in text
        assert "茶" in text

    @pytest.mark.parametrize("sink_type", [CsvSink, JsonlSink])
    def test_a_place_that_cannot_be_written_is_an_output_error(
        self, tmp_path: Path, sink_type: type[CsvSink] | type[JsonlSink]
    ) -> None:
        with pytest.raises(OutputError, match="choose another place"), sink_type(tmp_path / "no" / "a", ORIGIN):
            pass

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize("sink_type", [CsvSink, JsonlSink])
    def test_a_full_disk_is_an_output_error(self, sink_type: type[CsvSink] | type[JsonlSink]) -> None:
        with pytest.raises(OutputError, match="space"), sink_type("/dev/full", ORIGIN) as sink:
            sink.write(frame(), [HAPPY])


class TestPictures:
    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm", ".JPG"])
    def test_a_picture_is_read_back_in_its_colours(self, tmp_path: Path, suffix: str) -> None:
        write_picture(tmp_path / f"a{suffix}", frame(3).image)
        assert near(read_picture(tmp_path / f"a{suffix}"), (200, 50, 30), within=6)

    def test_a_grey_picture_is_written(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", np.full((5, 4), 99, np.uint8))
        assert read_picture(tmp_path / "a.png").tolist() == [[[99] * 3] * 4] * 5

    @pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif"])
    def test_an_unknown_suffix_is_an_output_error(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(OutputError, match=r"choose from \.png"):
            write_picture(tmp_path / name, frame().image)

    def test_a_missing_folder_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            write_picture(tmp_path / "no" / "a.png", frame().image)

    def test_an_empty_picture_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"\(0, 0, 3\)"):
            write_picture(tmp_path / "a.png", np.empty((0, 0, 3), np.uint8))
        assert list(tmp_path.iterdir()) == []


class TestVideos:
    @pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
    def test_a_video_is_read_back_in_its_colours(self, tmp_path: Path, suffix: str) -> None:
        with VideoSink(tmp_path / f"a{suffix}", fps=10) as sink:
            for i in range(6):
                sink.write(frame(i).image)
            assert not (tmp_path / f"a{suffix}").exists()
        found = list(frames(tmp_path / f"a{suffix}"))
        assert [f.time for f in found] == pytest.approx([i / 10 for i in range(6)], abs=1e-3)
        assert near(found[3].image, (200, 50, 30))

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (33, 47), (64, 48), (3, 64)])
    def test_odd_sides_gain_a_pixel(self, tmp_path: Path, width: int, height: int) -> None:
        with VideoSink(tmp_path / "a.mp4", fps=10) as sink:
            for _ in range(2):
                sink.write(np.full((height, width, 3), (200, 50, 30), np.uint8))
        [first, _] = frames(tmp_path / "a.mp4")
        assert first.image.shape == (height + height % 2, width + width % 2, 3)
        assert near(first.image, (200, 50, 30))

    def test_pictures_of_another_size_are_resized(self, tmp_path: Path) -> None:
        with VideoSink(tmp_path / "a.mp4", fps=10, size=(32, 24)) as sink:
            sink.write(frame().image)
            sink.write(np.full((24, 32, 3), 99, np.uint8))
        assert [f.image.shape for f in frames(tmp_path / "a.mp4")] == [(24, 32, 3)] * 2

    def test_an_error_leaves_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), VideoSink(tmp_path / "a.mp4", fps=10) as sink:
            write_then_raise(sink.write, ZeroDivisionError)
        assert list(tmp_path.iterdir()) == []

    def test_images_written_before_ctrl_c_are_kept(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), VideoSink(tmp_path / "a.mp4", fps=10) as sink:
            write_then_raise(sink.write, KeyboardInterrupt)
        assert inspect(tmp_path / "a.mp4").frames == 1

    def test_no_frame_makes_no_file(self, tmp_path: Path) -> None:
        with VideoSink(tmp_path / "a.mp4", fps=10):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_bad_settings_are_errors(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"choose from \.mp4"):
            VideoSink(tmp_path / "a.doc", fps=10)
        with pytest.raises(ConfigError, match="fps"):
            VideoSink(tmp_path / "a.mp4", fps=0)
        with pytest.raises(ConfigError, match="size"):
            VideoSink(tmp_path / "a.mp4", fps=10, size=(0, 5))

    def test_a_missing_folder_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError), VideoSink(tmp_path / "no" / "a.mp4", fps=10) as sink:
            sink.write(frame().image)


# Writes a frame each tenth of a second of the stream and says when each is written, until it is killed.
ENDLESS = """
import sys
import numpy as np
from mien.sinks import LiveVideoSink
with LiveVideoSink(sys.argv[1]) as sink:
    for i in range(10_000):
        sink.write(np.full((48, 64, 3), i % 256, np.uint8), time=i / 10)
        print(i, flush=True)
"""


class TestLiveVideos:
    def test_every_frame_written_before_a_kill_is_read_back(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(tmp_path / "a.mkv")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            written = [int(process.stdout.readline()) for _ in range(30)]
            process.kill()
        assert process.returncode != 0
        found = list(frames(tmp_path / "a.mkv"))
        assert len(found) >= len(written)
        assert [f.time for f in found] == pytest.approx([i / 10 for i in range(len(found))], abs=1e-3)
        assert all(near(f.image, (i % 256,) * 3) for i, f in enumerate(found))

    def test_it_can_be_played_while_it_grows(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            for i in range(5):
                sink.write(frame(i).image, time=i / 25)
                assert sum(1 for _ in frames(tmp_path / "a.mkv")) == i + 1

    def test_a_truncated_file_loses_only_its_last_frame(self, tmp_path: Path) -> None:
        sizes = []
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            for i in range(4):
                sink.write(frame(i).image, time=i / 25)
                sizes.append((tmp_path / "a.mkv").stat().st_size)
        whole = (tmp_path / "a.mkv").read_bytes()
        for size in range(sizes[2] + 1, sizes[3], 37):
            (tmp_path / "cut.mkv").write_bytes(whole[:size])
            assert [f.time for f in frames(tmp_path / "cut.mkv")] == pytest.approx([0, 0.04, 0.08])

    @pytest.mark.parametrize(
        ("times", "expected"),
        [
            ([10, 10.1, 10.15, 11.9, 15], [0, 0.1, 0.15, 1.9, 5]),  # any rate, from any start
            ([5, 5.5, 0, 0.1], [0, 0.5, 0.501, 0.601]),  # a stream that starts anew
            ([1, 1, 1], [0, 0.001, 0.002]),
        ],
    )
    def test_frames_have_the_times_of_the_stream(
        self, tmp_path: Path, times: list[float], expected: list[float]
    ) -> None:
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            for time in times:
                sink.write(frame().image, time=time)
        assert [f.time for f in frames(tmp_path / "a.mkv")] == pytest.approx(expected, abs=1e-6)

    def test_a_steady_rate_and_the_number_of_frames_are_readable(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            for i in range(20):
                sink.write(frame().image, time=i / 25)
        media = inspect(tmp_path / "a.mkv")
        assert (media.rate, media.frames) == (pytest.approx(25), 20)

    def test_it_keeps_colours_and_odd_sides(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            sink.write(np.full((33, 47, 3), (200, 50, 30), np.uint8), time=0)
        [found] = frames(tmp_path / "a.mkv")
        assert found.image.shape == (33, 47, 3)
        assert near(found.image, (200, 50, 30))

    def test_pictures_of_another_size_are_resized(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "a.mkv") as sink:
            sink.write(frame().image, time=0)
            sink.write(np.full((24, 32, 3), 99, np.uint8), time=1)
        found = list(frames(tmp_path / "a.mkv"))
        assert [f.image.shape for f in found] == [(48, 64, 3)] * 2
        assert near(found[1].image, (99, 99, 99))

    def test_an_error_leaves_the_images_written_before(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), LiveVideoSink(tmp_path / "a.mkv") as sink:
            write_then_raise(lambda image: sink.write(image, time=0), ZeroDivisionError)
        assert len(list(frames(tmp_path / "a.mkv"))) == 1

    def test_no_frame_makes_no_file(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "a.mkv"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_another_suffix_is_an_output_error(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"ends in \.mkv"):
            LiveVideoSink(tmp_path / "a.mp4")

    def test_a_missing_folder_is_an_output_error_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="choose another place"), LiveVideoSink(tmp_path / "no" / "a.mkv"):
            pass

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_disk_is_an_output_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.mkv").symlink_to("/dev/full")
        with pytest.raises(OutputError, match="space"), LiveVideoSink(tmp_path / "a.mkv") as sink:
            sink.write(frame().image, time=0)


class TestFaces:
    # A face in the frame's middle, drawn over a background of different pixels.
    SEEN = Frame(np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8), 12.34, 5, "a.mp4")
    FACE = replace(HAPPY, face=Face(Box(40, 30, 60, 70), score=0.9, track_id=7))

    def test_a_face_is_written_with_a_fifth_of_its_box_around_it(self, tmp_path: Path) -> None:
        [path] = save_faces(self.SEEN, [self.FACE], tmp_path / "new" / "faces")
        assert path == tmp_path / "new" / "faces" / "00012.340-track7-happy.png"
        assert np.array_equal(read_picture(path), self.SEEN.image[22:78, 36:64])

    def test_faces_without_a_track_have_their_number_in_the_frame(self, tmp_path: Path) -> None:
        unsure = replace(SAD, min_confidence=0.9)
        paths = save_faces(self.SEEN, [SAD, self.FACE, unsure], tmp_path)
        assert [path.name for path in paths] == [
            "00012.340-face1-sad.png",
            "00012.340-track7-happy.png",
            "00012.340-face3-uncertain.png",
        ]

    def test_no_face_is_overwritten(self, tmp_path: Path) -> None:
        paths = [path for _ in range(3) for path in save_faces(self.SEEN, [self.FACE], tmp_path)]
        assert [path.name.partition("happy")[2] for path in paths] == [".png", "-2.png", "-3.png"]
        assert sorted(tmp_path.iterdir()) == sorted(paths)

    def test_a_face_at_the_edge_is_cut_off_there_and_one_outside_is_left_out(self, tmp_path: Path) -> None:
        edge = replace(SAD, face=Face(Box(-10, 90, 10, 110), score=0.5))
        outside = replace(SAD, face=Face(Box(300, 300, 320, 320), score=0.5))
        [path] = save_faces(self.SEEN, [edge, outside], tmp_path)
        assert np.array_equal(read_picture(path), self.SEEN.image[86:, :14])

    def test_a_label_that_is_no_file_name_is_made_one(self, tmp_path: Path) -> None:
        labels = LabelSet("own", ("../up/and away", "fröhlich"))
        strange = replace(self.FACE, prediction=Prediction(np.array([0.9, 0.1], np.float32), labels))
        [path] = save_faces(self.SEEN, [strange], tmp_path)
        assert path == tmp_path / "00012.340-track7-_up_and_away.png"
        assert path.exists()

    def test_no_faces_write_nothing(self, tmp_path: Path) -> None:
        assert save_faces(self.SEEN, [], tmp_path) == []
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_a_file_is_an_output_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        with pytest.raises(OutputError, match="cannot make folder"):
            save_faces(self.SEEN, [self.FACE], tmp_path / "a")


class TestAnnotated:
    def test_a_picture_becomes_a_picture(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", frame().image)
        with AnnotatedSink(tmp_path / "a.png", tmp_path / "seen" / "new") as sink:
            for seen in frames(tmp_path / "a.png"):
                sink.write(seen, [HAPPY])
        image = read_picture(tmp_path / "seen" / "new" / "a.png")
        assert image.shape == frame().image.shape
        assert not np.array_equal(image, frame().image)

    def test_a_summary_is_appended_below(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", frame().image)
        with AnnotatedSink(tmp_path / "a.png", tmp_path / "seen", summary=True) as sink:
            sink.write(frame(), [HAPPY])
        height, width, _ = frame().image.shape
        image = read_picture(tmp_path / "seen" / "a.png")
        assert image.shape[0] > height
        assert image.shape[1] == width

    def test_a_video_becomes_a_video_of_the_same_rate(self, tmp_path: Path) -> None:
        with VideoSink(tmp_path / "a.avi", fps=12.5) as video:
            for i in range(4):
                video.write(frame(i).image)
        with AnnotatedSink(tmp_path / "a.avi", tmp_path / "seen") as sink:
            for seen in frames(tmp_path / "a.avi"):
                sink.write(seen, [])
        media = inspect(tmp_path / "seen" / "a.avi")
        assert (media.frames, media.rate) == (4, pytest.approx(12.5))

    def test_a_format_that_cannot_be_written_gets_a_second_suffix(self, tmp_path: Path) -> None:
        images = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
        images[0].save(tmp_path / "one.gif")
        images[0].save(tmp_path / "two.gif", save_all=True, append_images=images[1:], duration=100)
        assert AnnotatedSink(tmp_path / "one.gif", tmp_path / "seen").path.name == "one.gif.png"
        assert AnnotatedSink(tmp_path / "two.gif", tmp_path / "seen").path.name == "two.gif.mp4"

    def test_the_file_itself_is_never_overwritten(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", frame().image)
        with pytest.raises(OutputError, match="another folder"):
            AnnotatedSink(tmp_path / "a.png", tmp_path)

    def test_a_folder_that_is_a_file_is_an_output_error(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "a.png", frame().image)
        with pytest.raises(OutputError, match="cannot make folder"):
            AnnotatedSink(tmp_path / "a.png", tmp_path / "a.png" / "seen")
