"""Files and folders are recognised one after the other, and failures are results too."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clips import write_video
from mien import collection
from mien.collection import Failure, FileResult, Piece, Summary, longest_silence, recognize_files
from mien.errors import ConfigError, OutputError
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.sinks.tables import JsonlSink
from mien.sources.frames import inspect
from mien.sources.media import FrameSelection, TimeRange
from mien.sources.pictures import read_picture
from mien.structures import Expression, Face, Frame, ImageArray
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, tone, write_clip

ASTRONAUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"


class Memory:
    """A sink that remembers the frames."""

    def __init__(self) -> None:
        self.written: list[tuple[str, int, int]] = []

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, frame: Frame, expressions: list[Expression]) -> None:
        self.written.append((Path(frame.source).name, frame.index, len(expressions)))


@pytest.fixture
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer("whole", tiny_model)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with two pictures, a video of three frames, and a damaged picture between them."""
    folder = tmp_path / "album"
    (folder / "day1").mkdir(parents=True)
    shutil.copy(ASTRONAUT, folder / "a.png")
    (folder / "b.png").write_bytes(ASTRONAUT.read_bytes()[:3000])
    shutil.copy(ASTRONAUT, folder / "day1" / "a.png")
    write_video(folder / "z.mp4", n=3)
    return folder


def test_all_frames_come_in_order_and_failures_in_their_place(album: Path, recognizer: Recognizer) -> None:
    memory, steps = Memory(), []
    results = list(
        recognize_files(
            [album / "no.png", album], recognizer, sinks=[memory], progress=lambda *step: steps.append(step)
        )
    )
    assert [(result.path.name, type(result)) for result in results] == [
        ("no.png", Failure), ("a.png", FileResult), ("b.png", Failure), ("a.png", FileResult),
        ("z.mp4", FileResult), ("z.mp4", FileResult), ("z.mp4", FileResult),
    ]  # fmt: skip
    assert "truncated" in str(results[2].error) or "damaged" in str(results[2].error)
    assert memory.written == [("a.png", 0, 1), ("a.png", 0, 1), ("z.mp4", 0, 1), ("z.mp4", 1, 1), ("z.mp4", 2, 1)]
    assert steps == [(done, 4) for done in (1, 2, 3, 4)]
    seen = [result for result in results if isinstance(result, FileResult)]
    assert [result.media.kind for result in seen] == ["picture"] * 2 + ["video"] * 3


@pytest.mark.parametrize(("batch", "workers"), [(2, 1), (3, 1), (32, 1), (3, 2)])
def test_batches_give_the_same_results_in_the_same_order(
    batch: int, workers: int, album: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    (album / "c.mp4").write_bytes((album / "z.mp4").read_bytes()[:-300])
    paths = [album / "no.png", album]
    one, many, steps = Memory(), Memory(), []
    expected = list(recognize_files(paths, recognizer, sinks=[one]))
    found = list(
        recognize_files(
            paths, recognizer, sinks=[many], batch=batch, workers=workers, out=tmp_path / "out",
            progress=lambda *step: steps.append(step),
        )
    )  # fmt: skip
    assert [(type(result), result.path) for result in found] == [(type(result), result.path) for result in expected]
    assert many.written == one.written
    assert steps == [(done, 5) for done in range(1, 6)]
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(ours, FileResult) and isinstance(theirs, FileResult):
            assert (ours.frame.index, ours.frame.time, ours.media) == (
                theirs.frame.index, theirs.frame.time, theirs.media,
            )  # fmt: skip
            for a, b in zip(ours.expressions, theirs.expressions, strict=True):
                np.testing.assert_allclose(a.prediction.probabilities, b.prediction.probabilities, atol=1e-6)
        else:
            assert str(ours.error) == str(theirs.error)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "a.png"]


