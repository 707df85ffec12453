"""Recognition in the browser against Python: the same probabilities, and how much longer it takes.

A static site is written, served on this machine and opened in Chromium without a window. Each model answers the same
drawn faces on WebAssembly and on ONNX Runtime in Python, with one thread each, in turns. Both are compared with the
graph in float64, by onnx's reference implementation. Photos are recognised from the same decoded pixels by both.

Example: python benchmarks/browser.py --photos photos > docs/reports/browser.md
"""

from __future__ import annotations

import base64
import functools
import gzip
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from _common import PHOTO, ROOT, Target, arguments, markdown, report, target_data, target_table
from mien.data.synthetic import draw_faces
from mien.live import Live
from mien.models.classifier import ExpressionClassifier, load_classifier
from mien.models.preprocess import preprocess
from mien.models.store import list_models
from mien.recognizer import Recognizer
from mien.sources.paths import list_files
from mien.sources.pictures import read_picture
from mien.structures import FloatArray, Frame, ImageArray
from mien.vision.yunet import YuNetDetector
from mien.web.browser import runs_in_browsers, write_site

HARNESS = ROOT / "tests" / "web" / "harness.js"
CHROMIUM = "/usr/bin/chromium"
FACES, ROUNDS, FRAMES = 64, 3, 60
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
EXACT = {"ferg": 1e-4}  # largest difference of a probability that is wanted; 1e-5 for other models
SAME_FACES = 37 / 38  # least share of faces in photos with the same label


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A model in the browser and in Python: largest difference of probabilities, between them and of each from float64,
    other labels, ms per face."""

    model: str
    difference: float
    browser_error: float
    python_error: float
    other_labels: int
    browser_ms: float
    python_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo: faces in Python and in the browser, those with the same label, largest difference, ms."""

    name: str
    faces: int
    found: int
    same: int
    difference: float
    browser_ms: float
    python_ms: float


class Handler(SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_: Any) -> None: ...


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photos to recognise; only ours if not given")
    options = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sys.exit("needs playwright: pip install playwright")
    models = [model.name for model in list_models(Path("/nowhere")) if model.spec and runs_in_browsers(model.spec)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        site = write_site(Path(folder) / "site", models=models)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/LICENSES.txt")
        page.evaluate(HARNESS.read_text(encoding="utf-8"))
        speeds = [measure_model(page, name) for name in models]
        paths = list_files(options.photos, glob="*.[jp][pn]g") if options.photos else [PHOTO]
        photos = [measure_photo(page, path) for path in paths]
        rate, own_rate = measure_stream(page)
        files = [file.read_bytes() for file in (site / "here" / "ort").iterdir()]
        size, compressed = sum(map(len, files)), sum(len(gzip.compress(file)) for file in files)
        browser.close()
    targets = [
        *(Target(what=f"{s.model}: difference", value=s.difference, limit=EXACT.get(s.model, 1e-5)) for s in speeds),
        Target(
            what="faces in photos with the same label",
            value=sum(photo.same for photo in photos) / sum(photo.faces for photo in photos),
            limit=round(SAME_FACES, 3),
            at_least=True,
        ),
    ]
    print("# Recognition in the browser\n")
    print(f"{__doc__.partition('Example')[0].strip()}\n")
    print(
        f"A stream of 640×480 with one face runs at {rate:.1f} frames per second, in Python at {own_rate:.1f}, with the"
    )
    print("default model and YuNet.")
    print(f"ONNX Runtime for browsers has {size / 1e6:.1f} MB, {compressed / 1e6:.1f} MB compressed by gzip.\n")
    report(
        "Browser and Python",
        [speed_table(speeds), photo_table(photos), target_table(targets)],
        {
            "models": [asdict(s) for s in speeds],
            "photos": [asdict(p) for p in photos],
            "frames_per_second": rate,
            "frames_per_second_python": own_rate,
            "targets": target_data(targets),
        },
        out=options.out,
        chromium=browser_version(),
    )


def measure_model(page: Any, name: str) -> Speed:
    classifier = load_classifier(name, threads=1)
    head, size = classifier.spec.labels.name, classifier.spec.preprocess.size
    drawn = draw_faces(FACES, size=size, seed=1)
    faces = [np.repeat(image[:, :, :1], 3, axis=2) for image in drawn.images]
    page.evaluate("async ([model, head]) => mien.use(model, head, 0)", [name, head])
    page.evaluate("async (urls) => { mien.crops = await Promise.all(urls.map(mien.image)); }", [*map(as_url, faces)])
    ask = "async (head) => mien.origin.classifier.predict(mien.crops, head)"
    found, expected = np.array(page.evaluate(ask, head)), classifier.predict_proba(faces)
    exact = exact_probabilities(classifier, faces)
    one = "async (head) => { const began = performance.now(); for (const crop of mien.crops) "
    one += "await mien.origin.classifier.predict([crop], head); return performance.now() - began; }"
    times = [(page.evaluate(one, head), ms(lambda: each(classifier, faces))) for _ in range(ROUNDS)]
    return Speed(
        model=name,
        difference=float(np.abs(found - expected).max()),
        browser_error=float(np.abs(found - exact).max()),
        python_error=float(np.abs(expected - exact).max()),
        other_labels=int((found.argmax(1) != expected.argmax(1)).sum()),
        browser_ms=min(browser for browser, _ in times) / FACES,
        python_ms=min(python for _, python in times) / FACES,
    )


def exact_probabilities(classifier: ExpressionClassifier, faces: Sequence[ImageArray]) -> FloatArray:
    """Return the probabilities of the graph in float64."""
    graph = onnx.load(classifier.path)
    for weights in graph.graph.initializer:
        widen(weights)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOATS:
                attribute.i = onnx.TensorProto.DOUBLE
            widen(attribute.t)
    batch = preprocess(faces, classifier.spec.preprocess)
    names = [output.name for output in graph.graph.output]
    outputs = ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: batch})
    return dict(zip(names, outputs, strict=True)).get(classifier.spec.labels.name, outputs[0])


