"""The page in Chromium, with a fake camera: all that a visitor does, and all that may go wrong."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

import services

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install '.[dev]'")

from playwright.sync_api import Browser, Download, Locator, Page, sync_playwright

from mien.labels import LABEL_SETS
from mien.models.store import list_models
from mien.sinks.videos import VideoSink
from mien.warn import WarningCode
from mien.web.engine import Engine
from mien.web.live import CREDIT

CHROMIUM = Path(os.environ.get("MIEN_CHROMIUM", "/usr/bin/chromium"))
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium; $MIEN_CHROMIUM names another one")

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
WIDTH, HEIGHT = 320, 240  # of the fake camera
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
HAPPY = (240, 228, 66)  # RGB of boxes around happy faces
HEAD = struct.Struct("<Id")
SECONDS = 20_000  # ms that a busy machine may take


class Service:
    """The service in a thread, which can be stopped and started again at the same address."""

    def __init__(self, **changes: Any) -> None:
        self.settings = services.settings(model="base", **changes)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._running = services.serving(Engine(self.settings), port=self.port)
        self.port = self._running.__enter__()

    def stop(self) -> None:
        self._running.__exit__(None, None, None)


@contextmanager
def serving(**changes: Any) -> Iterator[Service]:
    service = Service(**changes)
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """A face of half the camera's height."""
    with Image.open(ASTRONAUT) as picture:
        return picture.convert("RGB").crop((80, 0, 400, 240))


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> Iterator[Callable[..., Browser]]:
    """Start a browser whose camera shows a face that sways."""
    clip = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    with clip.open("wb") as file:
        for shift in (0, 1, 2, 3, 2, 1) * 5:
            moved = np.roll(np.asarray(portrait), shift, axis=1)
            Image.fromarray(moved).save(file, "JPEG", quality=92)
    with sync_playwright() as playwright:

        def start(*arguments: str) -> Browser:
            return playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox", f"--use-file-for-fake-video-capture={clip}", *arguments],
            )

        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    started = launch(*FAKE_CAMERA)
    yield started
    started.close()