class NoFaces:
    """Finds nothing, and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def detect(self, image: ImageArray) -> list[Face]:
        self.runs += 1
        return []


def test_pictures_are_searched_at_eight_angles_and_videos_at_one(album: Path, tiny_model: Path) -> None:
    runs = {}
    for path in (album / "a.png", album / "z.mp4"):
        detector = NoFaces()
        list(recognize_files([path], Recognizer(detector, tiny_model)))
        runs[path.name] = detector.runs
    assert runs == {"a.png": 8, "z.mp4": 3}


def test_one_video_reports_its_frames_as_progress(album: Path, recognizer: Recognizer) -> None:
    steps: list[tuple[int, int | None]] = []
    list(recognize_files([album / "z.mp4"], recognizer, progress=lambda *step: steps.append(step)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_a_file_named_twice_is_read_once_and_a_glob_selects(album: Path, recognizer: Recognizer) -> None:
    assert len(list(recognize_files([album / "a.png", album / "a.png"], recognizer))) == 1
    assert (
        len(list(recognize_files(str(album / "a.png"), recognizer)))
        == len(list(recognize_files(album / "a.png", recognizer)))
        == 1
    )
    assert [r.path.name for r in recognize_files([album], recognizer, glob="*.mp4")] == ["z.mp4"] * 3


def test_annotated_copies_keep_their_places_and_do_not_overwrite_each_other(
    album: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    list(recognize_files([album, album / "day1"], recognizer, out=out))
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == ["a.png", "day1/a.png", "z.mp4"]
    assert read_picture(out / "a.png").shape == read_picture(ASTRONAUT).shape
    assert inspect(out / "z.mp4").frames == 3
    other = tmp_path / "other"
    list(recognize_files([album / "a.png", album / "day1" / "a.png"], recognizer, out=other))
    assert sorted(path.relative_to(other).as_posix() for path in other.rglob("*.*")) == ["a.png", "day1/a.png"]


def test_copies_whose_names_differ_in_case_or_by_an_appended_suffix_are_two_files(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    for name in ("one/A.png", "two/a.png", "three/a.dib.png"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ASTRONAUT, tmp_path / name)
    write_picture(tmp_path / "a.bmp", np.zeros((60, 60, 3), np.uint8))
    (tmp_path / "a.bmp").rename(tmp_path / "three" / "a.dib")  # its copy is a.dib.png
    out = tmp_path / "out"
    list(recognize_files([tmp_path / name for name in ("one", "two", "three")], recognizer, out=out))
    copies = [path.relative_to(out).as_posix() for path in out.rglob("*.png")]
    assert sorted(copies) == ["A.png", "a.dib.png", "three/a.dib.png", "two/a.png"]


@pytest.mark.parametrize("names", [["a.png"], ["day1/a.png", "a.png"]], ids=["itself", "another"])
def test_a_copy_never_takes_the_place_of_a_source(names: list[str], album: Path, recognizer: Recognizer) -> None:
    before = (album / "a.png").read_bytes()
    with pytest.raises(OutputError, match="would overwrite one of the sources"):
        list(recognize_files([album / name for name in names], recognizer, out=album))
    assert (album / "a.png").read_bytes() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_copy_that_its_format_cannot_hold_is_a_failure_after_the_results_of_its_file(
    tmp_path: Path, recognizer: Recognizer, workers: int
) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    album.mkdir()
    write_picture(album / "a.png", np.zeros((1, 70_000, 3), np.uint8))
    (album / "a.png").rename(album / "a.jpg")  # the content decides, and the copy keeps the name
    wide = [Image.new("RGB", (20_000, 2), colour) for colour in ("black", "white")]
    wide[0].save(album / "b.gif", save_all=True, append_images=wide[1:])
    shutil.copy(ASTRONAUT, album / "c.png")
    memory = Memory()
    results = list(recognize_files(album, recognizer, sinks=[memory], out=out, workers=workers))
    assert [(result.path.name, type(result)) for result in results] == [
        ("a.jpg", FileResult), ("a.jpg", Failure), ("b.gif", FileResult), ("b.gif", FileResult), ("b.gif", Failure),
        ("c.png", FileResult),
    ]  # fmt: skip
    failures = [str(result.error) for result in results if isinstance(result, Failure)]
    assert ".jpg has at most 65,500 pixels a side" in failures[0]
    assert re.search(r"has at most [\d,]+ pixels a side", failures[1])
    assert len(memory.written) == 4
    assert [path.name for path in out.iterdir()] == ["c.png"]


def test_copies_of_an_earlier_run_are_not_read_again(album: Path, recognizer: Recognizer) -> None:
    first = list(recognize_files([album], recognizer, out=album / "seen"))
    with pytest.warns(UserWarning, match="3 files in '.*seen', the folder of annotated copies, not read"):
        again = list(recognize_files([album], recognizer, out=album / "seen"))
    assert [result.path for result in again] == [result.path for result in first]


def test_nothing_is_opened_before_its_turn(recognizer: Recognizer, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, np.zeros((60, 60, 3), np.uint8))
    results = recognize_files([tmp_path], recognizer)
    assert isinstance(next(results), FileResult)
    (tmp_path / "b.png").unlink()
    assert [type(result) for result in results] == [Failure]


def test_a_summary_counts_files_faces_and_labels(album: Path, recognizer: Recognizer) -> None:
    summary = Summary()
    assert str(summary) == "0 faces"
    for result in recognize_files([album], recognizer):
        if isinstance(result, FileResult):
            summary.add(result)
    assert (summary.pictures, summary.videos, summary.frames, summary.labels.total()) == (2, 1, 3, 5)
    assert str(summary).startswith("2 pictures, 1 video (3 frames), 5 faces: ")
    one = Summary(pictures=1)
    one.labels.update(["happy"])
    assert str(one) == "1 picture, 1 face: 1 happy"
    one.labels.update(["sad", "happy"])
    assert str(one) == "1 picture, 3 faces: 2 happy, 1 sad"


@pytest.fixture
def listener() -> Listener:
    return Listener(PitchModel(), detector=LoudDetector())


def heard_between(results: Iterable[FileResult | Failure]) -> tuple[float, float]:
    """Return the times of the first and last frame with a voice."""
    times = [
        r.frame.time
        for r in results
        if isinstance(r, FileResult) and r.voice_result is not None and r.voice_result.utterance
    ]
    return min(times), max(times)


@pytest.mark.parametrize(("sound_start", "begins"), [(0.0, 0.0), (0.5, 0.5)])
def test_sound_that_begins_late_stays_in_step(
    tmp_path: Path, recognizer: Recognizer, listener: Listener, sound_start: float, begins: float
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", tone(2, rate=48_000), n_frames=40, fps=5, sound_start=sound_start)
    first, last = heard_between(recognize_files(clip, recognizer, listener=listener))
    assert first == pytest.approx(begins, abs=0.21)
    assert last == pytest.approx(begins + 2 + 3, abs=0.21)  # the voice counts until 3 s after its end


def test_the_voice_of_a_video_reaches_results_and_sinks(
    tmp_path: Path, recognizer: Recognizer, listener: Listener
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", tone(2, rate=48_000), n_frames=10)
    with JsonlSink(tmp_path / "both.jsonl", recognizer.provenance, voice=listener.provenance) as sink:
        results = list(
            recognize_files([clip, ASTRONAUT], recognizer, sinks=[sink], listener=listener, out=tmp_path / "out")
        )
    lines = [json.loads(line) for line in (tmp_path / "both.jsonl").read_text().splitlines()]
    assert [line["voice"] and line["voice"]["label"] for line in lines] == ["sad"] * 10 + [None]
    assert [type(result) for result in results] == [FileResult] * 11
    assert lines[0]["fused"]["agree"] in (True, False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clip.mp4", "astronaut.png"}


def test_pictures_and_sinks_that_know_no_voice_are_not_affected(
    album: Path, recognizer: Recognizer, listener: Listener
) -> None:
    memory = Memory()
    results = list(recognize_files(album, recognizer, sinks=[memory], listener=listener, glob="[!z]*"))
    assert len(memory.written) == 2
    assert all(result.voice_result is None for result in results if isinstance(result, FileResult))


def test_a_video_without_sound_is_a_warning_and_its_faces_answer_alone(
    album: Path, recognizer: Recognizer, listener: Listener
) -> None:
    with pytest.warns(UserWarning, match=r"has no sound.*only its faces are recognised"):
        results = list(recognize_files(album / "z.mp4", recognizer, listener=listener))
    assert len(results) == 3
    for result in results:
        assert isinstance(result, FileResult)
        assert result.voice_result is not None
        assert result.voice_result.fused is not None
        assert (result.voice_result.utterance, result.voice_result.fused.voice) == (None, None)


def test_a_stretch_of_a_video_is_heard_from_its_start(
    tmp_path: Path, recognizer: Recognizer, listener: Listener
) -> None:
    sound = np.concatenate([tone(2, rate=48_000), np.zeros(12 * 48_000, np.float32), tone(4, rate=48_000)])
    clip = write_clip(tmp_path / "clip.mp4", sound, n_frames=36, fps=2)
    results = recognize_files(clip, recognizer, listener=listener, selection=FrameSelection(start=14.5, stop=17))
    assert heard_between(results) == pytest.approx((14.5, 16.5), abs=0.01)
    model = listener.classifier
    assert isinstance(model, PitchModel)
    assert len(model.given[-1]) < 3.2 * 16_000  # the sound after the stretch is not heard


def test_what_an_abandoned_video_leaves_is_not_heard_in_the_next_one(
    tmp_path: Path, recognizer: Recognizer, listener: Listener
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", tone(6, rate=48_000), n_frames=30, fps=5)
    quiet = write_clip(tmp_path / "quiet.mp4", np.zeros(3 * 48_000, np.float32), n_frames=15, fps=5)
    list(recognize_files(clip, recognizer, listener=listener, selection=FrameSelection(stop=3)))
    voice_results = [
        result.voice_result
        for result in recognize_files(quiet, recognizer, listener=listener)
        if isinstance(result, FileResult)
    ]
    assert len(voice_results) == 15
    assert all(one is not None and one.utterance is None for one in voice_results)


@pytest.mark.parametrize(
    ("selection", "seconds"),
    [
        (FrameSelection(), 40),  # the latest range begins there
        (FrameSelection(start=100), 100),
        (FrameSelection(start=10, fps=0.1), 50),
        (FrameSelection(fps=0.01), 140),
    ],
)
def test_decoding_without_a_result_is_no_silence(selection: FrameSelection, seconds: float) -> None:
    pieces = [Piece(Path("a.mp4"), TimeRange(start, start + 20)) for start in (0, 20, 40)]
    assert longest_silence(pieces, selection) == collection.SILENCE_SECONDS + seconds


def test_a_journal_of_another_type_is_named() -> None:
    with pytest.raises(ConfigError, match="journal is of type int; expected an opened Journal"):
        next(recognize_files([], Recognizer(), journal=3))
