"""Jobs over many files: each file has its rows in one part, exactly once, whatever happens."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import write_video
from disks import no_room_for
from films import cut, variable, write_film
from jobs import Deadly, NotInTheDark
from mien import shards
from mien.collection import recognize_files
from mien.errors import ConfigError, MissingExtra, OutputError
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.shards import Done, JobSummary, opened, read_summary, recognize_shards, run
from mien.sinks.parts import FORMATS, read_part
from mien.sinks.tables import CsvSink
from mien.sources.frames import frames
from mien.sources.media import FrameSelection
from mien.structures import Face, ImageArray
from mien.vision.detect import WholeImage

unix = pytest.mark.skipif(sys.platform == "win32", reason="names, links, locks and signals are those of Unix")


@pytest.fixture
def recognizer(tiny_model: Path) -> Recognizer:
    return Recognizer(NotInTheDark(), tiny_model)


def draw(path: Path, seed: int) -> Path:
    write_picture(path, np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8))
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Eight pictures, one black, one damaged, and a video."""
    folder = tmp_path / "album"
    folder.mkdir()
    for i in range(6):
        draw(folder / f"{i}.png", i)
    write_picture(folder / "black.png", np.zeros((40, 40, 3), np.uint8))
    (folder / "3 broken.png").write_bytes((folder / "3.png").read_bytes()[:500])
    write_video(folder / "4 clip.mp4", n=6)
    return folder


@dataclass
class Runs:
    """Runs of one job, with three pictures per shard."""

    album: Path
    folder: Path
    recognizer: Recognizer
    format: str = "csv"
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *others: Path, **options: Any) -> list[Done]:
        given = {"format": self.format, "shard_size": 3, **self.options, **options}
        return list(run([self.album, *others], self.folder, self.recognizer, **given))

    def rows(self) -> list[dict[str, Any]]:
        columns = self.columns()
        return [row for part in self.parts() for row in read_part(part, columns)]

    def columns(self) -> list[str]:
        return list(shards.part_columns(self.recognizer.provenance))

    def parts(self) -> list[Path]:
        return sorted((self.folder / "parts").iterdir())

    def sources(self) -> Counter[str]:
        """Return the number of rows by file name."""
        return Counter(Path(row["source"]).name for row in self.rows())


ROWS = {**{f"{i}.png": 1 for i in range(6)}, "black.png": 1, "3 broken.png": 1, "4 clip.mp4": 6}


@pytest.fixture
def job(album: Path, recognizer: Recognizer, tmp_path: Path) -> Runs:
    return Runs(album, tmp_path / "job", recognizer)