class Visit:
    """A visit of the page: what it asked for, what it complained about, what its WebSockets carried."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 860}, "locale": "en-GB", **context})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.sent: list[bytes | str] = []
        self.received: list[dict[str, Any]] = []
        self.in_flight, self.most_in_flight = 0, 0
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{error.message}\n{error.stack}"))
        self.page.on("websocket", self._listen)
        self.url = url

    def _listen(self, connection: Any) -> None:
        self.in_flight = 0
        connection.on("framesent", self._on_sent)
        connection.on("framereceived", self._on_received)

    def _on_sent(self, data: bytes | str) -> None:
        self.sent.append(data)
        if isinstance(data, bytes):
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _on_received(self, data: bytes | str) -> None:
        message = json.loads(data)
        self.received.append(message)
        self.in_flight -= message["type"] == "result"

    @property
    def seen(self) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == "result"]

    def open(self) -> Page:
        self.page.goto(self.url)
        self.page.wait_for_function("() => document.getElementById('model').options.length > 0")
        return self.page

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS / 1000
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self.page.wait_for_timeout(20)

    def pause(self) -> None:
        """Press the key, and wait for the answers to what is under way."""
        self.page.keyboard.press(" ")
        n, end = -1, time.monotonic() + 60
        while n < len(self.seen) or self.in_flight:
            assert time.monotonic() < end, "no answer to what is under way"
            n = len(self.seen)
            self.page.wait_for_timeout(250)

    def saved(self, button: str) -> bytes:
        """What the browser saves on a click."""
        with self.page.expect_download() as saving:
            self.page.click(button)
        return content(saving.value)


def content(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """A visit without a complaint, and without a request to anywhere else."""
    visit = Visit(browser, service.url)
    visit.open()
    yield visit
    visit.context.close()
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith((service.url, "blob:", "data:"))] == []


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def upload(name: str, data: bytes, kind: str = "image/png") -> Any:
    return {"name": name, "mimeType": kind, "buffer": data}


def pixels(locator: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def count_near(image: np.ndarray, x: float, y: float, colour: tuple[int, int, int]) -> int:
    """Pixels of a colour within 3 pixels of a place."""
    x, y = round(x), round(y)
    patch = image[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
    return int((abs(patch - np.array(colour)).max(axis=2) < 40).sum())


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_the_camera_is_seen_live_and_all_of_it_can_be_saved(visit: Visit) -> None:
    page = visit.page
    page.click("#start")
    visit.until(lambda: len(visit.seen) >= 20)
    visit.pause()
    seen = visit.seen

    heads = [HEAD.unpack_from(frame) for frame in visit.sent if isinstance(frame, bytes)]
    assert [number for number, _ in heads] == list(range(len(heads))), "frames in order"
    assert all(a[1] < b[1] for a, b in itertools.pairwise(heads)), "by the time of the camera"
    assert visit.most_in_flight <= CREDIT
    assert {face["label"] for message in seen for face in message["faces"]} == {"happy"}
    assert page.inner_text("#face-label") == "happy"
    assert page.locator("#bars li").count() == 8
    assert page.inner_text("#shares-of").startswith(f"{len(seen)} frames, ")

    records = [json.loads(line) for line in visit.saved("#save-jsonl").splitlines()]
    assert [record["index"] for record in records] == [message["number"] for message in seen]
    last = {key: value for key, value in seen[-1].items() if key not in ("type", "number", "ms")}
    assert records[-1] == {**last, "source": records[-1]["source"]}
    table = rows_of(visit.saved("#save-csv"))
    assert [float(row["p_happy"]) for row in table] == [
        face["probabilities"]["happy"] for record in records for face in record["faces"]
    ]
    assert table[0]["certain"] == "true"
    statistics = json.loads(visit.saved("#save-statistics"))
    assert statistics["frames"] == len(seen)
    shown = re.findall(r"(\d+) %", page.inner_text("#shares"))
    assert shown == [f"{100 * statistics['expressions']['happy']['share']:.0f}"]
    annotated = Image.open(io.BytesIO(visit.saved("#save-picture")))
    assert annotated.size == (seen[-1]["width"], seen[-1]["height"])
    x1, y1, x2, y2 = seen[-1]["faces"][0]["box"]
    assert count_near(np.asarray(annotated.convert("RGB")).astype(int), x1, (y1 + y2) / 2, HAPPY) >= 3
    with page.expect_download() as saving:
        page.keyboard.press("f")
    face = Image.open(io.BytesIO(content(saving.value)))
    assert saving.value.suggested_filename.endswith("-happy.png")
    assert face.width == pytest.approx(1.4 * (x2 - x1), abs=3)

    page.keyboard.press("q")
    page.wait_for_selector("#restart:visible")
    assert not page.evaluate("() => document.getElementById('camera-video').srcObject")


@pytest.mark.parametrize("mirrored", [True, False])
def test_boxes_are_drawn_where_the_answer_says_with_the_colour_of_the_label(visit: Visit, mirrored: bool) -> None:
    page = visit.page
    page.set_checked("#mirror", mirrored)
    page.click("#start")
    visit.until(lambda: len(visit.seen) >= 3)
    visit.pause()
    message = visit.seen[-1]
    image = pixels(page.locator("#canvas"))
    height, width = image.shape[:2]
    scale = min(width / message["width"], height / message["height"])
    left, top = (width - scale * message["width"]) / 2, (height - scale * message["height"]) / 2
    x1, y1, x2, y2 = message["faces"][0]["box"]
    middle = top + scale * (y1 + y2) / 2
    for x in (x1, x2):
        place = message["width"] - x if mirrored else x
        assert count_near(image, left + scale * place, middle, HAPPY) >= 5


def test_settings_reach_a_running_session_and_are_kept(visit: Visit, browser: Browser) -> None:
    page = visit.page
    page.click("#start")
    visit.until(lambda: visit.seen)
    page.keyboard.press("m")  # the next model
    model = page.input_value("#model")
    page.select_option("#labels", "fer2013")
    page.locator("#threshold").fill("0.95")
    visit.until(lambda: visit.seen[-1]["model"] == model and visit.seen[-1]["label_set"] == "fer2013")
    assert model != "base"
    page.wait_for_function("() => document.querySelectorAll('#bars li').length === 7")
    page.click("#stop")
    page.reload()
    page.wait_for_function("() => document.getElementById('model').options.length > 0")
    assert [page.input_value(f"#{name}") for name in ("model", "labels", "threshold")] == [model, "fer2013", "0.95"]
    assert visit.context.cookies() == []


def test_pictures_are_chosen_dropped_and_pasted(visit: Visit, portrait: Image.Image) -> None:
    page, data = visit.page, png(portrait)
    page.click("#tab-pictures")
    page.set_input_files("#picture-files", [upload("face.png", data), upload("=broken.png", b"\x89PNG\r\n\x1a\nno")])
    give = """([data, name, kind, event]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type: kind }));
      const options = { bubbles: true, cancelable: true };
      document.dispatchEvent(event === "drop" ? new DragEvent("drop", { ...options, dataTransfer: transfer }) :
        new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
    }"""
    text = base64.b64encode(data).decode()
    page.evaluate(give, [text, "dropped.png", "image/png", "drop"])
    page.evaluate(give, [text, "pasted.png", "image/png", "paste"])
    page.evaluate(give, [text, "notes.txt", "text/plain", "drop"])
    page.wait_for_function("() => document.querySelectorAll('.gallery li').length === 4")
    page.wait_for_function("() => !document.querySelector('.gallery .waiting')")
    assert page.locator(".gallery .wrong").count() == 1
    assert page.locator(".gallery .file").all_inner_texts() == ["face.png", "=broken.png", "dropped.png", "pasted.png"]
    assert "1 file skipped: neither picture nor video" in page.inner_text("#notice-text")
    assert page.inner_text("#shares-of") == "4 pictures, 3 faces, 1 unreadable"

    page.click(".gallery li:first-child button")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".gallery li:nth-child(2) button[aria-current=true]")
    page.wait_for_selector("#problem:has-text('Unreadable picture: ')")
    records = [json.loads(line) for line in visit.saved("#save-jsonl").splitlines()]
    assert [record["source"] for record in records] == ["face.png", "dropped.png", "pasted.png"]
    assert [row["label"] for row in rows_of(visit.saved("#save-csv"))] == ["happy"] * 3
    assert all("error" not in record for record in records)

    page.locator("#threshold").fill("0.95")
    confidence = records[0]["faces"][0]["confidence"]
    page.click(".gallery li:first-child button")
    expected = "happy" if confidence >= 0.95 else "uncertain"
    visit.until(lambda: page.inner_text("#face-label") == expected)
    page.click("#clear")
    page.wait_for_selector("#empty-example:visible")
    visit.complaints[:] = [line for line in visit.complaints if "422" not in line]  # Chromium's line on the broken one


def test_a_picture_that_was_stopped_is_recognised_when_it_is_chosen(visit: Visit, portrait: Image.Image) -> None:
    page, held = visit.page, list[Any]()
    page.route("**/v1/predict*", lambda route: held.append(route))
    page.set_input_files("#picture-files", [upload(f"{n}.png", png(portrait)) for n in range(4)])
    visit.until(lambda: len(held) == 2)
    page.keyboard.press("q")
    page.unroute("**/v1/predict*")  # what is held goes on
    page.wait_for_function("() => document.querySelectorAll('#gallery .waiting').length === 2")
    page.locator("#gallery .waiting").nth(1).click()
    page.wait_for_function("() => document.querySelectorAll('#gallery .waiting').length === 1")


def test_a_face_is_picked_by_its_box_or_its_row(visit: Visit, portrait: Image.Image) -> None:
    page = visit.page
    small = portrait.resize((WIDTH // 2, HEIGHT // 2))
    both = Image.new("RGB", (WIDTH + WIDTH // 2, HEIGHT))
    both.paste(portrait, (0, 0))
    both.paste(small, (WIDTH, HEIGHT // 2))
    page.click("#tab-pictures")
    page.set_input_files("#picture-files", [upload("two.png", png(both))])
    page.wait_for_function("() => document.querySelectorAll('#faces tr').length === 2")
    assert page.inner_text("#face-which") == "1 · the largest"
    page.click("#faces tr:nth-child(2) button")
    assert page.inner_text("#face-which") == "2 · chosen"
    page.click("#largest")
    assert page.inner_text("#face-which") == "1 · the largest"
    box = [float(side) for side in page.inner_text("#faces tr:nth-child(2) td:last-child").split(", ")]
    canvas = page.locator("#canvas").bounding_box()
    assert canvas is not None
    scale = min(canvas["width"] / both.width, canvas["height"] / both.height)
    left, top = (canvas["width"] - scale * both.width) / 2, (canvas["height"] - scale * both.height) / 2
    place = {"x": left + scale * (box[0] + box[2]) / 2, "y": top + scale * (box[1] + box[3]) / 2}
    page.click("#canvas", position=place)  # type: ignore[arg-type]
    assert page.inner_text("#face-which") == "2 · chosen"


def test_a_video_is_played_with_its_own_times(visit: Visit, tmp_path: Path, portrait: Image.Image) -> None:
    clip = tmp_path / "face.webm"
    with VideoSink(clip, fps=4) as sink:
        for i in range(12):
            sink.write(np.asarray(portrait), time=i / 4)
    page = visit.page
    page.set_input_files("#video-file", clip)
    visit.until(lambda: visit.seen and page.is_visible("#play"))
    visit.until(lambda: page.inner_text("#clock") == "0:03 / 0:03")
    visit.until(lambda: visit.in_flight == 0)
    assert {message["faces"][0]["label"] for message in visit.seen} == {"happy"}
    times = [message["time"] for message in visit.seen]
    assert all(4 * time == pytest.approx(round(4 * time), abs=0.1) for time in times), "of the file's frames"
    page.locator("#position").fill("1")
    visit.until(lambda: visit.seen[-1]["time"] == pytest.approx(1, abs=0.3))
    assert json.loads(visit.saved("#save-jsonl").splitlines()[0])["source"] == "face.webm"


def test_a_video_that_is_played_again_is_counted_anew(visit: Visit, tmp_path: Path, portrait: Image.Image) -> None:
    clip = tmp_path / "face.webm"
    with VideoSink(clip, fps=4) as sink:
        for i in range(4):
            sink.write(np.asarray(portrait), time=i / 4)
    page = visit.page
    page.set_input_files("#video-file", clip)
    visit.until(lambda: visit.seen and page.evaluate("() => document.getElementById('file-video').ended"))
    visit.until(lambda: visit.in_flight == 0)
    seen = len(visit.seen)
    page.click("#play")
    visit.until(lambda: len(visit.seen) > seen and page.evaluate("() => document.getElementById('file-video').ended"))
    visit.until(lambda: visit.in_flight == 0)
    assert len(visit.saved("#save-jsonl").splitlines()) == len(visit.seen) - seen
    assert page.inner_text("#shares-of").endswith(", 1 face")


def test_every_frame_of_a_video_is_recognised_on_the_server(
    visit: Visit, tmp_path: Path, portrait: Image.Image
) -> None:
    clip = tmp_path / "face.webm"
    with VideoSink(clip, fps=5) as sink:
        for i in range(10):
            sink.write(np.asarray(portrait), time=i / 5)
    page = visit.page
    page.set_input_files("#video-file", clip)
    page.click("#job-start")
    page.wait_for_selector("#job-files:visible")
    assert page.inner_text("#job-text") == "All frames are done."
    assert [row["source"] for row in rows_of(visit.saved("[data-file='faces.csv']"))] == ["face.webm"] * 10
    assert len(visit.saved("[data-file='faces.jsonl']").splitlines()) == 10
    assert json.loads(visit.saved("[data-file='statistics.json']"))["frames"] == 10
    assert visit.saved("[data-file='annotated.mp4']")[4:8] == b"ftyp"
    page.click("#job-remove")
    page.wait_for_selector("#job-start:visible")


def test_a_temporal_model_smooths_where_there_is_one(visit: Visit) -> None:
    page = visit.page
    page.select_option("#labels", "fer2013")
    assert page.is_hidden("#temporal")
    page.select_option("#labels", "ferplus")
    page.check("#temporal")
    assert page.is_disabled("#smoothing")
    page.click("#start")
    visit.until(lambda: len(visit.seen) >= 3)
    start = next(json.loads(text) for text in visit.sent if isinstance(text, str))
    assert (start["type"], start["temporal"]) == ("start", True)
    page.select_option("#labels", "fer2013")
    visit.until(lambda: visit.seen[-1]["label_set"] == "fer2013")
    assert page.is_hidden("#temporal")
    page.click("#tab-pictures")
    assert page.is_hidden("#smoothing")


def test_who_chose_this_browser_is_not_sent_to_the_server_unasked(browser: Browser, service: Service) -> None:
    visit = Visit(browser, service.url)
    page = visit.open()
    page.evaluate("""() => localStorage.setItem("mien.settings", JSON.stringify({ engine: "here" }))""")
    page.reload()
    page.wait_for_selector("#notice:has-text('this page has no models for the browser')")
    assert page.input_value("#engine") == "here"
    page.select_option("#engine", "server")
    page.wait_for_function("() => document.getElementById('model').options.length > 0")
    page.wait_for_selector("#notice", state="hidden")
    visit.context.close()


def test_a_recording_without_a_known_end_has_no_slider(visit: Visit, tmp_path: Path, portrait: Image.Image) -> None:
    page = visit.page
    with VideoSink(tmp_path / "clip.webm", fps=4) as sink:
        for i in range(4):
            sink.write(np.asarray(portrait), time=i / 4)
    page.evaluate(
        """() => Object.defineProperty(document.getElementById("file-video"), "duration", { get: () => Infinity })"""
    )
    page.set_input_files("#video-file", str(tmp_path / "clip.webm"))
    page.wait_for_selector("#play:not([hidden])")
    assert page.is_hidden("#position")
    assert re.fullmatch(r"\d:\d\d", page.inner_text("#clock"))


def test_problems_are_explained_in_the_language_of_the_page(visit: Visit) -> None:
    page = visit.page
    page.click("#language")
    page.set_input_files("#picture-files", [upload("broken.png", b"\x89PNG\r\n\x1a\nno")])
    page.wait_for_selector("#problem:has-text('Unlesbares Bild: Es ist beschädigt')")
    assert "beschädigt" in page.inner_text(".gallery .wrong")
    page.click("#language")
    assert "'broken.png'" in page.inner_text("#problem")
    assert "'broken.png'" in page.inner_text(".gallery .wrong")
    visit.complaints[:] = [line for line in visit.complaints if "422" not in line]  # Chromium's own line


def test_the_detector_in_use_is_named(visit: Visit, portrait: Image.Image) -> None:
    page = visit.page
    page.set_input_files("#picture-files", [upload("face.png", png(portrait))])
    page.select_option("#detector", "auto")
    page.wait_for_selector("#detector-used:has-text('in use: Haar')")  # YuNet is not there
    page.select_option("#detector", "haar-alt")
    page.wait_for_selector("#detector-used:has-text('in use: Haar (alt)')")
    page.select_option("#detector", "whole")
    page.click("#language")
    page.wait_for_selector("#detector-used:has-text('in Gebrauch: ganzes Bild')")
    page.click("#tab-camera")
    assert page.inner_text("#detector-used") == ""


def test_a_picture_without_a_face_says_so_in_its_place(visit: Visit, portrait: Image.Image) -> None:
    page = visit.page
    blank = [upload(f"{level}.png", png(Image.new("RGB", (WIDTH, HEIGHT), (level,) * 3))) for level in (0, 200)]
    page.set_input_files("#picture-files", [*blank, upload("face.png", png(portrait))])
    page.wait_for_selector("#problem:has-text('No face found: the picture is nearly black')")
    page.click("#language")
    assert page.inner_text("#problem") == "Kein Gesicht gefunden: Das Bild ist fast schwarz"
    page.click(".gallery li:nth-child(2) button")
    visit.until(lambda: page.inner_text("#problem") == "Kein Gesicht gefunden")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#problem", state="hidden")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#problem:visible")
    page.click("#tab-camera")
    assert page.is_hidden("#problem")


def test_warnings_about_a_picture_are_shown_with_it(visit: Visit, portrait: Image.Image) -> None:
    page = visit.page

    def warn(route: Any) -> None:
        answer = route.fetch()
        answered = answer.json()
        answered["pictures"][0]["warnings"] = [
            {"code": code, "detail": f"'face.png': {code}"} for code in get_args(WarningCode)
        ]
        route.fulfill(response=answer, json=answered)

    page.route("**/v1/predict*", warn)
    page.set_input_files("#picture-files", [upload("face.png", png(portrait))])
    visit.until(lambda: "'face.png': picture-shrunk; 'face.png'" in page.inner_text("#notice-text"))
    page.click("#language")
    assert "sehr groß und wird verkleinert gelesen. " in page.inner_text("#notice-text")
    assert "face.png" not in page.inner_text("#notice-text"), "every kind is in German"
    page.click("#language")
    assert page.inner_text("#face-label") == "happy"
    record = json.loads(visit.saved("#save-jsonl"))
    assert not {"warnings", "error", "code"} & record.keys(), "a record of mien's JSON lines"
    page.click("#tab-camera")
    assert page.is_hidden("#notice")


NO_CAMERA = """() => { navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("no", "%s"); }; }"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "not allowed to use the camera"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "in use by another program"),
        ("TypeError", "did not start: no"),
    ],
)
def test_a_camera_that_does_not_start_is_explained(visit: Visit, error: str, words: str) -> None:
    visit.page.evaluate(NO_CAMERA % error)
    visit.page.click("#start")
    visit.page.wait_for_selector("#notice:visible")
    assert words in visit.page.inner_text("#notice-text")
    assert visit.page.is_visible("#start")


