"""Recognition in the browser gives Python's results, and its site works without a network."""

import base64
import functools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from commands import error_of
from detectors import yunet_file
from mien import Live, Recognizer, read_picture
from mien.errors import MienError, OutputError
from mien.models.classifier import load_classifier
from mien.models.store import list_models
from mien.sinks.records import record
from mien.sinks.statistics import Statistics
from mien.structures import Box, Face, Frame, ImageArray
from mien.vision.crop import crop_faces
from mien.vision.yunet import YuNetDetector
from mien.web.browser import RUNTIME_FILES, runs_in_browsers, runtime_folder, write_site

ROOT = Path(__file__).parents[2]
HARNESS = Path(__file__).parent / "harness.js"
PICTURE = ROOT / "docs" / "images" / "astronaut.png"
CARTOONS = ROOT / "docs" / "images" / "cartoons.jpg"
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
NAMES = [model.name for model in list_models(Path("/nowhere")) if model.spec and runs_in_browsers(model.spec)]

Stream = list[tuple[ImageArray, float]]  # images, times in seconds


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    """ONNX Runtime as `make` puts it into the virtual environment, unless another place is named."""
    with pytest.MonkeyPatch.context() as patch:
        installed = Path(sys.prefix) / "onnxruntime-web"
        if "MIEN_ORT_WEB" not in os.environ and installed.is_dir():
            patch.setenv("MIEN_ORT_WEB", str(installed))
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, runtime: None) -> Path:
    try:
        runtime_folder(fetch=False)
    except MienError:
        pytest.skip("needs ONNX Runtime for browsers: scripts/npm-packages .venv")
    target = tmp_path_factory.mktemp("static") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_YUNET", str(yunet_file()))
        return write_site(target, models=["base-photos", *set(NAMES) - {"base-photos"}])


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with serving(site) as root:
        yield root


class Handler(SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_: Any) -> None: ...


class IsolatedHandler(Handler):
    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def serving(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """Serve a folder, and yield its address; afterwards nothing answers there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Any]]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    with playwright.sync_playwright() as started:
        yield lambda *args: started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *args])


@pytest.fixture(scope="module")
def chromium(launch: Callable[..., Any]) -> Iterator[Any]:
    browser = launch("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def modules(chromium: Any, address: str) -> Iterator[Any]:
    """A page with the modules of the site in `mien`: use(model) sets `mien.origin`, image(url) decodes a picture."""
    page = chromium.new_page()
    page.goto(f"{address}LICENSES.txt")
    page.evaluate(HARNESS.read_text(encoding="utf-8"))
    yield page
    page.close()


def as_url(image: ImageArray) -> str:
    png = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def crops(*sides: int) -> list[ImageArray]:
    """The astronaut's face as crops of several sizes, in colour."""
    image = read_picture(PICTURE)[60:180, 165:285]
    return [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for side in sides]


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_of_crops_are_those_of_python(modules: Any, name: str) -> None:
    classifier = load_classifier(name)
    head = classifier.spec.labels.name
    given = crops(classifier.spec.preprocess.size, 61, 96, 120)
    found = modules.evaluate(
        """async ([model, head, urls]) => {
            await mien.use(model, head, 0);
            return mien.origin.classifier.predict(await Promise.all(urls.map(mien.image)), head);
        }""",
        [name, head, [as_url(crop) for crop in given]],
    )
    expected = classifier.predict_proba(given)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4 if name == "ferg" else 1e-5)
    np.testing.assert_allclose(found, expected, atol=0.01)  # resized: pixels may differ by a level of 255


def posed(turn: float, size: float, place: tuple[float, float] = (221, 123)) -> Face:
    """Return the astronaut's face, turned by an angle in degrees, resized and moved to a place."""
    cos, sin = size * np.cos(np.radians(turn)), size * np.sin(np.radians(turn))
    points = np.array([(-21, -21), (26, -20), (-1, 2), (-22, 20), (19, 21)]) @ [[cos, sin], [-sin, cos]] + place
    return Face(Box(178, 63, 268, 176), 1.0, points.astype(np.float32))


