"""Long runs: several processes, and a run that is resumed, give the same bytes as one undisturbed process."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from clips import write_video
from jobs import NotInTheDark
from mien.collection import Failure, FileResult, auto_workers, recognize_files
from mien.errors import ConfigError
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.sinks.journal import Journal, journal_path
from mien.sinks.records import record
from mien.sinks.sink import many
from mien.sinks.tables import CsvSink, JsonlSink
from mien.structures import Face, ImageArray
from mien.vision.detect import WholeImage

SETTINGS = {"model": "tiny", "detector": "whole"}


@pytest.fixture
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer(NotInTheDark(), tiny_model)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of eight pictures, one black, one dim, one damaged, and a video of which some frames have a face."""
    folder = tmp_path / "album"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        write_picture(folder / f"{i}.png", random.integers(0, 256, (40, 50 + i, 3), np.uint8))
    write_picture(folder / "black.png", np.zeros((40, 40, 3), np.uint8))
    write_picture(folder / "dim.png", np.full((40, 40, 3), 50, np.uint8))
    (folder / "3 broken.png").write_bytes((folder / "3.png").read_bytes()[:500])
    write_video(folder / "4 clip.mp4", n=6)
    return folder


@dataclass
class Run:
    """A run that writes both tables and a journal into a folder."""

    folder: Path
    recognizer: Recognizer

    def results(self, album: Path, *, resume: bool = False, settings: dict[str, str] = SETTINGS, workers: int = 1):
        self.folder.mkdir(exist_ok=True)
        origin = self.recognizer.provenance
        tables = [
            CsvSink(self.folder / "faces.csv", origin, resume=resume),
            JsonlSink(self.folder / "faces.jsonl", origin, resume=resume),
        ]
        with many(tables) as sink, Journal(tables, settings, resume=resume) as journal:
            yield from recognize_files(album, self.recognizer, sinks=[sink], journal=journal, workers=workers)

    @property
    def bytes(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in ("faces.csv", "faces.jsonl")]

    @property
    def journal(self) -> Path:
        return journal_path(self.folder / "faces.csv")


@pytest.fixture
def whole(album: Path, recognizer: Recognizer, tmp_path: Path) -> Run:
    """An undisturbed run."""
    run = Run(tmp_path / "whole", recognizer)
    list(run.results(album))
    return run


def stopped(run: Run, album: Path, *, after: int) -> None:
    """Stop a run after some results, as a kill does: nothing is tidied up."""
    results = run.results(album)
    list(islice(results, after))
    kept = {path: path.read_bytes() for path in run.folder.iterdir()}
    results.close()
    for path, content in kept.items():
        path.write_bytes(content)


def test_several_processes_give_the_same_results(album: Path, recognizer: Recognizer, whole: Run) -> None:
    run = Run(whole.folder.with_name("several"), recognizer)
    results = list(run.results(album, workers=3))
    assert run.bytes == whole.bytes
    alone = list(recognize_files(album, recognizer))
    assert [(type(result), result.path) for result in results] == [(type(result), result.path) for result in alone]
    for ours, theirs in zip(results, alone, strict=True):
        if isinstance(ours, FileResult) and isinstance(theirs, FileResult):
            origin = recognizer.provenance
            assert record(ours.frame, ours.expressions, origin) == record(theirs.frame, theirs.expressions, origin)
        elif isinstance(ours, Failure) and isinstance(theirs, Failure):
            assert str(ours.error) == str(theirs.error)