def test_without_https_the_way_out_is_named(browser: Browser, service: Service) -> None:
    visit = Visit(browser, service.url)
    visit.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page = visit.open()
    assert "--tls-cert" in page.inner_text("#notice-text")
    assert "ssh -L" in page.inner_text("#notice-text")
    visit.context.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "not allowed to use the camera"),
        (["--use-fake-ui-for-media-stream"], "No camera was found"),
    ],
)
def test_refused_and_missing_cameras_of_the_browser_itself(
    launch: Callable[..., Browser], service: Service, arguments: list[str], words: str
) -> None:
    browser = launch(*arguments)
    visit = Visit(browser, service.url)
    page = visit.open()
    page.click("#start")
    page.wait_for_selector("#notice:visible")
    assert words in page.inner_text("#notice-text")
    browser.close()


def test_a_server_that_went_away_is_found_again(browser: Browser) -> None:
    with serving() as service:
        visit = Visit(browser, service.url)
        page = visit.open()
        page.click("#start")
        visit.until(lambda: visit.seen)
        service.stop()
        page.wait_for_selector("#notice:visible")
        assert "does not answer" in page.inner_text("#notice-text")
        before = len(visit.seen)
        service.start()
        visit.until(lambda: len(visit.seen) > before + 2)
        assert page.is_hidden("#notice")
        assert "NaN" not in page.inner_text("body")
        visit.context.close()


