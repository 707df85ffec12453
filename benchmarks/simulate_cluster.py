"""What a job over very many pictures takes: a simulation of its shards and workers with costs measured here.

Workers take shards one after the other. A shard's time is the sum of its pictures' (gamma distributed, by their mean
and spread) and a cost of its own; slow workers take longer. A machine fails at a rate, all its workers lose the shards
they are at, which others take, and start again after its repair. Not in the model: cores of a machine that slow each
other down, and storage, whose load is printed instead.

Costs are measured by a run in one process on --photos, copies of a photo at 256 to 1280 pixels if there are none, and
those of planning on empty files. Then a job runs in two processes, whose CPU and wall time are compared with the
simulation's; the wall time means something on an idle machine only. So the processes also sleep as long as drawn shards
take, which gives the same wall time on a busy machine. `tests/machine/test_simulate_cluster.py` compares the simulation
with closed forms. Each cost can be given instead.

Example: python benchmarks/simulate_cluster.py --photos photos/ --out cluster.json
"""

from __future__ import annotations

import heapq
import math
import os
import resource
import sys
import tempfile
import tracemalloc
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, pstdev
from time import monotonic, perf_counter, process_time, sleep

import numpy as np

from _common import PHOTO, arguments, markdown, report
from mien.workers import Crash, in_order

CORES = (16, 160, 1600)
SIZES = {10**6: (16, 256, 4096), 10**9: (256, 4096)}  # shard sizes by number of pictures
MANY = 100_000  # shards, above which one seed is exact enough
RUNS = 3  # of the job that is compared with the simulation
HOUR, MB, GB = 3600, 10**6, 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Pictures to recognise, in seconds of one core.

    Args:
        pictures: Their number.
        shard: Pictures per shard.
        picture_s: Mean time of a picture.
        spread: Standard deviation of a picture's time, relative to the mean.
        shard_s: Time of a shard besides its pictures: its part is written.
    """

    pictures: int
    shard: int
    picture_s: float
    spread: float = 0.0
    shard_s: float = 0.0

    @property
    def shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.pictures / self.shard)

    def times(self, rng: np.random.Generator) -> list[float]:
        """Draw the time of each shard: a sum of gamma distributed times is one too."""
        sizes = np.full(self.shards, self.shard)
        sizes[-1] = self.pictures - self.shard * (self.shards - 1)
        scale = self.picture_s * self.spread**2
        drawn = sizes * self.picture_s if scale == 0 else rng.gamma(sizes / self.spread**2, scale)
        return list((drawn + self.shard_s).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Machines and what can go wrong with them.

    Args:
        workers: Number of processes, with one core each.
        per_machine: How many of them share a machine.
        startup_s: From the start of a worker to its first picture.
        slow_share: Share of the workers that are slow.
        slow_factor: Their time relative to the others'.
        failures_per_hour: Of a machine.
        repair_s: From a failure to the start of its workers.
    """

    workers: int
    per_machine: int = 16
    startup_s: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    failures_per_hour: float = 0.0
    repair_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished job.

    Args:
        wall_s: From the start of the workers to the last part.
        lost_s: Time of workers on shards that a failure cut off.
        failures: Number of shards that were cut off.
        efficiency: Time of all pictures, relative to the time of all workers.
    """

    wall_s: float
    lost_s: float
    failures: int
    efficiency: float


class _Failures:
    """The times at which a machine fails, drawn as far as they are asked for."""

    def __init__(self, cluster: Cluster, rng: np.random.Generator) -> None:
        self._cluster, self._rng = cluster, rng
        self._times: list[float] = []

    def after(self, time: float) -> float:
        """Return the first failure after a time."""
        if self._cluster.failures_per_hour == 0:
            return math.inf
        while not self._times or self._times[-1] <= time:
            up = self._times[-1] + self._cluster.repair_s if self._times else 0.0
            self._times.append(up + self._rng.exponential(HOUR / self._cluster.failures_per_hour))
        return self._times[bisect(self._times, time)]


def simulate(
    work: Work, cluster: Cluster, *, seed: int = 0, times: Sequence[float] = (), starts: Sequence[float] = ()
) -> Outcome:
    """Run a job: each worker that is free takes the next shard, those that a failure gave back first.

    Failures of a machine that is being repaired, or starts its workers, are left out.

    Args:
        work: What is done.
        cluster: Who does it.
        seed: Of all that is drawn.
        times: Time of each shard; drawn if empty.
        starts: Time at which each worker is ready; that of the cluster if empty.
    """
    rng = np.random.default_rng(seed)
    todo = list(times or work.times(rng))[::-1]
    n_slow = round(cluster.slow_share * cluster.workers)
    machines = [_Failures(cluster, rng) for _ in range(math.ceil(cluster.workers / cluster.per_machine))]
    free = [(starts[worker] if starts else cluster.startup_s, worker) for worker in range(cluster.workers)]
    heapq.heapify(free)
    back: list[tuple[float, float]] = []  # time at which a shard is given back, and its time
    end, lost, n_failures = 0.0, 0.0, 0
    while todo or back:
        time, worker = heapq.heappop(free)
        if back and (back[0][0] <= time or not todo):
            given_back, takes = heapq.heappop(back)
            time = max(time, given_back)
        else:
            takes = todo.pop()
        done = time + takes * (cluster.slow_factor if worker < n_slow else 1.0)
        failure = machines[worker // cluster.per_machine].after(time)
        if failure < done:
            n_failures, lost = n_failures + 1, lost + failure - time
            heapq.heappush(back, (failure, takes))
            heapq.heappush(free, (failure + cluster.repair_s + cluster.startup_s, worker))
        else:
            end = max(end, done)
            heapq.heappush(free, (done, worker))
    useful = work.pictures * work.picture_s
    return Outcome(wall_s=end, lost_s=lost, failures=n_failures, efficiency=useful / (cluster.workers * end))


def mean_outcome(work: Work, cluster: Cluster, *, seeds: int) -> Outcome:
    """Return the mean of several simulations."""
    found = [simulate(work, cluster, seed=seed) for seed in range(1 if work.shards > MANY else seeds)]
    return Outcome(
        wall_s=fmean(o.wall_s for o in found), lost_s=fmean(o.lost_s for o in found),
        failures=round(fmean(o.failures for o in found)), efficiency=fmean(o.efficiency for o in found),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of a job, by which it is extrapolated.

    Args:
        picture_s: CPU time of a picture in one process with one thread.
        spread: Its standard deviation, relative to it.
        shard_s: CPU time of writing an empty part.
        startup_s: CPU time of a worker until its first picture.
        picture_bytes: Bytes of a picture file.
        part_bytes: Bytes of a picture's rows in a part, as CSV.
        plan_s: CPU time of planning a file.
        plan_bytes: Memory that a file takes while it is planned.
        manifest_bytes: Bytes of a file in the manifest.
    """

    picture_s: float
    spread: float
    shard_s: float
    startup_s: float
    picture_bytes: float
    part_bytes: float
    plan_s: float
    plan_bytes: float
    manifest_bytes: float


