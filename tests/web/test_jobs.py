"""Videos as jobs: drawn clips, uploaded to the service and fetched as files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import services
from clips import write_video
from disks import no_room_for
from mien.cli.commands import app as command_line
from mien.files import locked
from mien.sources.frames import inspect
from mien.web import bodies, jobs, video_files
from mien.web.jobs import PREFIX
from services import ASTRONAUT, Caller, calling, loaded, mounted, serving

VIDEO = {"content-type": "video/mp4"}
BEGINNING = (  # of an upload
    b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\nContent-Length: 9999\r\n\r\nx"
)


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with calling(loaded()) as caller:
        yield caller


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of this test alone."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4").read_bytes()


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """2,000 frames: long enough that the work on them is seen."""
    path = tmp_path_factory.mktemp("clips") / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for i in range(2000):
        writer.write(np.full((240, 320, 3), i % 256, np.uint8))
    writer.release()
    return path.read_bytes()


def send(caller: Caller, data: bytes, *, name: str = "clip.mp4", **options: Any) -> httpx.Response:
    return caller.post("/v1/videos", files={"file": (name, data)}, **options)


def eventually(condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail("it did not happen")


def finished(caller: Caller, answer: httpx.Response) -> dict[str, Any]:
    """Return the state of a job that has ended."""
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]

    def state() -> dict[str, Any] | None:
        found: dict[str, Any] = caller.get(address).json()
        return found if found["state"] in ("done", "failed") else None

    return dict(eventually(state))


def test_a_video_is_queued_recognised_and_fetched_as_the_command_line_writes_it(
    caller: Caller, clip: bytes, tmp_path: Path
) -> None:
    answer = send(caller, clip, params={"model": "base", "detector": "whole"})
    queued = answer.json()
    assert (queued["source"], queued["frames"], queued["error"]) == ("clip.mp4", 10, None)
    assert answer.headers["location"] == f"/v1/videos/{queued['id']}"
    done = finished(caller, answer)
    assert (done["state"], done["frames"], done["done"]) == ("done", 10, 10)
    assert (done["statistics"]["frames"], done["statistics"]["faces"]) == (10, 10)
    address = answer.headers["location"]
    got = {name: caller.get(f"{address}/{name}") for name in done["files"]}
    assert {name: file.headers["content-type"] for name, file in got.items()} == {
        "faces.csv": "text/csv; charset=utf-8", "faces.jsonl": "application/jsonl", "annotated.mp4": "video/mp4",
    }  # fmt: skip

    (tmp_path / "clip.mp4").write_bytes(clip)
    run = CliRunner().invoke(
        command_line, [
            "predict", str(tmp_path / "clip.mp4"), "--csv", str(tmp_path / "faces.csv"), "--jsonl",
            str(tmp_path / "faces.jsonl"), "--out", str(tmp_path / "out"), "--model", "base", "--detector", "whole",
        ],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    for name in ("faces.csv", "faces.jsonl"):
        assert got[name].text == (tmp_path / name).read_text().replace(str(tmp_path / "clip.mp4"), "clip.mp4")
    (tmp_path / "annotated.mp4").write_bytes(got["annotated.mp4"].content)
    assert inspect(tmp_path / "annotated.mp4") == inspect(tmp_path / "out" / "clip.mp4")


def test_a_raw_body_is_taken_too(caller: Caller, clip: bytes) -> None:
    unnamed = finished(caller, caller.post("/v1/videos", content=clip, headers=VIDEO))
    assert (unnamed["source"], unnamed["state"]) == ("video", "done")
    for given, name in (('filename="holiday.mp4"', "holiday.mp4"), ("filename*=UTF-8''f%c3%aate.mp4", "fête.mp4")):
        named = {**VIDEO, "content-disposition": f"attachment; {given}"}
        assert finished(caller, caller.post("/v1/videos", content=clip, headers=named))["source"] == name


def test_an_animation_is_a_video_too(caller: Caller) -> None:
    file = io.BytesIO()
    pictures = [Image.new("L", (64, 48), 20 * i) for i in range(4)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    done = finished(caller, send(caller, file.getvalue(), name="wave.gif"))
    assert (done["state"], done["frames"], done["done"]) == ("done", 4, 4)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("../../etc/passwd", "passwd"),
        (r"C:\videos\clip.avi", "clip.avi"),
        ("größer.mp4", "größer.mp4"),
        ("a\x1b[2Jb.mp4", r"a\x1b[2Jb.mp4"),
        ("=1+1.mp4", "=1+1.mp4"),
        ("x" * 300, "x" * 200),
        ("/", "video"),
        (r"a\"b.mp4", 'a"b.mp4'),
        ("a;b=c.mp4", "a;b=c.mp4"),
    ],
)
def test_results_name_the_clients_file_and_no_folder(caller: Caller, clip: bytes, name: str, source: str) -> None:
    form = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = caller.post("/v1/videos", content=form + clip + b"\r\n--b--\r\n", headers=headers)
    done = finished(caller, answer)
    assert (done["source"], done["state"]) == (source, "done")
    address = answer.headers["location"]
    lines = caller.get(f"{address}/faces.jsonl").text.splitlines()
    assert {json.loads(line)["source"] for line in lines} == {source}
    table = csv.DictReader(io.StringIO(caller.get(f"{address}/faces.csv").text))
    assert {row["source"].removeprefix("'") for row in table} == {source}


def test_uploads_are_private_and_deleted_once_seen(
    caller: Caller, clip: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    inspect_video = jobs.inspect_video

    def noting(path: Path, *words: Any, **options: Any) -> Any:
        modes.append(path.parents[1].stat().st_mode)
        return inspect_video(path, *words, **options)

    monkeypatch.setattr(jobs, "inspect_video", noting)
    answer = send(caller, clip)
    finished(caller, answer)
    assert oct(modes[0] & 0o777) == "0o700"
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert left == ["annotated.mp4", "faces.csv", "faces.jsonl"]
    assert caller.request("DELETE", answer.headers["location"]).status_code == 204
    assert list(folder.iterdir()) == []
    assert caller.get(answer.headers["location"]).status_code == 404


def test_the_work_on_a_deleted_video_ends(caller: Caller, long_clip: bytes, clip: bytes, folder: Path) -> None:
    first = send(caller, long_clip)
    address = first.headers["location"]
    eventually(lambda: caller.get(address).json()["done"])
    waiting = send(caller, long_clip)
    assert waiting.json()["state"] == "queued"
    early = caller.get(f"{address}/faces.csv")
    assert (early.status_code, early.json()["title"]) == (409, "not done")
    for answer in (first, waiting):
        assert caller.request("DELETE", answer.headers["location"]).status_code == 204
    assert finished(caller, send(caller, clip))["state"] == "done"  # there is one thread for all
    assert len(eventually(lambda: list(folder.iterdir()))) == 1


MP4_BOX = b"\0\0\0\x18ftypisom"
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
MPD = b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>http://localhost/</BaseURL></MPD>'
REFERRING = {
    "HLS": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:9,\n{file}\n#EXT-X-ENDLIST\n",
    "HLS after a byte order mark": b"\xef\xbb\xbf#EXTM3U\n#EXTINF:9,\n{file}\n",
    "HLS with binary behind": b"#EXTM3U\n#EXTINF:9,\n{file}\n\0\1\2\3" + bytes(5000),
    "concat": b"ffconcat version 1.0\nfile '{file}'\n",
    "concat with binary behind": b"ffconcat version 1.0\nfile '{file}'\n#\0\1\2" + bytes(5000),
    "DASH": MPD,
    "DASH inside a container": b"AAAAmdat" + MPD + bytes(100),
    "IMF inside a container": b"AAAAmoov<CompositionPlaylist>" + bytes(100),
    "SDP": SDP,
    "SDP behind a mark of Ogg": b"OggS\n" + SDP + bytes(5000),
    "SDP between packets": b"G\n" + SDP.ljust(186, b"x") + b"G" + bytes(5000),
    "QuickTime text link": b'<?xml version="1.0"?><?quicktime type="application/x-quicktime-media-link"?><embed/>',
    "RTSP text": b"RTSPtext\nrtsp://127.0.0.1/x\n",
    "ASX": b"[Reference]\nRef1=http://127.0.0.1/x.asf\n",
    "M3U without a mark": b"{file}\n",
    "VobSub": b"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
    "FFmetadata": b";FFMETADATA1\ntitle=x\n",
    "SubRip": b"1\n00:00:00,000 --> 00:00:01,000\nx\n",
    "Avisynth": b'AviSource("{file}")\n',
    "VapourSynth": b"import os; os.abort()\n",
    "tty art": b"\x1b[31mred" + bytes(100),
    "TwinVQ": b"TWIN97012000" + bytes(100),
    "DV": b"\x1f\x07\x00\xbf" + bytes(200),
    "MXF": b"\x06\x0e\x2b\x34\x02\x05\x01\x01" + bytes(200),
    "Y4M": b"YUV4MPEG2 W4 H4 F25:1\nFRAME\n" + bytes(24),
    "Flash": b"FWS\x08" + bytes(100),
    "nothing": b"",
    "zeros": bytes(1000),
    "a web page": b"<!doctype html><html></html>",
    "a program": b"\x7fELF\2\1\1" + bytes(100),
    "a picture": ASTRONAUT.read_bytes(),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
    "an empty container": MP4_BOX + b"\0\0\2\0isomiso2" + bytes(100),
    "half a header": MP4_BOX,
}


@pytest.mark.parametrize("kind", REFERRING)
def test_files_that_are_no_video_or_refer_to_others_are_refused(
    caller: Caller, clip: bytes, tmp_path: Path, folder: Path, kind: str
) -> None:
    (tmp_path / "secret.mp4").write_bytes(clip)
    data = REFERRING[kind].replace(b"{file}", os.fsencode(tmp_path / "secret.mp4"))
    answer = send(caller, data, name="x.mp4")
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "'x.mp4'" in detail
    assert str(folder) not in detail
    assert list(folder.iterdir()) == []


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box of an MP4 or QuickTime file (ISO 14496-12, 4.2)."""
    body = b"".join(content)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def referring_to(path: Path, *, up: int) -> bytes:
    """Return a clip of `write_video` without its pictures, for which it refers to the file itself, by an alias record.

    Args:
        path: The clip.
        up: Folders from the file that refers up to that of the clip, for a relative reference; 0 for an absolute one.
    """
    clip, name = path.read_bytes(), os.fsencode(path)
    name += bytes(len(name) % 2)
    # The fields that FFmpeg reads (mov_read_dref of libavformat): levels up and down, and as item 2 the path.
    levels, item, end = struct.pack(">hh", up and up + 1, up and 1), struct.pack(">hh", 2, len(name)), b"\xff\xff\0\0"
    alias = box(b"alis", bytes(4 + 130), levels, bytes(16), item, name, end)
    own = box(b"url ", b"\0\0\0\1")  # the data reference (8.7.2): in this file
    data = bytearray(clip.replace(own, alias))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):  # those around it, behind the pictures
        at = data.index(kind) - 4
        size = int.from_bytes(data[at : at + 4], "big") + len(alias) - len(own)
        data[at : at + 4] = size.to_bytes(4, "big")
    at = data.index(b"mdat")
    end_of_pictures = at - 4 + int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 : end_of_pictures] = bytes(end_of_pictures - at - 4)
    return bytes(data)


