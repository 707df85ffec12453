"""Many files by one process, by several, and by Ray: processor time of the whole tree of processes, and wall time.

The same job of `mien predict --parts` runs in turns: by one process with its own threads, by one with one thread, by
pools of 1 and 2 processes, by Ray on a cluster that is there already with 1 and 2 tasks at a time, and by a Ray that is
started for the job. The pictures are drawn faces of 48 × 48, which take the detector "whole", or those of a folder,
repeated. Reads /proc, so it runs on Linux alone. Ratios of wall times mean nothing where other work takes the cores:
the load before and after is printed.

Targets, to one process: 1.1 of the processor time for pools, 1.35 for Ray; 0.6 of the wall time for two processes, also
to one with one thread.

Example: python benchmarks/scaling.py --files 2000 --rounds 2 --out scaling.json
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event, Thread

from _common import Target, arguments, markdown, report, target_data, target_table
from mien.data.synthetic import draw_faces
from mien.pixels import write_picture
from mien.sources.paths import list_files

KINDS = ("one", "one thread", "pool 1", "pool 2", "cluster 1", "cluster 2", "ray 1", "ray 2")
TICK = os.sysconf("SC_CLK_TCK")
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: processes whose parents end stay in the tree
SAMPLE_SECONDS = 0.2


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--files", type=int, default=2000, help="number of pictures (default: %(default)s)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="a folder of pictures, repeated")
    parser.add_argument("--detector", default="whole", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--shard", type=int, default=256, help="pictures per shard (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of them (default: %(default)s)")
    parser.add_argument("--run", nargs=3, help="run one job and nothing else: KIND PICTURES ADDRESS")
    given = parser.parse_args()
    if given.run:
        run_job(*given.run, detector=given.detector, shard=given.shard)
        return
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    kinds = given.kinds.split(",")
    load = os.getloadavg()[0]
    costs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, _cluster(needed=any("cluster" in kind for kind in kinds)) as address:
        _pictures(Path(folder), given.files, given.pictures)
        tree = Tree()
        for _ in range(given.rounds):
            for kind in kinds:
                options = ["--detector", given.detector, "--shard", str(given.shard)]
                command = [sys.executable, __file__, "--run", kind, folder, address, *options]
                costs[kind].append(tree.cost(partial(subprocess.run, command, check=True)))
                print(f"{kind}: {costs[kind][-1][0]:.1f} s CPU, {costs[kind][-1][1]:.1f} s", file=sys.stderr)
    cpu, wall = ({kind: median(cost[i] for cost in costs[kind]) for kind in kinds} for i in (0, 1))
    rows = [
        [kind, f"{cpu[kind]:.1f}", f"{cpu[kind] / cpu[kinds[0]]:.2f}", f"{wall[kind]:.1f}",
         f"{wall[kind] / wall[kinds[0]]:.2f}"]
        for kind in kinds
    ]  # fmt: skip
    targets = list(_targets(cpu, wall)) if set(KINDS) == set(kinds) else []
    header = ["", "CPU s", f"to {kinds[0]}", "wall s", f"to {kinds[0]}"]
    report(
        f"{given.files} pictures", [markdown(header, rows), *([target_table(targets)] if targets else [])],
        {"costs": costs, "targets": target_data(targets)}, out=given.out, detector=given.detector, rounds=given.rounds,
        load=f"{load:.1f} to {os.getloadavg()[0]:.1f}",
    )  # fmt: skip


def _targets(cpu: dict[str, float], wall: dict[str, float]) -> Iterator[Target]:
    for kind, limit in {"pool 1": 1.1, "pool 2": 1.1, "cluster 1": 1.35, "cluster 2": 1.35}.items():
        yield Target(what=f"CPU of {kind} to one process", value=cpu[kind] / cpu["one"], limit=limit)
    for other in ("one", "one thread"):
        yield Target(what=f"wall of pool 2 to {other}", value=wall["pool 2"] / wall[other], limit=0.6)


def run_job(kind: str, pictures: str, address: str, *, detector: str, shard: int) -> None:
    """Run the job in this process, as the command does."""
    import cv2

    from mien import Recognizer, cores
    from mien.cluster import Ray
    from mien.collection import recognize_each
    from mien.shards import run, write_parts

    def isolated(job, shards, recognizer, *, selection, progress):  # type: ignore[no-untyped-def]
        pieces = [piece for shard in shards for piece in shard.pieces()]
        results = recognize_each(pieces, recognizer, selection=selection, isolated=True)
        yield from write_parts(job, shards, results, recognizer.provenance, progress=progress)

    if kind == "one thread":
        cores.use_one_core()
        cv2.setNumThreads(1)
    name, _, number = kind.partition(" ")
    workers = int(number) if number.isdecimal() else 1
    engine = {"cluster": Ray(address or "auto", workers=workers), "ray": Ray("local", workers=workers)}.get(name)
    with tempfile.TemporaryDirectory() as folder:
        for _ in run(
            [pictures], Path(folder, "job"), Recognizer(detector), shard_size=shard, workers=workers,
            engine=isolated if kind == "pool 1" else engine,
        ):  # fmt: skip
            pass


@contextmanager
def _cluster(*, needed: bool) -> Iterator[str]:
    """Yield the address of a Ray on this machine, with two cores."""
    if not needed:
        yield ""
        return
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def _pictures(folder: Path, n: int, source: Path | None) -> None:
    if source is None:
        for i, image in enumerate(draw_faces(n, seed=0).images):
            write_picture(folder / f"{i:06}.png", image.repeat(3, axis=-1) if image.ndim == 3 else image)
        return
    files: Sequence[Path] = list_files(source)
    for i in range(n):
        file = files[i % len(files)]
        os.symlink(file.absolute(), folder / f"{i:06}{file.suffix}")


class Tree:
    """Adds up the processor time of all processes that descend from this one, those of the past too.

    Times of children that ended are no help: some parents of Ray's don't wait for theirs.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}  # by number and start of a process

    def cost(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return processor and wall seconds of some work that other processes do."""
        self._sample()
        before, start, done = sum(self._seconds.values()), time.monotonic(), Event()
        thread = Thread(target=self._watch, args=(done,))
        thread.start()
        try:
            work()
            wall = time.monotonic() - start
            time.sleep(3)  # what is still ending
        finally:
            done.set()
            thread.join()
        return sum(self._seconds.values()) - before, wall

    def _watch(self, done: Event) -> None:
        while not done.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        parents, times = {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            pid = int(path.parent.name)
            parents[pid] = int(fields[1])
            times[pid] = (int(fields[19]), (int(fields[11]) + int(fields[12])) / TICK)
        for pid, (started, seconds) in times.items():
            above = parents[pid]
            while above in parents and above != os.getpid():
                above = parents[above]
            if above == os.getpid():
                self._seconds[pid, started] = seconds


if __name__ == "__main__":
    main()