def draw_photos(folder: Path, n: int) -> Path:
    """Write copies of a photo at sizes from 256 to 1280 pixels."""
    import cv2

    from mien.pixels import write_picture
    from mien.sources.pictures import read_picture

    image = read_picture(PHOTO)
    for i, side in enumerate(np.geomspace(256, 1280, n).astype(int).tolist()):
        write_picture(folder / f"{i:04}.jpg", np.asarray(cv2.resize(image, (side, side)), np.uint8))
    return folder


def children_s() -> float:
    """Return the CPU time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(photos: Path, *, files: int, startup_files: Sequence[Path]) -> Costs:
    """Measure all costs; in this process, but for the start of workers."""
    from mien.collection import recognize_files
    from mien.recognizer import Recognizer
    from mien.shards import opened, run
    from mien.sources.paths import list_files

    recognizer = Recognizer()
    paths = list_files(photos)
    list(recognize_files(paths[:3], recognizer))  # warm
    times = []
    for path in paths:
        began = process_time()
        list(recognize_files(path, recognizer))
        times.append(process_time() - began)
    began = children_s()
    list(recognize_files(startup_files, recognizer, workers=len(startup_files)))
    small = times[paths.index(startup_files[0])]
    startup_s = max((children_s() - began) / len(startup_files) - small, 0.0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        list(run([photos], folder / "job", recognizer, shard_size=len(paths)))
        part_bytes = sum(part.stat().st_size for part in (folder / "job" / "parts").iterdir())
        (folder / "empty").mkdir()
        for i in range(files):
            (folder / "empty" / f"a picture with a name of usual length {i:08}.jpg").touch()
        began = process_time()
        with opened([folder / "empty"], folder / "plan", recognizer):
            plan_s = process_time() - began
        manifest = (folder / "plan" / "manifest.jsonl").stat().st_size
        tracemalloc.start()
        with opened([folder / "empty"], folder / "plan", recognizer):
            peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        shard_s = cost_of_a_part(folder / "part.csv", recognizer)
    return Costs(
        picture_s=fmean(times), spread=pstdev(times) / fmean(times), shard_s=shard_s, startup_s=startup_s,
        picture_bytes=fmean(path.stat().st_size for path in paths), part_bytes=part_bytes / len(paths),
        plan_s=plan_s / files, plan_bytes=peak / files, manifest_bytes=manifest / files,
    )  # fmt: skip


def cost_of_a_part(path: Path, recognizer: object, n: int = 20) -> float:
    """Return the CPU time of writing an empty part."""
    from mien.recognizer import Recognizer
    from mien.sinks.parts import open_part, part_columns

    assert isinstance(recognizer, Recognizer)
    columns = part_columns(recognizer.provenance)
    began = process_time()
    for _ in range(n):
        with open_part(path, columns, within=path.parent):
            pass
    return (process_time() - began) / n


def compare(photos: Path, costs: Costs, *, workers: int, shard: int) -> list[list[str]]:
    """Run a job in several processes; return its times beside the simulation's."""
    from mien.recognizer import Recognizer
    from mien.shards import run

    with tempfile.TemporaryDirectory() as temporary:
        recognizer = Recognizer()
        began, cpu = perf_counter(), process_time() + children_s()
        done = list(run([photos], Path(temporary) / "job", recognizer, workers=workers, shard_size=shard))
        wall, cpu = perf_counter() - began, process_time() + children_s() - cpu
    work = work_of(sum(one.files for one in done), shard, costs)
    cluster = Cluster(workers=workers, startup_s=costs.startup_s)
    expected_cpu = sum(work.times(np.random.default_rng(0))) + workers * costs.startup_s
    expected_wall = simulate(work, cluster).wall_s
    return [
        ["CPU time, s", f"{expected_cpu:.1f}", f"{cpu:.1f}", f"{expected_cpu / cpu:.2f}"],
        ["wall time, s", f"{expected_wall:.1f}", f"{wall:.1f}", f"{expected_wall / wall:.2f}"],
        ["cores in use", f"{expected_cpu / expected_wall:.2f}", f"{cpu / wall:.2f}", ""],
    ]