def test_annotated_copies_are_written_by_the_processes(album: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    list(recognize_files(album, recognizer, out=tmp_path / "one"))
    list(recognize_files(album, recognizer, out=tmp_path / "two", workers=2))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert (tmp_path / "one" / "0.png").read_bytes() == (tmp_path / "two" / "0.png").read_bytes()


class Deadly(WholeImage):
    """Kills its process when it sees a picture of a certain width."""

    def detect(self, image: ImageArray) -> list[Face]:
        if image.shape[1] == 52:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(image)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are those of Unix")
def test_a_picture_that_kills_its_process_is_a_failure_and_the_others_are_seen(album: Path, tiny_model: Path) -> None:
    results = list(recognize_files(album, Recognizer(Deadly(), tiny_model), workers=2))
    assert [result.path.name for result in results if isinstance(result, Failure)] == ["2.png", "3 broken.png"]
    (failure,) = (result for result in results if result.path.name == "2.png")
    assert isinstance(failure, Failure)
    assert str(failure.error).endswith("2.png' cannot be recognised: twice, its process was killed (SIGKILL)")
    assert sum(isinstance(result, FileResult) for result in results) == 7 + 6


@pytest.mark.parametrize("after", [1, 3, 5, 9, 13])
def test_a_resumed_run_has_the_bytes_of_an_undisturbed_one(
    after: int, album: Path, whole: Run, recognizer: Recognizer
) -> None:
    run = Run(whole.folder.with_name("stopped"), recognizer)
    stopped(run, album, after=after)
    with (run.folder / "faces.csv").open("ab") as table:
        table.write(b"album/5.png,0,0.0,1,")  # torn
    with run.journal.open("ab") as journal:
        journal.write(b'{"path": "alb')
    list(run.results(album, resume=True))
    assert run.bytes == whole.bytes


def test_a_run_is_resumed_by_several_processes_and_more_than_once(
    album: Path, whole: Run, recognizer: Recognizer
) -> None:
    run = Run(whole.folder.with_name("stopped"), recognizer)
    stopped(run, album, after=2)
    results = run.results(album, resume=True, workers=2)
    list(islice(results, 3))
    results.close()
    again = list(run.results(album, resume=True, workers=2))
    assert run.bytes == whole.bytes
    assert len(again) < len(list(recognize_files(album, recognizer)))
    assert all(isinstance(result, Failure) for result in run.results(album, resume=True))


def test_failures_of_finished_files_are_yielded_again(album: Path, whole: Run, recognizer: Recognizer) -> None:
    run = Run(whole.folder.with_name("again"), recognizer)
    first = list(run.results(album, resume=True))
    second = list(run.results(album, resume=True))
    assert [(result.path.name, str(result.error)) for result in second if isinstance(result, Failure)] == [
        (result.path.name, str(result.error)) for result in first if isinstance(result, Failure)
    ]
    assert not any(isinstance(result, FileResult) for result in second)
    assert run.bytes == whole.bytes


def change(album: Path) -> None:
    write_picture(album / "2.png", np.full((60, 60, 3), 90, np.uint8))


def add(album: Path) -> None:
    shutil.copy(album / "5.png", album / "1 more.png")


def remove(album: Path) -> None:
    (album / "1.png").unlink()


@pytest.mark.parametrize("happen", [change, add, remove])
def test_what_changed_meanwhile_is_seen_and_all_that_comes_after_it(
    happen: Callable[[Path], None], album: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    run, anew = Run(tmp_path / "run", recognizer), Run(tmp_path / "anew", recognizer)
    list(run.results(album, resume=True))
    happen(album)
    list(run.results(album, resume=True))
    list(anew.results(album))
    assert run.bytes == anew.bytes


def test_the_journal_of_a_run_that_was_not_resumed_is_removed_at_its_end(album: Path, whole: Run) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == ["faces.csv", "faces.jsonl"]


class TestRefused:
    @pytest.fixture
    def run(self, album: Path, recognizer: Recognizer, tmp_path: Path) -> Run:
        run = Run(tmp_path / "run", recognizer)
        stopped(run, album, after=4)
        return run

    def refusal(self, run: Run, album: Path, settings: dict[str, str] = SETTINGS) -> str:
        before = run.bytes
        with pytest.raises(ConfigError) as caught:
            list(run.results(album, resume=True, settings=settings))
        assert run.bytes == before
        return str(caught.value)

    def test_other_settings(self, run: Run, album: Path) -> None:
        assert "was begun with model = 'tiny', now it is 'other'" in self.refusal(
            run, album, {**SETTINGS, "model": "other"}
        )

    def test_a_table_without_its_journal(self, run: Run, album: Path) -> None:
        run.journal.unlink()
        assert "its journal 'faces.csv.journal' is missing" in self.refusal(run, album)

    @pytest.mark.parametrize("n_lines", [0, 1])
    def test_a_table_whose_journal_has_no_entry(self, n_lines: int, run: Run, album: Path) -> None:
        run.journal.write_bytes(b"".join(run.journal.read_bytes().splitlines(keepends=True)[:n_lines]))
        assert "its journal 'faces.csv.journal' has no entry" in self.refusal(run, album)

    def test_a_journal_without_the_line_of_the_headers(self, run: Run, album: Path) -> None:
        head, _, *rest = run.journal.read_bytes().splitlines(keepends=True)
        run.journal.write_bytes(b"".join([head, *rest]))
        assert "is not a journal of mien" in self.refusal(run, album)

    @pytest.mark.parametrize(
        ("line", "damage"),
        [
            (0, {"tables": 5}),
            (0, {"settings": "tiny"}),
            (2, {"ends": ["x", "y"]}),
            (2, {"ends": [1.5, 2]}),
            (2, {"ends": [-1, -1]}),
            (2, {"path": 5}),
            (2, {"error": None}),
        ],
    )
    def test_a_journal_with_damaged_values(self, line: int, damage: dict[str, object], run: Run, album: Path) -> None:
        lines = [json.loads(text) for text in run.journal.read_text().splitlines()]
        lines[line] |= damage
        run.journal.write_text("".join(json.dumps(plain) + "\n" for plain in lines))
        assert "is not a journal of mien" in self.refusal(run, album)

    @pytest.mark.parametrize(
        "content",
        [b"hello\nworld\n", b'{"format": 1}\n', b'["a"]\n', b"\xff\n", b"1\n2\n", b"[" * 9999 + b"\n"],
    )
    def test_a_journal_that_is_none(self, content: bytes, run: Run, album: Path) -> None:
        run.journal.write_bytes(content)
        assert "is not a journal of mien" in self.refusal(run, album)

    def test_a_table_that_is_shorter_than_the_journal_says(self, run: Run, album: Path) -> None:
        (run.folder / "faces.csv").write_bytes(b"source\n")
        assert "are shorter than" in self.refusal(run, album)


def test_a_first_run_may_be_called_resumed(album: Path, whole: Run, recognizer: Recognizer) -> None:
    run = Run(whole.folder.with_name("first"), recognizer)
    list(run.results(album, resume=True))
    assert run.bytes == whole.bytes


def test_workers_are_chosen_by_cores_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.collection.usable_cores", lambda: 3)
    chosen = []
    for n in range(100):
        (tmp_path / f"{n}.png").touch()
        chosen.append(auto_workers([tmp_path]))
    assert chosen == [1] * 39 + [2] * 20 + [3] * 41
