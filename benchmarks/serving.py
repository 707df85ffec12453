"""Overhead of the service, and dynamic batching: CPU per request, throughput and latency (extras: web, client).

First a scene as JPEG is recognised in this process, and by a service in another one, in turns: CPU of the service per
request, relative to that in this process. Then services with and without batching answer many requests for single
faces, which the detector "whole" takes as they are, over many connections; both take turns, and every answer is
compared with the one of a serial request. The client uses sockets alone, so that it takes little of the machine.
Reads /proc, so it runs on Linux alone.

Targets: 1.15 of the CPU in this process, 1.5 of the throughput without batching, no lost or different answer. Where all
cores are busy, the second cannot be more than the CPU a request without batching / with, which is printed.

Example: python benchmarks/serving.py --model dlib-resnet --out serving.json
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from _common import PHOTO, Target, arguments, markdown, report, target_data, target_table
from mien.models.classifier import load_classifier
from mien.pixels import encode, resize
from mien.recognizer import Recognizer
from mien.sinks.records import record
from mien.sources.pictures import decode, read_picture
from mien.structures import Frame
from mien.vision.detect import load_detector

SCENE = (640, 480)
CROP_SIDE = 96
N_CROPS = 32  # different ones
ROUNDS = 3  # of the overhead
WARM_UP = 20  # requests

Answer = tuple[int, object]  # status, body


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One round of requests.

    Args:
        batching: Whether faces were classified together.
        per_second: Requests answered per second.
        cpu_ms: CPU of the service per request, in milliseconds.
        p50_ms: Median latency in milliseconds.
        p99_ms: Latency of all but a hundredth.
        faces: Faces per batch.
        lost: Requests without an answer of status 200.
        different: Answers other than that of a serial request.
    """

    batching: bool
    per_second: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    faces: float
    lost: int
    different: int


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", default="base-photos", help="a name from `mien models` (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=2000, help="of each round (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=16, help="connections (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="threads of the service; 0 for one per core")
    parser.add_argument("--rounds", type=int, default=3, help="of each service, in turns (default: %(default)s)")
    parser.add_argument("--batch-ms", type=float, default=2.0, help="window of batches (default: %(default)s)")
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        sys.exit("this benchmark reads /proc, which Linux alone has")
    photo = read_picture(PHOTO)
    overhead = _overhead(options.model, encode(Path("scene"), ".jpg", cv2.resize(photo, SCENE)))
    crops = [encode(Path("crop"), ".png", crop) for crop in _crops(photo)]
    loads = _loads(
        options.model, crops, n=options.requests, concurrency=options.concurrency, workers=options.workers,
        batch_ms=options.batch_ms, rounds=options.rounds,
    )  # fmt: skip
    ratio = _mean(loads, True, "per_second") / _mean(loads, False, "per_second")
    targets = [
        Target(what="CPU per request, service / in this process", value=overhead["ratio"], limit=1.15),
        Target(what="throughput with batching / without", value=ratio, limit=1.5, at_least=True),
        Target(what="lost or different answers", value=sum(load.lost + load.different for load in loads), limit=0),
    ]
    rows = [
        [
            "with" if load.batching else "without", f"{load.per_second:.0f}", f"{load.cpu_ms:.2f} ms",
            f"{load.p50_ms:.0f} ms", f"{load.p99_ms:.0f} ms", f"{load.faces:.1f}", str(load.lost), str(load.different),
        ]
        for load in loads
    ]  # fmt: skip
    header = ["batching", "requests/s", "CPU a request", "p50", "p99", "faces a batch", "lost", "different"]
    cpu = _mean(loads, False, "cpu_ms") / _mean(loads, True, "cpu_ms")
    print(f"CPU a request of a scene: {overhead['service_ms']:.1f} ms, in this process {overhead['here_ms']:.1f} ms")
    print(f"CPU a request of a face without batching / with, the bound of the throughput: {cpu:.2f}\n")
    report(
        f"The service, model {options.model}",
        [markdown(header, rows), target_table(targets)],
        {"overhead": overhead, "loads": [asdict(load) for load in loads], "targets": target_data(targets)},
        out=options.out, requests=options.requests, concurrency=options.concurrency,
    )  # fmt: skip


def _mean(loads: Sequence[Load], batching: bool, name: str) -> float:
    return float(np.mean([getattr(load, name) for load in loads if load.batching == batching]))


def _crops(photo: np.ndarray) -> Iterator[np.ndarray]:
    """Yield crops around the face of the photo, each a little brighter."""
    face = resize(np.ascontiguousarray(photo[60:170, 170:280]), CROP_SIDE)
    for i in range(N_CROPS):
        yield np.clip(face.astype(int) + 2 * i - N_CROPS, 0, 255).astype(np.uint8)


def _overhead(model: str, picture: bytes, n: int = 40) -> dict[str, float]:
    """Return CPU per request of a scene in milliseconds, in a service and in this process, in turns."""
    cv2.setNumThreads(1)
    recognizer = Recognizer(load_detector("haar"), load_classifier(model, threads=1))

    def here() -> str:
        frame = Frame(decode(picture), 0.0, 0, "picture")
        return json.dumps(record(frame, recognizer.recognize(frame.image), recognizer.provenance))

    here_s, service_s = [], []
    with _service(model, batch_ms=2.0, workers=1) as (port, pid):
        request = _request(picture, "image/jpeg", "detector=haar")
        asyncio.run(_ask_all(port, [request] * WARM_UP, 1))
        here()
        for _ in range(ROUNDS):
            before = time.process_time()
            for _ in range(n):
                here()
            here_s.append(time.process_time() - before)
            before = _cpu_seconds(pid)
            asyncio.run(_ask_all(port, [request] * n, 1))
            service_s.append(_cpu_seconds(pid) - before)
    ratio = float(np.median(np.array(service_s) / here_s))
    return {
        "here_ms": 1000 * float(np.median(here_s)) / n, "service_ms": 1000 * float(np.median(service_s)) / n,
        "ratio": ratio,
    }  # fmt: skip


def _loads(
    model: str, crops: Sequence[bytes], *, n: int, concurrency: int, workers: int, batch_ms: float, rounds: int
) -> list[Load]:
    requests = [_request(crop, "image/png", "detector=whole") for crop in crops]
    jobs = [i % len(crops) for i in range(n)]
    with (
        _service(model, batch_ms=0, workers=workers) as plain,
        _service(model, batch_ms=batch_ms, workers=workers) as batched,
    ):
        serial = [answer for answer, _ in asyncio.run(_ask_all(plain[0], requests, 1))]
        for port, _ in (plain, batched):
            asyncio.run(_ask_all(port, requests * 2, concurrency))
        loads = []
        for _ in range(rounds):
            for batching, (port, pid) in ((False, plain), (True, batched)):
                start, cpu, batches = time.perf_counter(), _cpu_seconds(pid), _batches(port)
                answers = asyncio.run(_ask_all(port, [requests[job] for job in jobs], concurrency))
                seconds, used = time.perf_counter() - start, _cpu_seconds(pid) - cpu
                faces, count = (b - a for a, b in zip(batches, _batches(port), strict=True))
                latencies = np.array([latency for _, latency in answers])
                loads.append(
                    Load(
                        batching=batching, per_second=n / seconds, cpu_ms=1000 * used / n,
                        p50_ms=1000 * float(np.percentile(latencies, 50)),
                        p99_ms=1000 * float(np.percentile(latencies, 99)),
                        faces=faces / count if count else 1.0,
                        lost=n - sum(status == 200 for (status, _), _ in answers),
                        different=sum(a != serial[job] for (a, _), job in zip(answers, jobs, strict=True)),
                    )
                )  # fmt: skip
    return loads


@contextmanager
def _service(model: str, *, batch_ms: float, workers: int) -> Iterator[tuple[int, int]]:
    """Run a service in another process; yield its port and process id."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, model, batch_ms, workers), daemon=True)
    process.start()
    try:
        yield ours.recv(), process.pid or 0
    finally:
        process.kill()
        process.join()


def _serve(pipe: Connection, model: str, batch_ms: float, workers: int) -> None:
    from mien.web.engine import Engine
    from mien.web.serving import Server, listen
    from mien.web.settings import ServerSettings

    cv2.setNumThreads(1)
    settings = ServerSettings(model=model, detector="whole", batch_ms=batch_ms, workers=workers, page=False)
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    Server(Engine(settings), on_start=lambda: pipe.send(port)).run(sockets=[listening])


def _request(body: bytes, kind: str, query: str) -> bytes:
    head = (
        f"POST /v1/predict?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


async def _ask_all(port: int, requests: Sequence[bytes], concurrency: int) -> list[tuple[Answer, float]]:
    """Return status, body and latency in seconds of each request; status 0 where there is no answer."""
    left, found = iter(range(len(requests))), [((0, None), 0.0)] * len(requests)

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in left:
            start = time.perf_counter()
            try:
                writer.write(requests[i])
                found[i] = await _answer(reader), time.perf_counter() - start
            except (OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(concurrency)))
    return found


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def _batches(port: int) -> tuple[float, float]:
    """Return the numbers of faces and of batches so far."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    values = dict(
        line.rsplit(" ", 1) for line in b"".join(parts).decode().splitlines() if line.startswith("mien_batch")
    )
    return float(values.get("mien_batch_faces_sum", 0)), float(values.get("mien_batch_faces_count", 0))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
