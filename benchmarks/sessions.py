"""The cost of live sessions over a WebSocket, compared with `Live` in a process, and what they leave behind.

The photo of one face sways in front of a camera, as JPEGs of 640x480 pixels. The same JPEGs are decoded and seen by
`Live` in this process, and by `mien serve` in another one, to which a client sends them with two under way. Both use
one thread of ONNX Runtime. Runs alternate, and medians are compared. CPU time is that of the server's process, the
client's is left out. Then one session sees many frames, and clients come and go, every other one without a goodbye;
memory is read from /proc, so this runs on Linux. At the end Ctrl+C ends the server while a session is open.

Targets: 1.15 times the CPU time per frame, 0.6 times the frames per second, 20 MB of growth, 2 s to end.

Example: python benchmarks/sessions.py --frames 10000 --clients 200 --out sessions.json
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from statistics import median
from time import perf_counter, process_time, sleep

import cv2
from websockets.sync.client import ClientConnection, connect

from _common import PHOTO, Target, arguments, markdown, report, target_data, target_table
from mien.live import Live
from mien.machine.bench import HEIGHT, WIDTH, fit_image
from mien.models.classifier import load_classifier
from mien.pixels import to_bgr
from mien.recognizer import Recognizer
from mien.sources.pictures import decode, read_picture
from mien.structures import Frame
from mien.vision.haar import HaarDetector

FPS = 30  # by the clock of the frames
SWAY = 12  # pixels to each side, in two seconds
QUALITY = 80  # of the JPEGs, as the page sends them
WARM_UP = 100  # frames before anything is measured
UNDER_WAY = 2
LEAVING = 2  # s for the last clients' frames and connections to end
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """Frames seen one after the other.

    Args:
        cpu_ms: CPU time per frame.
        fps: Frames per second.
    """

    cpu_ms: float
    fps: float


def jpegs() -> list[bytes]:
    """Return two seconds of a camera."""
    image = to_bgr(fit_image(read_picture(PHOTO), width=WIDTH, height=HEIGHT))
    shifts = [round(SWAY * (1 - abs(i - FPS) / FPS * 2)) for i in range(2 * FPS)]
    moved = (cv2.copyMakeBorder(image, 0, 0, max(x, 0), max(-x, 0), cv2.BORDER_REPLICATE) for x in shifts)
    views = (frame[:, max(-x, 0) : max(-x, 0) + WIDTH] for frame, x in zip(moved, shifts, strict=True))
    return [cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for view in views]


def in_process(pictures: list[bytes], recognizer: Recognizer, n: int) -> Run:
    live = Live(recognizer)
    for i in range(n + WARM_UP):
        if i == WARM_UP:
            began, cpu = perf_counter(), process_time()
        live.recognize(Frame(decode(pictures[i % len(pictures)]), i / FPS, i, "live"))
    return Run(1000 * (process_time() - cpu) / n, n / (perf_counter() - began))


class Server:
    """`mien serve` in a process of its own.

    Args:
        model: Name of the model.
        detector: Name of the detector.
    """

    def __init__(self, model: str, detector: str = "haar") -> None:
        command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--model", model, "--detector", detector]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+:(\d+)", self.process.stdout.readline())
        if found is None:
            sys.exit("the server did not start")
        self.port = int(found[1])

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    def n_threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def n_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @contextmanager
    def session(self) -> Iterator[ClientConnection]:
        with connect(f"ws://127.0.0.1:{self.port}/v1/live", compression=None) as socket:
            socket.send('{"type": "start"}')
            assert json.loads(socket.recv())["type"] == "ready"
            yield socket

    def see(self, pictures: list[bytes], n: int) -> Run:
        """Let one session see n frames."""
        with self.session() as socket:
            for i in range(n + WARM_UP + UNDER_WAY):
                if i == WARM_UP + UNDER_WAY:
                    began, cpu = perf_counter(), self.cpu_seconds()
                if i >= UNDER_WAY:
                    assert json.loads(socket.recv())["type"] == "result"
                if i < n + WARM_UP:
                    socket.send(struct.pack("<Id", i, i / FPS) + pictures[i % len(pictures)])
            return Run(1000 * (self.cpu_seconds() - cpu) / n, n / (perf_counter() - began))

    def come_and_go(self, pictures: list[bytes], n: int) -> None:
        """Let n clients see a frame each; every other one leaves without a goodbye, while a second frame is seen."""
        for i in range(n):
            with self.session() as socket:
                socket.send(struct.pack("<Id", 0, 0) + pictures[0])
                socket.recv()
                if i % 2:
                    socket.send(struct.pack("<Id", 1, 1 / FPS) + pictures[1])
                    socket.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                    socket.socket.close()

    def interrupt(self) -> float:
        """End the server as Ctrl+C does, while a session is open; return the seconds that it takes."""
        with suppress(Exception), self.session():
            began = perf_counter()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            return perf_counter() - began
        return float("inf")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=10_000, metavar="N", help="frames of the long session")
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="clients that come and go")
    parser.add_argument("--pairs", type=int, default=4, metavar="N", help="runs of each kind that are compared")
    parser.add_argument("--run", type=int, default=500, metavar="N", help="frames of such a run")
    parser.add_argument("--model", default="base", metavar="NAME")
    args = parser.parse_args()
    pictures = jpegs()
    recognizer = Recognizer(HaarDetector(), load_classifier(args.model, threads=1))
    server = Server(args.model)
    try:
        pairs = [
            (in_process(pictures, recognizer, args.run), server.see(pictures, args.run)) for _ in range(args.pairs)
        ]
        before = server.memory()
        server.see(pictures, args.frames)
        after_frames = server.memory()
        threads, files = server.n_threads(), server.n_files()
        server.come_and_go(pictures, args.clients)
        after_clients = server.memory()
        sleep(LEAVING)
        left = server.n_threads() - threads, server.n_files() - files
        seconds = server.interrupt()
    finally:
        server.process.kill()
    alone, served = ([pair[i] for pair in pairs] for i in range(2))
    cpu = [median(run.cpu_ms for run in runs) for runs in (alone, served)]
    fps = [median(run.fps for run in runs) for runs in (alone, served)]
    growth = [(now - then) / MEGABYTE for then, now in ((before, after_frames), (after_frames, after_clients))]
    targets = [
        Target(what="CPU time per frame, server / process", value=cpu[1] / cpu[0], limit=1.15),
        Target(what="frames per second, server / process", value=fps[1] / fps[0], limit=0.6, at_least=True),
        Target(what=f"growth over {args.frames:,} frames", value=growth[0], limit=20, unit="MB"),
        Target(what=f"growth over {args.clients:,} clients", value=growth[1], limit=20, unit="MB"),
        Target(what="threads left by clients", value=left[0], limit=0),
        Target(what="open files left by clients", value=left[1], limit=0),
        Target(what="Ctrl+C with an open session", value=seconds, limit=2, unit="s"),
    ]
    rows = [[name, f"{c:.1f} ms", f"{f:.1f}"] for name, c, f in zip(("process", "server"), cpu, fps, strict=True)]
    rows += [
        [f"pair {i}", f"{one.cpu_ms:.1f}, {other.cpu_ms:.1f} ms", f"{one.fps:.1f}, {other.fps:.1f}"]
        for i, (one, other) in enumerate(pairs, start=1)
    ]
    memory = {"before": before, "after_frames": after_frames, "after_clients": after_clients}
    report(
        "Live sessions", [markdown(["", "CPU time per frame", "frames per second"], rows), target_table(targets)],
        {"targets": target_data(targets), "memory": memory}, out=args.out, model=args.model,
    )  # fmt: skip


if __name__ == "__main__":
    main()