def test_crops_of_faces_are_those_of_python(modules: Any) -> None:
    image = read_picture(PICTURE)
    faces = [posed(0, 1), posed(25, 1), posed(-140, 1.3), posed(0, 0.3), posed(10, 4), posed(0, 1, (10, 500))]
    faces += [posed(0, 0)]  # all points in one place: cropped by its box
    found = modules.evaluate(
        """async ([url, faces]) => {
            const image = await mien.image(url);
            return faces.map((face) => mien.crop(image, face)).map(({ data, width }) => [[...data], width]);
        }""",
        [as_url(image), [{"box": astuple(face.box), "landmarks": np.array(face.landmarks).tolist()} for face in faces]],
    )
    expected = crop_faces(image, faces)
    assert [len(crop) for crop in expected] == [120, 120, 156, 48, 256, 120, 116]
    for (data, width), crop in zip(found, expected, strict=True):
        assert np.abs(np.reshape(data, (width, -1, 4))[..., :3] - crop.astype(int)).max() <= 1


def test_faces_of_a_picture_are_those_of_python(modules: Any) -> None:
    image = read_picture(PICTURE)
    recognizer = Recognizer(YuNetDetector(yunet_file()))
    for turned in (image, np.ascontiguousarray(np.rot90(image)), image[40:200, 150:300]):
        expected = record(Frame(turned, 0.0, 0, "x"), recognizer.recognize(turned), recognizer.provenance)
        found = modules.evaluate(
            """async (url) => {
                await mien.use("base-photos", "ferplus", 0);
                return mien.recognize(await mien.image(url), "x", 1, mien.origin);
            }""",
            as_url(turned),
        )
        assert found.keys() == expected.keys()
        assert [face["label"] for face in found["faces"]] == [face["label"] for face in expected["faces"]] == ["happy"]
        for mine, theirs in zip(found["faces"], expected["faces"], strict=True):
            assert mine.keys() == theirs.keys()
            np.testing.assert_allclose(mine["box"], theirs["box"], atol=0.3)
            assert mine["confidence"] == pytest.approx(theirs["confidence"], abs=0.005)


# The faces of YuNet by outputs for two boxes of 10.5 pixels' side: at 0.2 with score 1, and at x with 0.9.
TWO_BOXES = """async (x) => {
    const { YuNet } = await import("/here/faces.js");
    const outputs = {};
    for (const [stride, n] of [[8, 16], [16, 4], [32, 1]]) {
        for (const [kind, size] of [["cls", 1], ["obj", 1], ["bbox", 4], ["kps", 10]]) {
            outputs[`${kind}_${stride}`] = { data: new Float32Array(n * size) };
        }
    }
    outputs.cls_8.data.set([1, 0.9]);
    outputs.obj_8.data.set([1, 0.9]);
    const centre = (place) => (place + 10.5 / 2) / 8, size = Math.log(10.5 / 8); // in cells of 8 pixels
    outputs.bbox_8.data.set([centre(0.2), centre(0.2), size, size, centre(x) - 1, centre(0.2), size, size]);
    const yunet = new YuNet({ inputNames: ["x"], run: async () => outputs });
    const image = { data: new Uint8ClampedArray(32 * 32 * 4), width: 32, height: 32, channels: 4 };
    return (await yunet.detect(image)).length;
}"""


@pytest.mark.parametrize(("x", "n"), [(5.9, 1), (6.1, 2)])
def test_boxes_overlap_by_whole_pixels_as_in_opencv(modules: Any, x: float, n: int) -> None:
    boxes = [[0, 0, 10, 10], [int(x), 0, 10, 10]]
    assert len(cv2.dnn.NMSBoxes(boxes, [1.0, 0.9], 0.6, 0.3)) == n
    assert modules.evaluate(TWO_BOXES, x) == n


@pytest.mark.parametrize("scale", [1, 2])
def test_faces_of_a_group_are_those_of_python(modules: Any, scale: int) -> None:
    group = read_picture(CARTOONS)[50:180]  # a row of the sheet: a drawn person with seven expressions
    recognizer = Recognizer(YuNetDetector(yunet_file()), min_confidence=0.5)
    expected = record(Frame(group, 0.0, 0, "x", scale), recognizer.recognize(group), recognizer.provenance)
    assert {face["certain"] for face in expected["faces"]} == {True, False}
    assert len({face["label"] for face in expected["faces"]}) >= 4
    found = modules.evaluate(
        """async ([url, scale]) => {
            await mien.use("base-photos", "ferplus", 0, 0.5);
            return mien.recognize(await mien.image(url), "x", scale, mien.origin);
        }""",
        [as_url(group), scale],
    )
    assert {**found, "mien": expected["mien"]} == {**expected, "faces": found["faces"]}
    for mine, theirs in zip(found["faces"], expected["faces"], strict=True):
        assert mine == {
            **theirs,
            "box": pytest.approx(theirs["box"], abs=0.3 * scale),
            "score": pytest.approx(theirs["score"], abs=0.005),
            "confidence": pytest.approx(theirs["confidence"], abs=0.005),
            "probabilities": pytest.approx(theirs["probabilities"], abs=0.005),
        }