def test_more_sessions_than_the_server_takes_wait_for_their_turn(browser: Browser) -> None:
    with serving(sessions=1) as service:
        first, second = Visit(browser, service.url), Visit(browser, service.url)
        first.open().click("#start")
        first.until(lambda: first.seen)
        second.open().click("#start")
        second.page.wait_for_selector("#notice:visible")
        assert "reached its maximum number of sessions" in second.page.inner_text("#notice-text")
        first.page.click("#stop")
        second.until(lambda: second.seen)
        assert second.page.is_hidden("#notice")
        first.context.close()
        second.context.close()


def test_the_token_is_asked_for_until_it_is_right(browser: Browser) -> None:
    with serving(token="open/sesame(%1)=") as service:
        visit = Visit(browser, service.url)
        page = visit.page
        page.goto(service.url)
        page.wait_for_selector("#token:visible")
        assert page.inner_text("#token-wrong") == "", "none was given yet"
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-wrong:has-text('That token is wrong.')")
        page.fill("#token", "open/sesame(%1)=")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('model').options.length > 0")
        page.click("#start")
        visit.until(lambda: visit.seen)
        assert "sesame" not in page.evaluate("() => JSON.stringify({...localStorage, ...sessionStorage})")
        service.stop()
        service.settings = replace(service.settings, token="another")
        service.start()
        page.wait_for_selector("#token-wrong:has-text('That token is wrong.')")
        visit.context.close()