def widen(tensor: onnx.TensorProto) -> None:
    """Make a tensor of floats one of doubles; others stay."""
    if tensor.data_type in FLOATS:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def each(classifier: Any, faces: Sequence[ImageArray]) -> None:
    for face in faces:
        classifier.predict_proba([face])


def measure_photo(page: Any, path: Path) -> Photo:
    image, recognizer = read_picture(path), Recognizer(YuNetDetector())
    page.evaluate("async () => mien.use('base-photos', 'ferplus', 0)")
    page.evaluate("async (url) => { mien.photo = await mien.image(url); }", as_url(image))
    see = "async () => { const began = performance.now(); "
    see += "const { faces } = await mien.recognize(mien.photo, 'x', 1, mien.origin); "
    see += "return [faces, performance.now() - began]; }"
    seen, browser_ms = page.evaluate(see)
    expected = recognizer.recognize(image)
    differences, same = [0.0], 0
    for expression in expected:
        box = expression.face.box
        near = min(seen, key=lambda face: abs(face["box"][0] - box.x1) + abs(face["box"][1] - box.y1), default=None)
        if near is not None:
            same += near["label"] == expression.label
            ours = np.array(list(near["probabilities"].values()))
            differences.append(float(np.abs(ours - expression.prediction.probabilities).max()))
    return Photo(
        name=path.name,
        faces=len(expected),
        found=len(seen),
        same=same,
        difference=max(differences),
        browser_ms=browser_ms,
        python_ms=ms(lambda: recognizer.recognize(image)),
    )


def measure_stream(page: Any) -> tuple[float, float]:
    """Return the frames per second of a stream of a swaying face in the browser and in Python, camera and drawing
    apart."""
    image = cv2.resize(read_picture(PHOTO)[:384], (640, 480), interpolation=cv2.INTER_AREA)
    images = [np.roll(image, round(10 * np.sin(i / 2)), axis=1) for i in range(10)]
    rate = page.evaluate(
        """async ([urls, n]) => {
            await mien.use("base-photos", "ferplus", 0.3);
            const frames = await Promise.all(urls.map(mien.image));
            const live = new mien.Live(mien.origin);
            const began = performance.now();
            for (let i = 0; i < n; i += 1) await live.see(frames[i % frames.length], i / 15);
            return (1000 * n) / (performance.now() - began);
        }""",
        [[*map(as_url, images)], FRAMES],
    )
    live = Live(Recognizer(YuNetDetector(), load_classifier("base-photos", threads=1)))
    frames = [Frame(images[i % len(images)], i / 15, i, "live") for i in range(FRAMES)]
    return float(rate), 1000 * FRAMES / ms(lambda: list(live.stream(frames)))


def ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def as_url(image: ImageArray) -> str:
    png = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def browser_version() -> str:
    import subprocess

    return subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


def speed_table(speeds: Sequence[Speed]) -> str:
    rows = [
        [
            s.model, f"{s.difference:.1e}", f"{s.browser_error:.1e}", f"{s.python_error:.1e}", str(s.other_labels),
            f"{s.browser_ms:.1f}", f"{s.python_ms:.1f}", f"{s.browser_ms / s.python_ms:.1f}",
        ]
        for s in speeds
    ]  # fmt: skip
    header = [
        "model", "largest difference", "browser from float64", "Python from float64", "other label",
        "ms per face, browser", "Python", "ratio",
    ]  # fmt: skip
    return markdown(header, rows)


def photo_table(photos: Sequence[Photo]) -> str:
    rows = [
        [
            p.name, str(p.faces), str(p.found), str(p.same), f"{p.difference:.1e}", f"{p.browser_ms:.0f}",
            f"{p.python_ms:.0f}",
        ]
        for p in photos
    ]  # fmt: skip
    header = ["photo", "faces, Python", "browser", "same label", "largest difference", "ms, browser", "Python"]
    return markdown(header, rows)


if __name__ == "__main__":
    main()