def nap(seconds: float) -> Iterator[tuple[int, float, float]]:
    """Sleep, and yield the process, the begin and the end."""
    began = monotonic()
    sleep(seconds)
    yield os.getpid(), began, monotonic()


def napping() -> Callable[[float], Iterator[tuple[int, float, float]]]:
    """Return what a process does that only sleeps."""
    return nap


def rehearse(*, workers: int, shards: int) -> list[list[str]]:
    """Let the pool's processes sleep as long as drawn shards take; return its wall time beside the simulation's.

    It takes no core, so it is exact on a busy machine too. The clock starts when the first process is ready.
    """
    work = Work(pictures=shards, shard=1, picture_s=1.0, spread=0.9)
    times = work.times(np.random.default_rng(1))
    found = [nap for _, nap in in_order(napping, times, workers=workers) if not isinstance(nap, Crash)]
    zero = min(began for _, began, _ in found)
    starts = {pid: min(began - zero for of, began, _ in found if of == pid) for pid, _, _ in found}
    wall = max(end for _, _, end in found) - zero
    expected = simulate(work, Cluster(workers=len(starts)), times=times, starts=list(starts.values())).wall_s
    return [
        [f"wall time of {workers} processes that sleep, s", f"{expected:.1f}", f"{wall:.1f}", f"{expected / wall:.2f}"]
    ]


def work_of(pictures: int, shard: int, costs: Costs) -> Work:
    """Return the work of pictures at measured costs."""
    return Work(pictures=pictures, shard=shard, picture_s=costs.picture_s, spread=costs.spread, shard_s=costs.shard_s)