def test_the_page_speaks_german_and_english_and_all_words_exist_in_both(visit: Visit) -> None:
    page = visit.page
    keys = page.evaluate("async () => Object.values((await import('./words.js')).LANGUAGES).map(Object.keys)")
    assert sorted(keys[0]) == sorted(keys[1])
    used = page.evaluate(
        "() => [...document.querySelectorAll('*')].flatMap(({ dataset: { word, label, tip } }) => [word, label, tip])"
    )
    assert {key for key in used if key} <= set(keys[0])
    assert page.get_by_role("tab", name="Camera").is_visible()
    page.click("#language")
    assert page.get_by_role("tab", name="Kamera").is_visible()
    assert page.get_attribute("html", "lang") == "de"
    assert page.inner_text("#smoothing-value") == "0,3 s"
    page.reload()
    assert page.get_by_role("button", name="Kamera starten").is_visible()


def test_german_has_an_adjective_for_every_label(visit: Visit) -> None:
    known = {label for labels in LABEL_SETS.values() for label in labels}
    specs = [model.spec for model in list_models(Path("no-models")) if model.spec is not None]
    shipped = {label for spec in specs for head in spec.heads for label in head.labels}
    names = visit.page.evaluate("async () => (await import('./words.js')).LANGUAGES.de.labels")
    assert names.keys() == known | shipped | {"uncertain"}
    assert all(name[0].islower() for name in names.values()), "German nouns, as of feelings, are capitalised"
    assert len(set(names.values())) == len(names)