def n_frames(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    return sum(1 for _ in iter(lambda: video.read()[0], False))


@pytest.mark.parametrize("up", [0, 3], ids=["absolute", "relative"])
def test_a_reference_to_another_file_in_quicktime_is_not_followed(
    caller: Caller, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, up: int
) -> None:
    secret = write_video(tmp_path / "secret.mp4", n=7)
    data = referring_to(secret, up=up)
    upload = folder / "job" / "in" / "x.mp4"  # as deep as those of the service
    upload.parent.mkdir(parents=True)
    upload.write_bytes(data)
    with monkeypatch.context() as patch:
        patch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "enable_drefs;1" + "|use_absolute_path;1" * (up == 0))
        assert n_frames(upload) == 7  # where FFmpeg may follow it
    failed = finished(caller, send(caller, data))
    assert (failed["state"], failed["done"]) == ("failed", 0)


def test_a_film_that_only_refers_to_another_file_is_refused(caller: Caller, clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(clip)
    address = os.fsencode((tmp_path / "secret.mp4").as_uri())
    reference = box(b"rdrf", bytes(4), b"url ", len(address).to_bytes(4, "big"), address)
    movie = MP4_BOX + b"\0\0\2\0isomiso2" + box(b"moov", box(b"rmra", box(b"rmda", reference)))
    assert send(caller, movie).status_code == 422


FORMS = {
    "no parts": b"--b--\r\n",
    "nothing": b"",
    "another name": b'--b\r\nContent-Disposition: form-data; name="video"; filename="a"\r\n\r\nx\r\n--b--\r\n',
    "a setting": b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nbase\r\n--b--\r\n',
    "no file": b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
    "no header": b"--b\r\n\r\nx\r\n--b--\r\n",
    "two files": 2 * b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' + b"--b--\r\n",
    "no end": b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
    "no boundary in it": b"hello",
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_without_exactly_one_file_is_refused(caller: Caller, folder: Path, kind: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = caller.post("/v1/videos", content=FORMS[kind], headers=headers)
    assert answer.status_code == 422
    assert "form" in answer.json()["detail"] or "part" in answer.json()["detail"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "image/jpeg", "application/json", "application/x-www-form-urlencoded", "video"])
def test_another_content_type_is_refused(caller: Caller, kind: str) -> None:
    assert caller.post("/v1/videos", content=b"x", headers={"content-type": kind}).status_code == 415


def test_a_form_without_a_boundary_is_refused(caller: Caller) -> None:
    answer = caller.post("/v1/videos", content=b"x", headers={"content-type": "multipart/form-data"})
    assert (answer.status_code, "boundary" in answer.json()["detail"]) == (422, True)


def test_a_video_beyond_the_limit_is_refused_while_it_is_read(clip: bytes, folder: Path) -> None:
    def pieces() -> Iterator[bytes]:  # without Content-Length
        for _ in range(1000):
            yield clip

    with serving(loaded(max_video=len(clip))) as port:
        url = f"http://localhost:{port}/v1/videos"
        assert httpx.post(url, content=clip, headers=VIDEO).status_code == 202
        assert httpx.post(url, content=clip + b"x", headers=VIDEO).status_code == 413
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bodies, "WRITE_BYTES", 1)
            with httpx.Client() as client:
                assert client.post(url, content=pieces(), headers=VIDEO).status_code == 413


def test_a_video_that_comes_too_slowly_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.2)
    with serving(loaded()) as port, services.connect(port) as connection:
        connection.sendall(BEGINNING)
        assert services.received(connection).startswith(b"HTTP/1.1 408 ")
        assert list(folder.iterdir()) == []


