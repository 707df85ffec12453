"""The service beside a ten-line Gradio demo of the same model (extras: web, client; Gradio in a Python of its own).

Each gets the same photo, again and again, over one connection and then over several: `mien serve` by one request, the
demo by its own API, which takes three: upload, call, result. The two take turns, so that the load of the machine
cancels out, and medians of their ratios are compared. CPU is that of the server's process and its children; it is read
from /proc, so this runs on Linux alone. Both recognise with one thread of ONNX Runtime per face and answer the same
label, which is checked.

Example: python benchmarks/peers_serving.py --python ~/gradio/bin/python --photos 60 --out peers.json
(made by `python -m venv ~/gradio; ~/gradio/bin/pip install . gradio`)
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import httpx

from _common import PHOTO, arguments, markdown, report

DEMO = """\
import gradio as gr
from mien import Recognizer
from mien.models.classifier import load_classifier

recognizer = Recognizer("haar", load_classifier("{model}", threads=1))

def recognize(image):
    return [expression.to_dict() for expression in recognizer.recognize(image)]

gr.Interface(recognize, gr.Image(), gr.JSON(), api_name="recognize").launch(server_port={port})
"""
START_SECONDS = 120
Ask = Callable[[httpx.Client], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Photos answered by one server.

    Args:
        server: Its name.
        connections: Clients at once.
        per_second: Photos per second.
        cpu_ms: CPU of the server per photo, in milliseconds.
        megabytes: Resident memory at the end.
    """

    server: str
    connections: int
    per_second: float
    cpu_ms: float
    megabytes: float


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--python", default=sys.executable, help="a Python with gradio and mien (default: this one)")
    parser.add_argument("--model", default="base-photos", help="a name from `mien models` (default: %(default)s)")
    parser.add_argument("--photos", type=int, default=60, help="of each turn (default: %(default)s)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8], help="clients at once (default: 1 8)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server (default: %(default)s)")
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("this benchmark reads /proc, which Linux alone has")
    if subprocess.run([options.python, "-c", "import gradio, mien"], capture_output=True, check=False).returncode:
        sys.exit(f"{options.python} has no gradio or no mien; `pip install gradio .` there, or give another --python")
    photo = PHOTO.read_bytes()
    with _mien(options.model) as (mien, mien_url), _gradio(options.python, options.model) as (gradio, gradio_url):
        servers = {
            "mien serve": (mien, mien_url, partial(_ask_mien, photo=photo)),
            "Gradio demo": (gradio, gradio_url, partial(_ask_gradio, photo=photo)),
        }
        labels = {name: _ask_all(url, ask, 5, 1) for name, (_, url, ask) in servers.items()}  # warms up too
        if len({label for found in labels.values() for label in found}) != 1:
            sys.exit(f"the answers differ: {labels}")
        turns = [
            _turn(name, process.pid, url, ask, n=options.photos, connections=connections)
            for connections in options.connections
            for _ in range(options.rounds)
            for name, (process, url, ask) in servers.items()
        ]
    ratios = {
        f"{what}, {connections} at once": _ratio(turns, connections, key)
        for connections in options.connections
        for what, key in (("photos per second", "per_second"), ("CPU per photo", "cpu_ms"), ("memory", "megabytes"))
    }
    rows = [
        [
            turn.server,
            str(turn.connections),
            f"{turn.per_second:.1f}",
            f"{turn.cpu_ms:.1f} ms",
            f"{turn.megabytes:.0f} MB",
        ]
        for turn in turns
    ]
    report(
        f"One photo again and again, model {options.model}",
        [
            markdown(["server", "at once", "photos/s", "CPU per photo", "memory"], rows),
            markdown(["mien serve / Gradio demo", "ratio"], [[what, f"{ratio:.2f}"] for what, ratio in ratios.items()]),
        ],
        {"turns": [asdict(turn) for turn in turns], "ratios": ratios}, out=options.out, gradio=_version(options.python),
    )  # fmt: skip


def _ratio(turns: list[Turn], connections: int, key: str) -> float:
    """Return the median of mien's figures by Gradio's, turn by turn."""
    ours, theirs = (
        [getattr(turn, key) for turn in turns if turn.connections == connections and turn.server == server]
        for server in ("mien serve", "Gradio demo")
    )
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _turn(server: str, pid: int, url: str, ask: Ask, *, n: int, connections: int) -> Turn:
    cpu, start = _cpu_seconds(pid), time.perf_counter()
    _ask_all(url, ask, n, connections)
    seconds, used = time.perf_counter() - start, _cpu_seconds(pid) - cpu
    return Turn(
        server=server, connections=connections, per_second=n / seconds, cpu_ms=1000 * used / n,
        megabytes=sum(map(_memory, _tree(pid))) / 1e6,
    )  # fmt: skip


def _ask_all(url: str, ask: Ask, n: int, connections: int) -> list[str]:
    with ThreadPoolExecutor(connections) as pool:
        shares = [n // connections + (i < n % connections) for i in range(connections)]
        return [label for labels in pool.map(partial(_ask_several, url, ask), shares) for label in labels]


def _ask_several(url: str, ask: Ask, n: int) -> list[str]:
    with httpx.Client(base_url=url, timeout=60) as client:
        return [ask(client) for _ in range(n)]


def _ask_mien(client: httpx.Client, *, photo: bytes) -> str:
    answer = client.post("/v1/predict", content=photo, headers={"content-type": "image/png"}).raise_for_status()
    return str(answer.json()["pictures"][0]["faces"][0]["label"])


def _ask_gradio(client: httpx.Client, *, photo: bytes) -> str:
    (path,) = client.post("/gradio_api/upload", files={"files": ("photo.png", photo)}).raise_for_status().json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    event = client.post("/gradio_api/call/recognize", json={"data": data}).raise_for_status().json()["event_id"]
    text = client.get(f"/gradio_api/call/recognize/{event}").raise_for_status().text  # server-sent events
    (answer,) = json.loads(text.split("event: complete\ndata: ")[1])
    return str(answer[0]["label"])


@contextmanager
def _mien(model: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = ["-m", "mien", "serve", "--port", "0", "--model", model, "--detector", "haar"]
    with _running([sys.executable, *words], dict(os.environ)) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+:(\d+)", process.stdout.readline())
        if found is None:
            sys.exit("mien serve did not start")
        yield process, f"http://127.0.0.1:{found[1]}"


@contextmanager
def _gradio(python: str, model: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with httpx.Client() as client, tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        demo = Path(folder, "demo.py")
        demo.write_text(DEMO.format(model=model, port=port), encoding="utf-8")
        own = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}
        with _running([python, str(demo)], {**os.environ, **own}) as process:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
            while True:
                try:
                    client.get(url)
                    break
                except httpx.TransportError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        sys.exit("the demo of Gradio did not start")
                    time.sleep(0.2)
            yield process, url


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(deeper for child in children for deeper in _tree(int(child)))]


def _cpu_seconds(pid: int) -> float:
    """Return the CPU that a process and its descendants have used."""
    used = 0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        used += sum(map(int, fields[11:15]))  # user and system, and those of children that ended
    return used / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _version(python: str) -> str:
    code = "import importlib.metadata as m; print(m.version('gradio'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