def swaying() -> Stream:
    """The astronaut swaying in front of the camera, with a pause in which she is hidden, and the next take."""
    image = read_picture(PICTURE)[:300, 60:380]
    frames = [np.roll(image, round(12 * np.sin(i / 3)), axis=1) for i in range(24)]
    hidden = np.zeros_like(image)
    return [(frame if not 12 <= i < 15 else hidden, i / 12) for i, frame in enumerate(frames)] + [(image, 0.5)]


def changing() -> Stream:
    """A drawn person whose expression changes twice, and then another one, at the other side of the picture."""
    sheet = read_picture(CARTOONS)
    angry, happy, surprised, other = (
        sheet[y : y + 116, x : x + 116] for x, y in ((195, 42), (422, 42), (652, 42), (78, 500))
    )
    frames = []
    for i in range(24):
        image = np.zeros((240, 320, 3), np.uint8)
        if i < 18:
            image[60:176, 10:126] = (angry, happy, surprised)[i // 6]
        else:
            image[60:176, 190:306] = other
        frames.append((image, i / 12))
    return frames


@pytest.mark.parametrize(("stream", "labels"), [(swaying, {"happy"}), (changing, {"angry", "happy", "surprise"})])
def test_a_stream_has_the_tracks_and_statistics_of_python(
    modules: Any, stream: Callable[[], Stream], labels: set[str]
) -> None:
    live = Live(Recognizer(YuNetDetector(yunet_file())))
    statistics = Statistics(live.recognizer.provenance)
    expected = []
    for index, (image, time) in enumerate(stream()):
        result = live.recognize(Frame(image, time, index, "live"))
        statistics.write(result.frame, result.expressions)
        expected.append(record(result.frame, result.expressions, live.recognizer.provenance))
    faces = [face for frame in expected for face in frame["faces"]]
    assert ({face["label"] for face in faces}, {face["track"] for face in faces}) == (labels, {1, 2})
    found, counted = modules.evaluate(
        """async (frames) => {
            await mien.use("base-photos", "ferplus", 0.3);
            const live = new mien.Live(mien.origin);
            const seen = [];
            for (const [url, time] of frames) seen.push(await live.see(await mien.image(url), time));
            return [seen, live.statistics()];
        }""",
        [[as_url(image), time] for image, time in stream()],
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert [face["track"] for face in mine["faces"]] == [face["track"] for face in theirs["faces"]]
        assert mine["note"] == theirs["note"]
        for one, other in zip(mine["faces"], theirs["faces"], strict=True):
            np.testing.assert_allclose(one["box"], other["box"], atol=0.5)
            for key in ("probabilities", "raw"):
                assert one[key] == pytest.approx(other[key], abs=0.01)
    plain = statistics.as_dict()
    assert {**counted, "mien": plain["mien"], "timeline": 0} == {
        **plain, "timeline": 0, "expressions": pytest_approx(plain["expressions"]), "by_track": counted["by_track"],
    }  # fmt: skip
    assert [track["faces"] for track in counted["by_track"]] == [track["faces"] for track in plain["by_track"]]  # type: ignore[attr-defined]
    assert counted["timeline"]["faces"] == plain["timeline"]["faces"]  # type: ignore[index]


def pytest_approx(nested: Any) -> Any:
    """Return what equals a dict of dicts of numbers, but for the third digit."""

    class Near(dict[str, Any]):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, dict) and all(
                other[key] == pytest.approx(value, abs=2e-3) for key, value in self.items()
            )

        __hash__ = None  # type: ignore[assignment]

    return Near(nested)


N_THREADS = "async () => (await import('/here/ort/ort.wasm.min.mjs')).env.wasm.numThreads"


def test_four_threads_of_an_isolated_page_give_the_same_probabilities(chromium: Any, modules: Any, site: Path) -> None:
    predict = """async (url) => {
        await mien.use("model2020", "fer2013", 0);
        return mien.origin.classifier.predict([await mien.image(url)], "fer2013");
    }"""
    url = as_url(crops(48)[0])
    with serving(site, IsolatedHandler) as root:
        page = chromium.new_page()
        page.add_init_script("Object.defineProperty(navigator, 'hardwareConcurrency', { value: 8 })")
        page.goto(f"{root}LICENSES.txt")
        page.evaluate(HARNESS.read_text(encoding="utf-8"))
        found = page.evaluate(predict, url)
        assert (page.evaluate(N_THREADS), modules.evaluate(N_THREADS)) == (4, 1)
        page.close()
    np.testing.assert_allclose(found, modules.evaluate(predict, url), atol=1e-6)


# A model on WebAssembly and one on the card, by a clock of their own: which of them answers, and what.
TRIAL = """async ({ value, ms, lostAt, there, hangs }) => {
    const { FastModel } = await import("/here/gpu.js");
    const now = performance.now, timeout = setTimeout, used = [], answers = [];
    let clock = 0;
    if (hangs) globalThis.setTimeout = (work) => timeout(work, 1); // the limit of a trial is soon over
    performance.now = () => clock;
    const model = (name, p, duration, last) => ({
        inputNames: ["x"], outputNames: ["p"],
        run: async () => {
            used.push(name);
            if (name === "card" && hangs) return new Promise(() => {});
            if (used.filter((one) => one === name).length > last) throw new Error("device lost");
            clock += duration;
            return { p: { data: [p, 1 - p] } };
        },
    });
    const card = there ? async () => model("card", value, ms, lostAt) : null;
    const fast = new FastModel(model("wasm", 0.25, 10, Infinity), new Uint8Array(8), async () => card);
    for (let i = 0; i < 20; i += 1) answers.push((await fast.run({ x: null })).p.data[0]);
    [performance.now, globalThis.setTimeout] = [now, timeout];
    return [used, answers];
}"""
CARD = {"value": 0.2501, "ms": 5, "lostAt": 1000, "there": True, "hangs": False}


@pytest.mark.parametrize(
    ("card", "last"),
    [
        (CARD, "card"),
        ({**CARD, "value": 0.26}, "wasm"),
        ({**CARD, "value": None}, "wasm"),
        ({**CARD, "ms": 15}, "wasm"),
        ({**CARD, "lostAt": 0}, "wasm"),
        ({**CARD, "lostAt": 6}, "wasm"),
        ({**CARD, "hangs": True}, "wasm"),
        ({**CARD, "there": False}, "wasm"),
    ],
    ids=["alike and sooner", "another answer", "no number", "later", "fails at once", "is lost", "hangs", "none"],
)
def test_a_stream_runs_on_the_graphics_card_where_it_answers_alike_and_sooner(
    modules: Any, card: dict[str, Any], last: str
) -> None:
    used, answers = modules.evaluate(TRIAL, card)
    assert used[:10] == ["wasm"] * 10
    assert used[-1] == last
    assert len(answers) == 20
    assert all(answer in (0.25, 0.2501) for answer in answers), "no wrong answer is shown"


def test_without_a_graphics_card_nothing_is_fetched_for_it(modules: Any) -> None:
    requests: list[str] = []
    modules.on("request", lambda request: requests.append(request.url))
    assert modules.evaluate("async () => (await import('/here/gpu.js')).load()") is None
    assert not any("jspi" in url for url in requests)


def test_webgpu_gives_the_probabilities_of_webassembly(launch: Callable[..., Any], address: str) -> None:
    browser = launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    page = browser.new_page()
    page.goto(f"{address}LICENSES.txt")
    page.evaluate(HARNESS.read_text(encoding="utf-8"))
    found = page.evaluate(
        """async (url) => {
            const open = await (await import("/here/gpu.js")).load(() => true);
            if (!open) return null;
            const { Classifier } = await import("/here/classifier.js");
            await mien.use("model2020", "fer2013", 0);
            const file = new Uint8Array(await (await fetch("/here/models/model2020.onnx")).arrayBuffer());
            const { specs } = await (await fetch("/here/site.json")).json();
            const card = new Classifier(await open(file), specs.model2020), crops = [await mien.image(url)];
            return Promise.all([card, mien.origin.classifier].map((one) => one.predict(crops, "fer2013")));
        }""",
        as_url(crops(48)[0]),
    )
    browser.close()
    if found is None:
        pytest.skip("needs a Chromium with WebGPU")
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_the_site_works_without_a_network_after_one_visit(chromium: Any, site: Path) -> None:
    context = chromium.new_context(permissions=["camera"])
    page = context.new_page()
    problems: list[str] = []
    outside: list[str] = []
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    with serving(site) as root:
        page.on(
            "request", lambda request: request.url.startswith((root, "blob:", "data:")) or outside.append(request.url)
        )
        page.goto(root)
        page.wait_for_function("() => navigator.serviceWorker.controller !== null", timeout=60_000)
    page.reload()  # the server is gone
    assert page.evaluate("() => crossOriginIsolated"), "without headers of the server"
    page.locator("#picture-files").set_input_files(str(PICTURE))
    page.wait_for_function("() => document.body.innerText.includes('%')", timeout=90_000)
    assert "happy" in page.locator("body").inner_text().lower()
    assert page.inner_text("#detector-used") == "in use: YuNet"
    assert (problems, outside) == ([], [])
    context.close()


BREAK = """() => { OffscreenCanvasRenderingContext2D.prototype.getImageData = () => {
    throw new WebAssembly.RuntimeError("unreachable"); }; }"""
CRASHING = "postMessage({ id: 0 }); onmessage = () => { throw new Error('again'); };"


def test_recognition_that_crashes_is_started_again_once(chromium: Any, address: str) -> None:
    context = chromium.new_context(permissions=["camera"], service_workers="block")
    page = context.new_page()

    def wait_for_frames(least: int) -> int:
        shown = "() => parseInt(document.getElementById('shares-of').textContent)"
        page.wait_for_function(f"(least) => ({shown})() >= least", arg=least, timeout=90_000)
        return int(page.evaluate(shown))

    def break_worker() -> None:
        (worker,) = [worker for worker in page.workers if worker.url.endswith("/here/worker.js")]
        worker.evaluate(BREAK)

    page.goto(address)
    page.click("#start")
    seen = wait_for_frames(1)
    break_worker()
    page.wait_for_selector("#notice-text:has-text('crashed, and was started again')")
    wait_for_frames(seen + 5)
    page.route("**/here/worker.js", lambda route: route.fulfill(body=CRASHING, content_type="text/javascript"))
    break_worker()
    page.wait_for_selector("#notice-text:has-text('crashed twice. Start again')")
    page.unroute("**/here/worker.js")
    page.click("#stop")
    page.click("#restart")
    wait_for_frames(1)
    assert page.is_hidden("#notice")
    context.close()


def test_a_site_replaces_only_a_site(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_YUNET", str(yunet_file()))
    assert write_site(tmp_path / "site", models=["model2020"]) == write_site(tmp_path / "site", models=["base"])
    assert [path.name for path in (tmp_path / "site" / "here" / "models").iterdir()] == ["base.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    others = (tmp_path / "site" / ".git" / "HEAD", tmp_path / "site" / "CNAME")
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "site")
    write_site(tmp_path / "link", models=["model2020"])
    assert [path.name for path in (tmp_path / "site" / "here" / "models").iterdir()] == ["model2020.onnx"]
    assert [other.read_text() for other in others] == ["mine", "mine"]
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "link").unlink()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("…", encoding="utf-8")
    with pytest.raises(OutputError, match="holds other files"):
        write_site(tmp_path / "letters")


def test_the_service_worker_keeps_every_file(site: Path) -> None:
    text = (site / "sw.js").read_text(encoding="utf-8")
    files, later = (json.loads(text.split(f"{name} = ")[1].split(";")[0]) for name in ("FILES", "LATER"))
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {*files, *later} == {"./", *there} - {"sw.js", "_headers"}
    assert sorted(later) == sorted(f"here/ort/{name}" for name in RUNTIME_FILES if "jspi" in name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nosuch"], "no model 'nosuch'"),
        (["--model", "base", "--model", "base"], "named twice"),
        (["--model", "x.onnx"], "no model file x.onnx"),
    ],
)
def test_a_bad_model_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(capsys, "page", "--out", tmp_path / "site", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_runtime_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RUNTIME_FILES:
        (tmp_path / name).write_bytes(b"other")
    monkeypatch.setenv("MIEN_ORT_WEB", str(tmp_path))
    with pytest.raises(MienError, match="missing or another one"):
        runtime_folder()


def test_nothing_is_fetched_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_ORT_WEB", raising=False)
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MienError, match="MIEN_OFFLINE is set"):
        runtime_folder()