def test_a_client_that_leaves_in_mid_upload_leaves_no_file(folder: Path) -> None:
    with serving(loaded()) as port:
        with services.connect(port) as connection:
            connection.sendall(BEGINNING)
            eventually(lambda: list(folder.iterdir()))
        eventually(lambda: not list(folder.iterdir()))


def test_too_many_videos_are_refused_for_now(
    caller: Caller, long_clip: bytes, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_QUEUED", 1)
    running = send(caller, long_clip)
    eventually(lambda: caller.get(running.headers["location"]).json()["done"])
    queued = send(caller, clip)
    refused = send(caller, clip)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    caller.request("DELETE", running.headers["location"])
    assert finished(caller, queued)["state"] == "done"
    assert finished(caller, send(caller, clip))["state"] == "done"


def test_a_video_that_breaks_off_is_read_as_far_as_it_goes(caller: Caller, long_clip: bytes) -> None:
    done = finished(caller, send(caller, long_clip[: len(long_clip) // 100], name="cut.avi"))
    assert (done["state"], done["error"]) == ("done", None)
    assert 0 < done["done"] < 2000
    (warning,) = done["warnings"]
    assert warning["code"] == "video-cut"
    assert warning["detail"].startswith(
        f"'cut.avi' ends before its header says: 2,000 frames are announced, {done['done']} were"
    )


@pytest.mark.parametrize(("limit", "value"), [("MAX_FRAMES", 5), ("MAX_JOB_SECONDS", 0.0)])
def test_a_video_that_turns_out_too_long_fails(
    caller: Caller, clip: bytes, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    inspect_job = jobs.Job.inspect

    def then_limited(*arguments: Any, **options: Any) -> None:
        inspect_job(*arguments, **options)
        monkeypatch.setattr(jobs, limit, value)

    monkeypatch.setattr(jobs.Job, "inspect", then_limited)
    answer = send(caller, clip)
    failed = finished(caller, answer)
    assert (failed["state"], failed["code"]) == ("failed", "video-too-long")
    assert "cut it" in failed["error"]
    assert failed["files"] == []
    assert caller.get(f"{answer.headers['location']}/faces.csv").json()["detail"].startswith("the video failed")


@pytest.mark.parametrize(("limit", "value"), [("MAX_FRAMES", 5), ("MAX_PIXELS", 1000)])
def test_a_video_that_announces_too_much_is_refused(
    caller: Caller, clip: bytes, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(video_files, limit, value)
    refused = send(caller, clip)
    assert (refused.status_code, refused.json()["code"]) == (422, "video-too-long")


def test_a_full_disk_is_one_line(caller: Caller, clip: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_room_for(1000):
        refused = send(caller, clip)
    assert (refused.status_code, refused.json()["title"]) == (507, "disk full")
    assert list(folder.iterdir()) == []
    queue = jobs.Videos.queue

    def without_room(*arguments: Any) -> None:
        with no_room_for(0):
            queue(*arguments)
            eventually(lambda: arguments[1].ended)

    monkeypatch.setattr(jobs.Videos, "queue", without_room)
    failed = finished(caller, send(caller, clip))
    assert (failed["state"], failed["code"]) == ("failed", "disk-full")
    assert re.fullmatch("the results cannot be written: [A-Z][a-z ]+", failed["error"])


def test_a_pause_of_hours_is_shortened_in_the_annotated_copy(caller: Caller) -> None:
    file = io.BytesIO()
    images = [Image.new("RGB", (64, 48), colour) for colour in ("black", "white", "red")]
    images[0].save(file, "WEBP", save_all=True, append_images=images[1:], duration=[100, 16_000_000, 100])
    done = finished(caller, send(caller, file.getvalue(), name="slow.webp"))
    assert (done["state"], done["done"]) == ("done", 3)
    assert [warning["code"] for warning in done["warnings"]] == ["gap-shortened"]


def test_an_animation_too_wide_for_a_video_is_named(caller: Caller) -> None:
    file = io.BytesIO()
    wide = [Image.new("RGB", (20_000, 2), colour) for colour in ("black", "white")]
    wide[0].save(file, "GIF", save_all=True, append_images=wide[1:])
    refused = send(caller, file.getvalue(), name="wide.gif")
    assert (refused.status_code, refused.json()["code"]) == (422, "unwritable-image")
    assert re.fullmatch(r".* has at most [\d,]+ pixels a side; make the video smaller", refused.json()["detail"])


def test_results_are_deleted_an_hour_after_their_end(
    caller: Caller, clip: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = send(caller, clip)
    finished(caller, old)
    monkeypatch.setattr(jobs, "KEPT_SECONDS", 0.0)
    new = send(caller, clip)  # deletes as the sweep each minute does
    assert caller.get(old.headers["location"]).status_code == 404
    finished(caller, new)
    assert len(list(folder.iterdir())) == 1


def test_a_sweep_deletes_old_results_though_no_further_video_comes(
    clip: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "SWEPT_SECONDS", 0.02)
    with calling(loaded()) as caller:
        kept = send(caller, clip)
        finished(caller, kept)
        monkeypatch.setattr(jobs, "KEPT_SECONDS", 0.0)
        eventually(lambda: caller.get(kept.headers["location"]).status_code == 404)
        assert list(folder.iterdir()) == []


def test_too_many_uploads_at_once_are_refused_for_now(
    clip: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_UPLOADS", 1)
    with serving(loaded()) as port:
        url = f"http://localhost:{port}/v1/videos"
        with services.connect(port) as connection:
            connection.sendall(BEGINNING)
            eventually(lambda: list(folder.iterdir()))
            refused = httpx.post(url, content=clip, headers=VIDEO)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "being uploaded" in refused.json()["detail"]
        eventually(lambda: not list(folder.iterdir()))
        assert httpx.post(url, content=clip, headers=VIDEO).status_code == 202


def test_the_oldest_results_make_room(caller: Caller, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_KEPT", 1)
    answers = []
    for _ in range(3):
        answers.append(send(caller, clip))
        finished(caller, answers[-1])
    assert [caller.get(answer.headers["location"]).status_code for answer in answers] == [404, 200, 200]


def test_a_mounted_service_keeps_its_token_and_addresses_and_deletes_at_the_end(
    clip: bytes, long_clip: bytes, folder: Path
) -> None:
    with mounted("/faces", loaded(token="secret")) as caller:
        for path in ("/faces/v1/about", "/faces/metrics"):
            assert caller.get(path).status_code == 401
        token = {"authorization": "Bearer secret"}
        answer = caller.post("/faces/v1/videos", files={"file": ("clip.mp4", clip)}, headers=token)
        address = answer.headers["location"]
        assert address == f"/faces/v1/videos/{answer.json()['id']}"
        eventually(lambda: caller.get(address, headers=token).json()["state"] == "done")
        caller.post("/faces/v1/videos", files={"file": ("long.avi", long_clip)}, headers=token)
        assert len(list(folder.iterdir())) == 2
    eventually(lambda: not list(folder.iterdir()))


def test_the_end_of_the_service_deletes_everything_at_once(clip: bytes, long_clip: bytes, folder: Path) -> None:
    left, living = folder / f"{PREFIX}left", folder / f"{PREFIX}living"
    for home in (left, living):
        home.mkdir()
    with locked(living), serving(loaded()) as port:
        assert not left.exists()  # of a service that was killed
        url = f"http://localhost:{port}/v1/videos"
        running = [httpx.post(url, content=long_clip, headers=VIDEO).json()["id"] for _ in range(2)]
        eventually(lambda: httpx.get(f"{url}/{running[0]}").json()["done"])
    eventually(lambda: list(folder.iterdir()) == [living])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("key", ["x", "..", "%2e%2e", "%00", "a/faces.csv"])
def test_an_unknown_id_is_not_found(caller: Caller, method: str, key: str) -> None:
    assert caller.request(method, f"/v1/videos/{key}").status_code in (404, 405)


@pytest.mark.parametrize("query", ["model=nobody", "model=/etc/x.onnx", "labels=none", "min_score=2", "colour=red"])
def test_a_wrong_setting_is_refused_before_the_video_is_kept(
    caller: Caller, clip: bytes, folder: Path, query: str
) -> None:
    assert caller.post(f"/v1/videos?{query}", content=clip, headers=VIDEO).status_code == 422
    assert list(folder.iterdir()) == []