class TestRows:
    def test_parts_hold_the_rows_of_a_csv_table_and_errors(self, job: Runs, album: Path, tmp_path: Path) -> None:
        done = job()
        with CsvSink(tmp_path / "faces.csv", job.recognizer.provenance) as sink:
            list(recognize_files(album, job.recognizer, sinks=[sink]))
        with (tmp_path / "faces.csv").open(encoding="utf-8", newline="") as file:
            expected = {(row["source"], row["index"]): row for row in csv.DictReader(file)}
        errors = [row for row in job.rows() if row["error"]]
        found = [row for row in job.rows() if not row["error"]]
        assert [list(row) for row in job.rows()] == [job.columns()] * 14
        assert {
            (row["source"], row["index"]): {k: v for k, v in row.items() if k != "error"} for row in found
        } == expected
        assert [Path(row["source"]).name for row in errors] == ["3 broken.png"]
        assert "the file is truncated or damaged" in errors[0]["error"]
        assert [(one.shard, one.files, one.rows, one.faces, one.errors) for one in done] == [
            (0, 3, 3, 3, 0),
            (1, 1, 6, sum(row["source"].endswith("mp4") and row["face"] != "" for row in found), 0),
            (2, 3, 3, 2, 1),
            (3, 2, 2, 1, 0),
        ]

    @pytest.mark.parametrize("format", ["jsonl", "parquet"])
    def test_all_formats_hold_the_same_rows(self, format: str, job: Runs) -> None:
        if format == "parquet":
            pytest.importorskip("pyarrow")
        job()
        other = replace(job, folder=job.folder.with_name(format), format=format)
        other()
        as_text = [{k: text(v) for k, v in row.items()} for row in other.rows()]
        assert as_text == job.rows()

    def test_errors_and_counts_are_written_at_the_end(self, job: Runs, album: Path) -> None:
        job(album / "missing.png")
        with (job.folder / "errors.csv").open(encoding="utf-8", newline="") as file:
            errors = [(row["part"], Path(row["source"]).name) for row in csv.DictReader(file)]
        assert errors == [("", "missing.png"), ("part-000002.csv", "3 broken.png")]
        summary = read_summary(job.folder)
        assert summary is not None
        labels = Counter(row["label"] for row in job.rows() if row["face"])
        assert (summary.shards, summary.files, summary.rows, summary.errors) == (4, 9, 14, 2)
        assert summary.labels == dict(labels)
        assert summary.faces == labels.total()

    def test_several_processes_write_the_same_parts(self, job: Runs) -> None:
        other = replace(job, folder=job.folder.with_name("other"))
        assert [replace(done, failures=()) for done in job()] == [
            replace(done, failures=()) for done in other(workers=2)
        ]
        assert [part.read_bytes() for part in job.parts()] == [part.read_bytes() for part in other.parts()]