def duration(seconds: float) -> str:
    """Return a duration in its unit: "45 min", "3.2 h", "12 d"."""
    for unit, size, least in (("y", 365.25 * 24 * HOUR, 1), ("d", 24 * HOUR, 2), ("h", HOUR, 2), ("min", 60, 2)):
        if seconds >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=Path, help="folder of pictures to measure on")
    parser.add_argument("--files", type=int, default=100_000, help="empty files to plan")
    parser.add_argument("--seeds", type=int, default=3, help="simulations of each case")
    parser.add_argument("--slow-share", type=float, default=0.05, help="share of workers that are slow")
    parser.add_argument("--slow-factor", type=float, default=2.0, help="their time relative to the others'")
    parser.add_argument("--failures", type=float, default=0.01, help="failures per machine and hour")
    parser.add_argument("--repair", type=float, default=300.0, help="seconds until a failed machine is back")
    for name in Costs.__slots__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, help="in place of the measured cost")
    given = parser.parse_args()
    if given.files < 1 or given.seeds < 1:
        sys.exit("--files and --seeds are 1 or more")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import cv2

    from mien import cores
    from mien.sources.paths import list_files

    cores.use_one_core()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        photos = given.photos or draw_photos(Path(temporary), 60)
        paths = list_files(photos)
        smallest = sorted(paths, key=lambda path: path.stat().st_size)[:2]
        costs = measure(photos, files=given.files, startup_files=smallest)
        shard = max(len(paths) // 8, 1)
        check = [row for _ in range(RUNS) for row in compare(photos, costs, workers=2, shard=shard)]
        check += [row for _ in range(RUNS) for row in rehearse(workers=4, shards=60)]
    own = {name: value for name in Costs.__slots__ if (value := getattr(given, name)) is not None}
    costs = replace(costs, **own)
    cases, rows = [], []
    for pictures, sizes in SIZES.items():
        for shard in sizes:
            for workers in CORES:
                cluster = Cluster(
                    workers=workers, startup_s=costs.startup_s, slow_share=given.slow_share,
                    slow_factor=given.slow_factor, failures_per_hour=given.failures, repair_s=given.repair,
                )  # fmt: skip
                found = mean_outcome(work_of(pictures, shard, costs), cluster, seeds=given.seeds)
                cases.append({"pictures": pictures, "shard": shard, "cores": workers, **asdict(found)})
                rows.append([
                    f"{pictures:,}", str(shard), f"{workers:,}", duration(found.wall_s), f"{found.efficiency:.2f}",
                    duration(found.lost_s), f"{found.failures:,}",
                    f"{pictures * costs.picture_bytes / found.wall_s / MB:,.0f}",
                ])  # fmt: skip
    sizes_table = markdown(
        ["pictures", "core-hours", "pictures GB", "parts GB", "manifest MB", "planning", "planning, memory GB"],
        [
            [
                f"{n:,}", f"{n * costs.picture_s / HOUR:,.0f}", f"{n * costs.picture_bytes / GB:,.0f}",
                f"{n * costs.part_bytes / GB:,.2f}", f"{n * costs.manifest_bytes / MB:,.0f}",
                duration(n * costs.plan_s), f"{n * costs.plan_bytes / GB:,.2f}",
            ]
            for n in SIZES
        ],
    )  # fmt: skip
    units = {"picture_s": 1e3, "shard_s": 1e3, "plan_s": 1e6}
    tables = [
        markdown(
            ["cost", "measured"],
            [[name + {1e3: " × 1000", 1e6: " × 1,000,000"}.get(units.get(name, 1), ""),
              f"{value * units.get(name, 1):.3g}"] for name, value in asdict(costs).items()],
        ),
        markdown(["a job, in 2 processes", "simulated", "measured", "ratio"], check),
        sizes_table,
        markdown(
            ["pictures", "shard", "cores", "wall time", "efficiency", "lost, core time", "shards lost", "reads MB/s"],
            rows,
        ),
    ]  # fmt: skip
    report(
        "A million pictures, a billion", tables, {"costs": asdict(costs), "cases": cases}, out=given.out,
        failures_per_machine_hour=given.failures, slow=f"{given.slow_share:g} x {given.slow_factor:g}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
