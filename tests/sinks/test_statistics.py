"""Statistics: known answers of short streams, long streams in little memory, whole files."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.drawing.colours import COLOURS
from mien.errors import OutputError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.sinks.statistics import MAX_BINS, MAX_GAP, MAX_TRACKS, Statistics
from mien.sources.pictures import read_picture
from mien.structures import Box, Expression, Face, Frame, Prediction, Provenance

PIXEL = np.zeros((1, 1, 3), np.uint8)
FACES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3)  # how happy, and how sure it must be
TWO = LabelSet("two", ("happy", "sad"))


def frame(time: float) -> Frame:
    return Frame(PIXEL, time, 0, "camera 0")


def seen(happy: float, track: int | None = 1, *, min_confidence: float = 0.0) -> Expression:
    probabilities = np.array([happy, 1 - happy], np.float32)
    return Expression(Face(Box(0, 0, 1, 1), 0.9, track_id=track), Prediction(probabilities, TWO), min_confidence)


def counted(*frames: tuple[float, list[Expression]]) -> Statistics:
    statistics = Statistics(Provenance("tiny", TWO, "haar"))
    for time, expressions in frames:
        statistics.write(frame(time), expressions)
    return statistics


class TestCounts:
    def test_of_a_short_stream(self) -> None:
        plain = counted(
            (10.0, [seen(0.75, 1)]),
            (10.5, [seen(0.75, 1), seen(0.25, 2)]),
            (10.75, []),
            (11.0, [seen(0.25, 1), seen(0.5, 2, min_confidence=0.6)]),
        ).as_dict()
        assert (plain["frames"], plain["seconds"], plain["faces"], plain["tracks"]) == (4, 1.0, 5, 2)
        assert plain["expressions"] == {
            "happy": {"faces": 2, "seconds": 0.5, "share": 0.333333},
            "sad": {"faces": 2, "seconds": 0.75, "share": 0.5},
            "uncertain": {"faces": 1, "seconds": 0.25, "share": 0.166667},
        }
        assert plain["by_track"] == [
            {
                "track": 1,
                "faces": 3,
                "seconds": 0.75,
                "expressions": {
                    "happy": {"faces": 2, "seconds": 0.5, "share": 0.666667},
                    "sad": {"faces": 1, "seconds": 0.25, "share": 0.333333},
                    "uncertain": {"faces": 0, "seconds": 0.0, "share": 0.0},
                },
            },
            {
                "track": 2,
                "faces": 2,
                "seconds": 0.75,
                "expressions": {
                    "happy": {"faces": 0, "seconds": 0.0, "share": 0.0},
                    "sad": {"faces": 1, "seconds": 0.5, "share": 0.666667},
                    "uncertain": {"faces": 1, "seconds": 0.25, "share": 0.333333},
                },
            },
        ]

    def test_a_pause_counts_for_the_longest_gap_only(self) -> None:
        statistics = counted((0, [seen(0.9)]), (0.5, [seen(0.9)]), (100, [seen(0.1)]), (100.5, [seen(0.1)]))
        whole = 0.5 + MAX_GAP + 0.5
        assert statistics.shares() == pytest.approx({"happy": 0.5 / whole, "sad": (MAX_GAP + 0.5) / whole})

    def test_a_restarted_stream_continues_the_counts(self) -> None:
        statistics = counted((50, [seen(0.9)]), (52, [seen(0.9)]), (0, [seen(0.1)]), (1, [seen(0.1)]))
        assert statistics.as_dict()["seconds"] == 3
        assert statistics.timeline().faces.tolist() == [1, 0, 2, 1]

    def test_a_face_without_a_track_counts_in_the_whole(self) -> None:
        plain = counted((0, [seen(0.9, None)])).as_dict()
        assert (plain["faces"], plain["tracks"], plain["by_track"]) == (1, 0, [])

    def test_one_frame_has_shares_too(self) -> None:
        assert counted((3, [seen(0.9), seen(0.8), seen(0.1), seen(0.2)])).shares() == {"happy": 0.5, "sad": 0.5}

    def test_without_frames_all_counts_are_zero(self) -> None:
        for statistics in (counted(), counted((0, []), (5, []))):
            assert statistics.shares() == {"happy": 0, "sad": 0}
            assert statistics.as_dict()["faces"] == 0

    def test_uncertain_has_a_share_once_it_occurs(self) -> None:
        unsure = seen(0.5, min_confidence=0.9)
        assert counted((0, []), (1, [seen(0.9), unsure])).shares() == {"happy": 0.5, "sad": 0, "uncertain": 0.5}

    @given(st.lists(st.tuples(st.floats(-1e4, 1e4), FACES), max_size=20))
    @settings(deadline=None, max_examples=60)
    def test_shares_sum_to_one_and_all_frames_and_faces_are_counted(
        self, stream: list[tuple[float, list[tuple[float, float]]]]
    ) -> None:
        statistics = counted(
            *((time, [seen(happy, min_confidence=least) for happy, least in faces]) for time, faces in stream)
        )
        n_faces = sum(len(faces) for _, faces in stream)
        assert sum(statistics.shares().values()) == pytest.approx(1 if n_faces else 0)
        assert (statistics.as_dict()["frames"], statistics.as_dict()["faces"]) == (len(stream), n_faces)
        assert statistics.timeline().faces.sum() == n_faces

    def test_tracks_beyond_the_maximum_count_in_the_totals_only(self) -> None:
        plain = counted((0, [seen(0.9, track) for track in range(MAX_TRACKS + 5)])).as_dict()
        assert (plain["tracks"], plain["faces"]) == (MAX_TRACKS + 5, MAX_TRACKS + 5)
        assert isinstance(plain["by_track"], list)
        assert len(plain["by_track"]) == MAX_TRACKS

    def test_other_labels_are_refused_and_nothing_is_counted(self) -> None:
        statistics = Statistics(Provenance("tiny", FERPLUS, "haar"))
        with pytest.raises(ValueError, match="ferplus"):
            statistics.write(frame(0), [seen(0.9)])
        assert statistics.as_dict()["frames"] == 0


class TestTimeline:
    def test_has_the_mean_of_each_second_and_gaps(self) -> None:
        line = counted((7.0, [seen(0.75), seen(0.25)]), (7.5, [seen(0.25)]), (8.25, []), (9.9, [seen(1.0)])).timeline()
        assert line.bin_seconds == 1
        assert line.times.tolist() == [0.5, 1.5, 2.5]
        assert line.faces.tolist() == [3, 0, 1]
        np.testing.assert_allclose(line.probabilities, [[1.25 / 3, 1.75 / 3], [np.nan, np.nan], [1, 0]])

    def test_of_nothing_is_empty(self) -> None:
        line = counted().timeline()
        assert (len(line.times), line.faces.shape, line.probabilities.shape) == (0, (0,), (0, 2))

    def test_merged_bins_keep_the_means_of_all_faces(self) -> None:
        happy = np.random.default_rng(0).integers(0, 5, 5 * MAX_BINS) / 4  # quarters: their sums are exact
        statistics = counted(*((float(second), [seen(p)]) for second, p in enumerate(happy)))
        line = statistics.timeline()
        assert line.bin_seconds == 8
        assert line.faces.tolist() == [8] * len(happy[::8])
        assert line.probabilities[:, 0].tolist() == happy.reshape(-1, 8).mean(axis=1).tolist()
        assert line.times[:2].tolist() == [4, 12]

    def test_hours_without_a_face_stay_within_the_bins(self) -> None:
        statistics = counted((0, [seen(0.75)]), (36_000, []))
        line = statistics.timeline()
        assert len(line.times) == len(line.faces) == len(line.probabilities) <= MAX_BINS
        assert (line.faces[0], line.faces.sum()) == (1, 1)
        statistics.write(frame(36_001), [seen(0.25)])
        assert statistics.timeline().faces[-1] == 1

    def test_returned_arrays_do_not_change(self) -> None:
        statistics = counted((0, [seen(0.9)]))
        line, plain = statistics.timeline(), json.dumps(statistics.as_dict())
        statistics.write(frame(0.5), [seen(0.1)])
        assert line.faces.tolist() == [1]
        assert json.loads(plain)["faces"] == 1


class TestTracks:
    def test_each_has_its_own_timeline_on_the_bins_of_all(self) -> None:
        statistics = counted((0.0, [seen(0.75, 1)]), (0.5, [seen(0.25, 1), seen(1.0, 2)]), (2.5, [seen(0.5, 2)]))
        first, second = statistics.track_timeline(1), statistics.track_timeline(2)
        assert first.times.tolist() == second.times.tolist() == statistics.timeline().times.tolist()
        assert (first.faces.tolist(), second.faces.tolist()) == ([2, 0, 0], [1, 0, 1])
        np.testing.assert_array_equal(first.probabilities[:, 0], [0.5, np.nan, np.nan])
        np.testing.assert_array_equal(second.probabilities[:, 0], [1.0, np.nan, 0.5])

    def test_merged_bins_keep_each_track(self) -> None:
        happy = np.random.default_rng(0).integers(0, 5, 3 * MAX_BINS) / 4  # quarters: their sums are exact
        line = counted(*((float(t), [seen(p, 1), seen(1 - p, 2)]) for t, p in enumerate(happy))).track_timeline(2)
        assert line.bin_seconds == 4
        assert line.faces.tolist() == [4] * len(happy[::4])
        assert line.probabilities[:, 1].tolist() == happy.reshape(-1, 4).mean(axis=1).tolist()

    def test_of_more_than_fit_the_longest_are_shown_in_order_of_appearance(self) -> None:
        stream = [(float(t), [seen(0.9, 1 + t % 2)] if t < 9 else [seen(0.9, 3)]) for t in range(30)]
        statistics = counted((0.0, [seen(0.9, 7)]), *stream)
        assert statistics.longest_tracks(9) == [7, 1, 2, 3]
        assert statistics.longest_tracks(2) in ([1, 3], [2, 3])
        assert statistics.longest_tracks(1) == [3]


def test_reads_are_consistent_while_another_thread_writes() -> None:
    statistics = Statistics(Provenance("tiny", TWO, "haar"))

    def add() -> None:
        for i in range(2000):
            statistics.write(frame(i), [seen(0.9, 1), seen(0.1, 2)])

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        plain = json.loads(json.dumps(statistics.as_dict()))
        assert plain["faces"] == 2 * plain["frames"] == sum(plain["timeline"]["faces"])
        assert [track["faces"] for track in plain["by_track"]] == [plain["frames"]] * len(plain["by_track"])
    thread.join()
    assert statistics.as_dict()["frames"] == 2000


class TestSaving:
    def test_writes_numbers_and_pictures(self, tmp_path: Path) -> None:
        statistics = counted((0, []), (0.5, [seen(0.75)]), (2.5, [seen(0.25)]))
        paths = statistics.save(tmp_path / "new" / "folder")
        assert [path.name for path in paths] == [
            "statistics.json",
            "statistics-bars.png",
            "statistics-timeline.png",
            "statistics-tracks.png",
        ]
        assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)
        plain = json.loads(paths[0].read_text(encoding="utf-8"))
        assert plain == statistics.as_dict()
        assert (plain["schema"], plain["label_set"], plain["labels"]) == (1, "two", ["happy", "sad"])
        assert plain["timeline"] == {
            "bin_seconds": 1.0,
            "times": [0.5, 1.5, 2.5],
            "faces": [1, 0, 1],
            "probabilities": {"happy": [0.75, None, 0.25], "sad": [0.25, None, 0.75]},
        }
        for path in paths[1:]:
            image = read_picture(path)
            assert image.shape[1] >= 800
            assert all((image == COLOURS[label]).all(axis=2).sum() > 1000 for label in TWO)

    def test_empty_statistics_can_be_saved_dark_and_light(self, tmp_path: Path) -> None:
        statistics = Statistics(Provenance("tiny", FER2013, "haar"))
        light = [read_picture(path) for path in statistics.save(tmp_path)[1:]]
        dark = [read_picture(path) for path in statistics.save(tmp_path, dark=True)[1:]]
        assert all(a.mean() > 200 and b.mean() < 60 for a, b in zip(light, dark, strict=True))

    def test_a_folder_that_is_a_file_is_an_output_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        with pytest.raises(OutputError, match="cannot make folder"):
            counted((0, [seen(0.75)])).save(tmp_path / "a")