def text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class TestResuming:
    def test_a_second_run_recognises_nothing_and_changes_nothing(self, job: Runs) -> None:
        job()
        before = {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
        assert job() == []
        assert {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize("files", range(1, 9))
    def test_a_stopped_run_continues_at_the_first_shard_without_a_part(self, files: int, job: Runs) -> None:
        def stop(done: int, _: int | None) -> None:
            if done == files:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            job(progress=stop)
        kept = {part: part.stat().st_mtime_ns for part in job.parts()}
        assert not (job.folder / "summary.json").exists()
        again = job()
        assert len(kept) + len(again) == 4
        assert {part: part.stat().st_mtime_ns for part in kept} == kept
        assert job.sources() == ROWS

    def test_new_files_make_new_shards(self, job: Runs, album: Path) -> None:
        job()
        kept = {part: part.read_bytes() for part in job.parts()}
        draw(album / "2 new.png", 7)
        assert [(done.shard, done.files) for done in job()] == [(4, 1)]
        assert {part: part.read_bytes() for part in kept} == kept
        assert job.sources() == {**ROWS, "2 new.png": 1}

    def test_the_shard_of_a_changed_file_is_recognised_anew(self, job: Runs, album: Path) -> None:
        job()
        before = {Path(row["source"]).name: row for row in job.rows()}
        write_picture(album / "1.png", np.full((30, 30, 3), 200, np.uint8))
        assert [done.shard for done in job()] == [0]
        after = {Path(row["source"]).name: row for row in job.rows()}
        assert {name for name in before if before[name] != after[name]} == {"1.png"}
        assert job.sources() == ROWS
        assert job() == []

    def test_a_change_is_not_forgotten_when_the_run_that_found_it_is_stopped(self, job: Runs, album: Path) -> None:
        job()
        write_picture(album / "1.png", np.full((30, 30, 3), 200, np.uint8))
        with opened([album], job.folder, job.recognizer) as planned:
            assert [shard.number for shard in planned.todo] == [0]
        assert [done.shard for done in job()] == [0]
        assert job.sources() == ROWS

    def test_rows_of_files_that_are_gone_stay(self, job: Runs, album: Path) -> None:
        job()
        (album / "1.png").unlink()
        assert job() == []
        assert job.sources() == ROWS

    def test_rows_of_files_that_are_gone_go_with_a_changed_file_of_their_shard(self, job: Runs, album: Path) -> None:
        job()
        (album / "1.png").unlink()
        write_picture(album / "0.png", np.full((30, 30, 3), 200, np.uint8))
        assert [(done.shard, done.errors) for done in job()] == [(0, 0)]
        assert job.sources().keys() == ROWS.keys() - {"1.png"}
        assert job() == []

    def test_an_error_of_a_file_that_is_gone_ends_with_a_retry(self, job: Runs, album: Path) -> None:
        job()
        (album / "3 broken.png").unlink()
        job(retry_errors=True)
        assert [row["error"] for row in job.rows() if row["error"]] == []
        assert job() == []

    def test_a_retry_while_a_drive_is_gone_loses_nothing(self, job: Runs, album: Path) -> None:
        job()
        album.rename(album.with_name("unmounted"))
        job(retry_errors=True)
        assert job.sources() == ROWS
        album.with_name("unmounted").rename(album)
        draw(album / "3 broken.png", 3)
        job(retry_errors=True)
        assert [row["error"] for row in job.rows() if row["error"]] == []

    def test_shards_of_folders_that_are_not_named_again_are_finished(self, job: Runs, tmp_path: Path) -> None:
        more = tmp_path / "more"
        more.mkdir()
        draw(more / "more.png", 1)
        with opened([job.album, more], job.folder, job.recognizer, shard_size=3):
            pass
        job()
        assert job.sources() == {**ROWS, "more.png": 1}

    def test_errors_are_tried_again_when_asked(self, job: Runs, album: Path) -> None:
        job()
        assert [done.shard for done in job(retry_errors=True)] == [2]
        draw(album / "3 broken.png", 3)
        assert [(done.shard, done.errors) for done in job()] == [(2, 0)]  # it has changed
        assert job(retry_errors=True) == []
        summary = read_summary(job.folder)
        assert summary is not None
        assert summary.errors == 0

    def test_a_job_continues_from_another_working_folder(
        self, job: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        job.album = Path("album")
        with opened([job.album], job.folder, job.recognizer, shard_size=3) as planned:
            list(recognize_shards(planned, planned.todo[:2], job.recognizer))
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        job.album = Path("../album")
        job()
        assert job.sources() == ROWS
        assert {Path(row["source"]).parent for row in job.rows()} == {Path("album"), tmp_path / "album"}


class TestRefused:
    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("model", "graph = "),
            ("labels", "labels = 'ferplus', now it is 'fer2013'"),
            ("detector", "detector = 'not-in-the-dark', now it is 'whole'"),
            ("confidence", "min_confidence = '0.0', now it is '0.5'"),
            ("format", "format = 'csv', now it is 'jsonl'"),
            ("version", "mien = "),
        ],
    )
    def test_other_settings(
        self, setting: str, message: str, job: Runs, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job()
        before = {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
        other = {
            "labels": lambda: Recognizer(NotInTheDark(), tiny_model, labels="fer2013"),
            "detector": lambda: Recognizer(WholeImage(), tiny_model),
            "confidence": lambda: Recognizer(NotInTheDark(), tiny_model, min_confidence=0.5),
        }
        if setting == "version":
            monkeypatch.setattr("mien.collection.__version__", "9")
        if setting == "model":
            monkeypatch.setattr("mien.collection.graph_fingerprint", lambda path: "1" * 64)
        if setting in other:
            job.recognizer = other[setting]()
        with pytest.raises(ConfigError, match="was begun with") as caught:
            job(format="jsonl" if setting == "format" else "csv")
        assert message in str(caught.value)
        assert str(caught.value).endswith("give the same options, or choose a new folder")
        assert {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == before

    @unix
    def test_a_second_process_on_the_folder(self, job: Runs) -> None:
        def again(done: int, _: int | None) -> None:
            with pytest.raises(OutputError, match="another process works on the job in"):
                job()

        job(progress=again)
        assert job.sources() == ROWS

    def test_a_folder_that_holds_something_else(self, job: Runs) -> None:
        job.folder.mkdir()
        (job.folder / "novel.txt").write_text("Once")
        with pytest.raises(OutputError, match=r"holds 'novel.txt' already; choose a new or an empty folder"):
            job()
        for text in ("[]", "[" * 9999, '{"job": "mien job 1", "settings": 5}', '{"job": "mien job 1"}'):
            (job.folder / "job.json").write_text(text)
            with pytest.raises(ConfigError, match="is not of a job of mien"):
                job()

    def test_the_folder_of_the_pictures(self, job: Runs, album: Path) -> None:
        job.folder = album
        with pytest.raises(OutputError, match="is read, so nothing is written to it"):
            job()

    @pytest.mark.parametrize(
        "line",
        [
            b"hello",
            b"[]",
            b'{"shard": 0}',
            b'{"shard": 1, "folder": "", "files": [1]}',
            b'{"shard": 1, "folder": "", "files": []}',
            b'{"shard": 1, "folder": "/\\u0000x", "files": [{"path": "x", "size": 1, "mtime_ns": 1}]}',
            b'{"shard": 1, "folder": "/x", "files": [{"path": "\\u0000", "size": 1, "mtime_ns": 1}]}',
            b'{"shard": 1, "folder": "/x", "files": [{"path": "x", "size": 1.5, "mtime_ns": 1}]}',
            b'{"shard": 1, "folder": "/x", "files": [{"path": "x", "size": 1, "mtime_ns": 1}], "seconds": [NaN, 1]}',
            b'{"shard": 1, "folder": "/x", "files": [{"path": "x", "size": 1, "mtime_ns": 1}], "seconds": [1]}',
            b"[" * 9999,
        ],
    )
    def test_a_manifest_with_a_damaged_line(self, line: bytes, job: Runs) -> None:
        job()
        path = job.folder / "manifest.jsonl"
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([lines[0], line, *lines[2:], b""]))
        with pytest.raises(ConfigError, match=r"line 2 of '.*manifest.jsonl' is damaged; restore it"):
            job()
        assert job.sources() == ROWS

    def test_unknown_formats_and_sizes(self, job: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match="no format 'xlsx' of parts; choose from csv, jsonl, parquet"):
            job(format="xlsx")
        with pytest.raises(ConfigError, match="shard_size is 0"):
            job(shard_size=0)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
        with pytest.raises(MissingExtra, match="Parquet needs the 'parquet' extra"):
            job(format="parquet")
        assert not job.folder.exists()


class TestManifest:
    def test_a_torn_last_line_is_planned_anew(self, job: Runs) -> None:
        job()
        path = job.folder / "manifest.jsonl"
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.warns(UserWarning, match=r"'part-000003.csv' is not in the manifest; removed"):
            assert [done.files for done in job()] == [2]
        assert job.sources() == ROWS

    def test_a_job_without_parts_takes_other_settings(self, job: Runs) -> None:
        with opened([job.album], job.folder, job.recognizer):
            pass
        job(format="jsonl")
        assert {part.suffix for part in job.parts()} == {".jsonl"}

    def test_a_lost_manifest_costs_no_parts(self, job: Runs) -> None:
        job()
        before = {path.name: path.read_bytes() for path in job.parts()}
        (job.folder / "manifest.jsonl").write_bytes(b"")
        with pytest.raises(OutputError, match=r"4 parts in .*'part-000000.csv', are not in manifest.jsonl; restore"):
            job()
        assert {path.name: path.read_bytes() for path in job.parts()} == before

    def test_an_empty_part_counts_as_missing(self, job: Runs) -> None:
        job()
        job.parts()[1].write_bytes(b"")
        assert [done.shard for done in job()] == [1]
        assert job.sources() == ROWS

    def test_parts_of_a_killed_run_are_complete_and_nothing_else_is_in_their_folder(self, job: Runs) -> None:
        seen = []

        def look(done: int, _: int | None) -> None:
            seen.append(sorted(path.name for path in (job.folder / "parts").iterdir()))

        job(progress=look)
        assert seen[2] == []
        assert seen[3] == ["part-000000.csv"]
        assert seen[-1] == [f"part-{n:06}.csv" for n in range(3)]


class TestFiles:
    @unix
    @pytest.mark.parametrize("name", [b"new\nline.png", b"broken \xff.png", b"=1+1.png", b'quote".png'])
    def test_any_name_is_planned_recognised_and_known_again(self, name: bytes, job: Runs, album: Path) -> None:
        try:
            shutil.copy(album / "1.png", os.fsdecode(os.path.join(os.fsencode(album), name)))
        except OSError as error:
            pytest.skip(f"this file system has no such names: {error}")
        job()
        assert sum(job.sources().values()) == 15
        assert job() == []

    @unix
    def test_a_file_is_recognised_once_however_it_is_named(self, job: Runs, album: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(album)
        job(album / "1.png", tmp_path / "link", tmp_path / "album" / ".." / "album" / "2.png")
        assert job.sources() == ROWS
        job.album = tmp_path / "link"
        assert job() == []

    @unix
    def test_loops_of_links_and_pipes_are_passed_over(self, job: Runs, album: Path) -> None:
        (album / "loop").symlink_to(album)
        (album / "a.png").symlink_to(album / "b.png")
        (album / "b.png").symlink_to(album / "a.png")
        os.mkfifo(album / "pipe.png")
        with pytest.warns(UserWarning, match="passed over 4 files"):
            job()
        assert job.sources() == ROWS

    @unix
    def test_pipes_that_are_named_fail(self, job: Runs, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        first, *_ = job(tmp_path / "pipe.png")
        assert (first.shard, first.errors) == (None, 1)
        assert "neither a file nor a folder" in str(first.failures[0].error)
        assert job.sources() == ROWS

    def test_a_file_that_vanishes_before_its_turn_is_an_error(self, job: Runs, album: Path) -> None:
        with meanwhile(job, lambda: (album / "5.png").unlink()):
            done = job()
        assert [failure.path.name for one in done for failure in one.failures] == ["3 broken.png", "5.png"]
        assert "no file or folder" in next(row["error"] for row in job.rows() if row["source"].endswith("5.png"))
        assert job.sources() == ROWS
        assert job() == []

    @unix
    def test_a_file_that_becomes_a_pipe_or_a_folder_is_an_error(self, job: Runs, album: Path) -> None:
        def change() -> None:
            (album / "5.png").unlink()
            os.mkfifo(album / "5.png")
            (album / "4.png").unlink()
            (album / "4.png").mkdir()

        with meanwhile(job, change):
            job()
        assert job.sources() == ROWS
        assert sum(bool(row["error"]) for row in job.rows()) == 3

    def test_a_file_that_grows_after_it_was_planned_is_recognised_again_next_time(self, job: Runs, album: Path) -> None:
        with meanwhile(job, lambda: write_picture(album / "5.png", np.full((300, 300, 3), 200, np.uint8))):
            job()
        assert [done.shard for done in job()] == [3]
        assert job.sources() == ROWS
        assert job() == []

    @unix
    def test_a_full_disk_ends_the_run_and_keeps_the_parts(self, job: Runs) -> None:
        job()
        small, large, *_ = parts = job.parts()
        room = (small.stat().st_size + large.stat().st_size) // 2
        for part in parts:
            part.unlink()
        with no_room_for(room), pytest.raises(OutputError, match=r"cannot write '.*part-000001.csv'") as caught:
            job()
        assert "make room" in str(caught.value)
        assert job.parts() == [small]
        assert not list(job.folder.glob(".mien-*"))
        assert [done.shard for done in job()] == [1, 2, 3]
        assert job.sources() == ROWS

    def test_paths_without_any_file_leave_no_folder(self, job: Runs, tmp_path: Path) -> None:
        job.album = tmp_path / "missing"
        (done,) = job()
        assert (done.shard, done.errors) == (None, 1)
        assert not job.folder.exists()


@contextmanager
def meanwhile(job: Runs, happen: Callable[[], object]) -> Iterator[None]:
    """Let something happen after the first file of a run."""
    job.options["progress"] = lambda done, _: happen() if done == 1 else None
    yield
    del job.options["progress"]


class TestLongVideos:
    @pytest.fixture
    def film(self, album: Path) -> Path:
        pytest.importorskip("av")
        return write_film(album / "5 film.mp4")  # 60 frames, 3 seconds

    def shards(self, job: Runs) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (job.folder / "manifest.jsonl").read_text().splitlines()]

    def test_the_rows_of_all_ranges_are_those_of_the_undivided_video(self, job: Runs, film: Path) -> None:
        done = job(shard_frames=25)
        whole = replace(job, folder=job.folder.with_name("whole"))
        whole()
        assert [shard.get("seconds") for shard in self.shards(job)] == [
            None, None, None, [0.0, 1.0], [1.0, 2.0], [2.0, None], None,
        ]  # fmt: skip
        assert [(one.files, one.rows) for one in done[3:6]] == [(1, 20), (0, 20), (0, 20)]
        assert job.rows() == whole.rows()
        assert read_summary(job.folder) == replace(
            read_summary(whole.folder) or JobSummary(shards=0, files=0), shards=7
        )
        assert job() == []

    def test_several_processes_write_the_same_parts(self, job: Runs, film: Path) -> None:
        job(shard_frames=8)
        other = replace(job, folder=job.folder.with_name("other"))
        other(shard_frames=8, workers=2)
        assert [part.read_bytes() for part in job.parts()] == [part.read_bytes() for part in other.parts()]

    @pytest.mark.parametrize("files", [4, 5, 6, 7])
    def test_a_stopped_run_continues_at_the_first_range_without_a_part(self, files: int, job: Runs, film: Path) -> None:
        def stop(done: int, _: int | None) -> None:
            if done == files:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            job(shard_frames=25, progress=stop)
        job()
        assert job.sources() == {**ROWS, "5 film.mp4": 60}
        assert [int(row["index"]) for row in job.rows() if row["source"].endswith("film.mp4")] == list(range(60))

    @pytest.mark.parametrize("n", [10, 100])
    def test_a_video_that_shrinks_or_grows_is_recognised_anew_with_the_same_ranges(
        self, n: int, job: Runs, film: Path
    ) -> None:
        job(shard_frames=25)
        write_film(film, n=n)
        assert [done.shard for done in job(shard_frames=25)] == [3, 4, 5]
        assert [int(row["index"]) for row in job.rows() if row["source"].endswith("film.mp4")] == list(range(n))
        assert len(self.shards(job)) == 7
        assert job() == []

    def test_fewer_frames_per_second_make_fewer_ranges(self, job: Runs, film: Path) -> None:
        selection = FrameSelection(fps=2, start=0.5)
        job(shard_frames=25, selection=selection)
        assert len(self.shards(job)) == 5
        other = replace(job, folder=job.folder.with_name("other"))
        other(shard_frames=3, selection=selection)
        assert [shard.get("seconds") for shard in self.shards(other)][3:5] == [[0.0, 1.75], [1.75, None]]
        assert job.rows() == other.rows()
        assert [float(row["time"]) for row in job.rows() if row["source"].endswith("film.mp4")] == [
            0.5, 1.0, 1.5, 2.0, 2.5,
        ]  # fmt: skip

    def test_a_variable_frame_rate(self, job: Runs, film: Path) -> None:
        variable(film)
        job(shard_frames=10)
        assert len(self.shards(job)) == 10
        assert [int(row["index"]) for row in job.rows() if row["source"].endswith("film.mp4")] == list(range(60))

    def test_a_video_that_is_shorter_than_its_header_says_leaves_empty_parts(self, job: Runs, film: Path) -> None:
        cut(film)
        with pytest.warns(UserWarning, match="ends before its header says: 60 frames are announced, 27 were read"):
            job(shard_frames=10)
        indices = [int(row["index"]) for row in job.rows() if row["source"].endswith("film.mp4")]
        assert indices == list(range(27))
        summary = read_summary(job.folder)
        assert summary is not None
        assert (summary.shards, summary.files, summary.errors) == (10, 10, 1)
        assert job() == []

    def test_empty_parts_of_json_lines_are_parts_too(self, job: Runs, film: Path) -> None:
        cut(film)
        with pytest.warns(UserWarning, match="ends before its header says"):
            job(shard_frames=10, format="jsonl")
        assert b"" in {path.read_bytes() for path in job.parts()}
        assert job(shard_frames=10, format="jsonl") == []

    def test_what_is_no_video_is_one_shard_with_an_error(self, job: Runs, film: Path) -> None:
        film.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(20_000))
        job(shard_frames=10)
        (error,) = (row["error"] for row in job.rows() if row["source"].endswith("film.mp4"))
        assert "cannot open" in error
        assert len(self.shards(job)) == 5

    def test_a_length_that_no_file_of_this_size_has_makes_few_ranges(self, job: Runs, film: Path) -> None:
        pytest.importorskip("av")
        with monkeypatched_length(1e9):
            job(shard_frames=10)
        assert 1 < len(self.shards(job)) < 100
        assert job.sources() == {**ROWS, "5 film.mp4": 60}

    def test_a_manifest_without_ranges_is_read(self, job: Runs, film: Path) -> None:
        job()
        path = job.folder / "manifest.jsonl"
        assert "seconds" not in path.read_text()
        assert job(shard_frames=10) == []

    @unix
    def test_a_range_that_kills_its_process_is_an_error_row(self, job: Runs, film: Path, tiny_model: Path) -> None:
        job.recognizer = Recognizer(DeadlyAt([frame.image for frame in frames(film)][25]), tiny_model)
        job(shard_frames=25, workers=2)
        rows = [row for row in job.rows() if row["source"].endswith("film.mp4")]
        (error,) = (row["error"] for row in rows if row["error"])
        assert "5 film.mp4', from 1 s to 2 s, cannot be recognised: twice, its process was killed (SIGKILL)" in error
        assert [int(row["index"]) for row in rows if row["index"]] == [*range(25), *range(40, 60)]

    def test_unknown_sizes(self, job: Runs) -> None:
        with pytest.raises(ConfigError, match="shard_frames is 0; expected 1 or more"):
            job(shard_frames=0)


@contextmanager
def monkeypatched_length(seconds: float) -> Iterator[None]:
    """Let every video announce a length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_length", lambda path: (seconds, 20.0))
        yield


class DeadlyAt(WholeImage):
    """Kills its process when it sees a certain image."""

    def __init__(self, image: ImageArray) -> None:
        self.image = image

    def detect(self, image: ImageArray) -> list[Face]:
        if np.array_equal(image, self.image):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(image)


@unix
def test_a_picture_that_kills_its_process_is_an_error_row(job: Runs, album: Path, tiny_model: Path) -> None:
    write_picture(album / "2.png", np.full((20, 20, 3), 200, np.uint8))
    job.recognizer = Recognizer(Deadly(), tiny_model)
    job(workers=2)
    (error,) = (row["error"] for row in job.rows() if row["source"].endswith("2.png"))
    assert "twice, its process was killed (SIGKILL)" in error
    assert job.sources() == ROWS


def test_planning_takes_little_memory_and_asks_each_file_once(
    tmp_path: Path, recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 3000
    (tmp_path / "many").mkdir()
    for i in range(n):
        (tmp_path / "many" / f"a picture with a name of usual length {i:06}.jpg").touch()
    asked = Counter[str]()
    identity = shards.identity
    monkeypatch.setattr(shards, "identity", lambda path: asked.update([path.name]) or identity(path))
    for _ in range(2):
        tracemalloc.start()
        with opened([tmp_path / "many"], tmp_path / "job", recognizer) as job:
            assert [len(shard.files) for shard in job.shards] == [256] * 11 + [184]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak / n < 2500  # bytes: 100,000 files take less than 250 MB
    assert asked.total() == 2 * len(asked) == 2 * n


class TestOpenedElsewhere:
    @pytest.fixture(params=list(FORMATS))
    def parts(self, request: pytest.FixtureRequest, job: Runs) -> Runs:
        pytest.importorskip("pyarrow")
        job.format = request.param
        job()
        return job

    def test_pandas(self, parts: Runs) -> None:
        pd = pytest.importorskip("pandas")
        if parts.format == "parquet":
            table = pd.read_parquet(parts.folder / "parts")
        else:
            read = pd.read_csv if parts.format == "csv" else lambda path: pd.read_json(path, lines=True)
            table = pd.concat(map(read, parts.parts()), ignore_index=True)
        self.check(parts, list(table.columns), table["source"].tolist(), table["error"].notna().sum())

    def test_pyarrow(self, parts: Runs) -> None:
        ds, pa = pytest.importorskip("pyarrow.dataset"), pytest.importorskip("pyarrow")
        if parts.format == "jsonl":
            pytest.skip("pyarrow wants the types of all columns")
        csv_options = {"column_types": {"note": pa.string(), "error": pa.string()}, "strings_can_be_null": True}
        csv_format = ds.CsvFileFormat(convert_options=pytest.importorskip("pyarrow.csv").ConvertOptions(**csv_options))
        table = ds.dataset(
            parts.folder / "parts", format=csv_format if parts.format == "csv" else parts.format
        ).to_table()
        self.check(parts, table.column_names, table["source"].to_pylist(), len(table) - table["error"].null_count)

    def test_duckdb(self, parts: Runs) -> None:
        duckdb = pytest.importorskip("duckdb")
        table = f"from '{parts.folder}/parts/*.{parts.format}'"
        faces = duckdb.sql(f"select * {table}")
        ((errors,),) = duckdb.sql(f"select count(error) {table}").fetchall()
        self.check(parts, list(faces.columns), [row[0] for row in faces.fetchall()], errors)

    def check(self, job: Runs, columns: list[str], sources: list[str], errors: int) -> None:
        assert columns == job.columns()
        assert Counter(Path(source).name for source in sources) == ROWS
        assert errors == 1


def test_the_types_of_parquet_are_the_same_in_every_part(job: Runs) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    job.format = "parquet"
    job()
    schemas = [pq.read_schema(part) for part in job.parts()]
    assert all(schema.equals(schemas[0]) for schema in schemas)
    assert str(schemas[0].field("certain").type) == "bool"
    assert str(schemas[0].field("index").type) == "int64"
    assert str(schemas[0].field("p_happy").type) == "double"


def test_the_job_file_is_plain(job: Runs) -> None:
    job()
    plain = json.loads((job.folder / "job.json").read_text())
    assert plain["settings"]["labels"] == "ferplus"
    assert len(plain["settings"]["graph"]) == 16


@pytest.mark.parametrize("line", ["[]", "5", '{"source": ["x"], "error": ""}', '{"source": "x"}', "[" * 9999])
def test_a_damaged_part_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "part-000000.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(OutputError, match=r"cannot read the part '.*part-000000.jsonl': .*; remove it, and resume"):
        list(read_part(path, ("source", "error")))


@pytest.mark.parametrize("text", ["[]", "[" * 9999, '{"shards": "x", "files": 1}'])
def test_a_damaged_summary_is_none(text: str, job: Runs) -> None:
    job()
    found = shards.read_summary(job.folder)
    assert found is not None
    assert found.files == len(ROWS)
    (job.folder / "summary.json").write_text(text)
    assert shards.read_summary(job.folder) is None