CONTROLS = "button, select, input, a, canvas[role], table, progress, [role=tab], [role=region]"
NAMES = """(controls) => controls.filter((each) => each.checkVisibility()).map((each) => {
  const by = each.getAttribute("aria-labelledby");
  const name = each.getAttribute("aria-label") || (by && document.getElementById(by).textContent) ||
    [...each.labels ?? []].map((label) => label.textContent).join() || each.textContent || each.title;
  return [each.outerHTML.slice(0, 80), name.trim()];
})"""
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour, over = [255, 255, 255]) => {
    canvas.fillStyle = `rgb(${over})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = (each) => {
    const above = [];
    for (let at = each; at; at = at.parentElement) above.unshift(getComputedStyle(at).backgroundColor);
    return above.reduce((below, colour) => rgb(colour, below), [255, 255, 255]);
  };
  const light = (channels) => channels.map((c) => c / 255)
    .map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  return [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility() && !each.disabled &&
      [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((each) => {
    const below = ground(each), [a, b] = [light(rgb(getComputedStyle(each).color, below)), light(below)];
    return [each.outerHTML.slice(0, 80), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  });
}"""


def test_every_control_has_a_name_and_every_text_contrast(visit: Visit, portrait: Image.Image) -> None:
    page = visit.page
    page.set_input_files("#picture-files", [upload("face.png", png(portrait))])
    page.wait_for_function("() => document.querySelectorAll('#faces tr').length === 1")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for tab in ("pictures", "videos", "camera"):
            page.click(f"#tab-{tab}")
            page.wait_for_timeout(200)  # colours change slowly
            assert [found for found, name in page.locator(CONTROLS).evaluate_all(NAMES) if not name] == []
            assert [pair for pair in page.evaluate(CONTRASTS) if pair[1] < 4.5] == []


def test_a_key_alone_is_enough(visit: Visit) -> None:
    page = visit.page
    focused = "() => document.activeElement.id || document.activeElement.className"
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
    assert order == ["skip", "brand", "tab-camera", "language", "theme", "open-help"]
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus shows"
    page.keyboard.press("Enter")
    assert page.is_visible("#help")
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    page.locator("#tab-camera").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "tab-pictures"
    page.keyboard.press("?")
    assert page.is_hidden("#help"), "keys are switched off"


def test_a_german_phone_of_360_pixels_shows_all_without_scrolling_sideways(
    browser: Browser, service: Service, portrait: Image.Image
) -> None:
    visit = Visit(browser, service.url, viewport={"width": 360, "height": 740}, locale="de-AT")
    page = visit.open()
    assert page.get_attribute("html", "lang") == "de"
    page.set_input_files("#picture-files", [upload("face.png", png(portrait))])
    page.wait_for_function("() => document.querySelectorAll('#faces tr').length === 1")
    for tab in ("pictures", "videos", "camera"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    visit.context.close()


def test_the_theme_is_the_systems_until_it_is_flipped(visit: Visit) -> None:
    page = visit.page
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.click("#theme")
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light


def test_no_file_of_an_older_version_is_taken_from_the_cache(visit: Visit) -> None:
    with visit.page.expect_response(lambda response: response.url.endswith("/words.js")) as reload:
        visit.page.reload()
    assert reload.value.headers["cache-control"] == "no-cache"


def test_tables_quote_cells_and_disarm_formulas(visit: Visit) -> None:
    face = {
        "face": 1, "track": None, "box": [1, 2, 3, 4.5], "score": 0.9, "label": 'a,"b"', "confidence": 0.75,
        "certain": True, "probabilities": {'a,"b"': 0.75, "c": 0.25},
    }  # fmt: skip
    common = {"index": 0, "time": 0, "model": "m", "label_set": "l", "detector": "haar", "mien": "1", "schema": 1}
    records = [
        {"source": "=SUM(1).png", "note": "", "faces": [face], **common},
        {"source": "b.png", "note": "no face found", "faces": [], **common},
    ]
    text = visit.page.evaluate("async (records) => (await import('./downloads.js')).csv(records).text()", records)
    first, second = rows_of(text.encode())
    assert first["source"] == "'=SUM(1).png"
    assert (first["label"], first["y2"], first["track"], first['p_a,"b"']) == ('a,"b"', "4.5", "", "0.75")
    assert (second["note"], second["face"], second["model"]) == ("no face found", "", "m")
