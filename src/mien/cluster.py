"""Jobs on a cluster: Ray runs the shards of `shards.run` on many machines (extra: ray). See docs/decisions/0049."""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mien import __version__, cores
from mien.collection import Failure, FileResult, longest_silence, recognize_each
from mien.errors import ConfigError, MienError, ServiceError, needs
from mien.files import printable
from mien.models.runtime import Session
from mien.quiet import silent_libraries
from mien.recognizer import Recognizer
from mien.shards import Done, Job, Shard, write_parts
from mien.sources.media import FrameSelection
from mien.structures import Progress, check_count

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["Ray"]

TRIES = 5  # of a shard whose task ends with its process or its machine
CONNECT_SECONDS = 5.0
# What a client of HTTP/2 says first, with no settings: RFC 9113, 3.4 and 6.5. Ray's head speaks gRPC over it.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
SETTINGS = b"\4"  # the kind of the frame that a server says first
MAX_WORKERS = 10_000
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass(frozen=True, slots=True)
class Ray:
    """Ray as the engine of `shards.run`: a task per shard, on the machines of a cluster.

    All machines need the same version of mien and Ray, and see the folder of the job and the files under the same
    paths. The model and the detector travel with the job. A shard whose process or machine is lost is recognised again,
    in a process of its own, so that a file that crashes it becomes a row with the reason.

    Where the caller has called `ray.init`, that connection is used, and stays.

    Args:
        address: "local", to start Ray on this machine until the job ends; "auto", the cluster to which this machine
            belongs, or that in $RAY_ADDRESS; or "HOST:PORT", of a cluster's head.
        workers: Most tasks at a time, each of which takes one core; as many as the cluster has cores when None.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: No such address, or workers is out of range.

    Example:
        >>> for done in run(["archive"], "expressions", Recognizer(), engine=Ray("auto")):
        ...     print(done.shard, done.files, done.rows, done.errors)
    """

    address: str = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with needs("a cluster", "ray"):
            import ray  # noqa: F401
        if self.address not in ("local", "auto"):
            _host_and_port(self.address)
        if self.workers is not None:
            check_count("workers", self.workers)
            if not 1 <= self.workers <= MAX_WORKERS:
                raise ConfigError(f"workers is {self.workers}; expected 1 to {MAX_WORKERS:,}")

    def __call__(
        self,
        job: Job,
        shards: Sequence[Shard],
        recognizer: Recognizer,
        *,
        selection: FrameSelection,
        progress: Progress | None,
    ) -> Iterator[Done]:
        """Recognise shards and yield them as they are done; see `shards.run`.

        Raises:
            ServiceError: The cluster cannot be reached, or one of its machines has another mien or does not see a file.
            MienError: A shard stopped its process or its machine too often; all others are done.
        """
        if not shards:
            return
        n_files, n_done, lost = sum(len(shard.files) for shard in shards), 0, []
        packed = _packed((recognizer, selection))
        with _connected(self):
            if progress is not None:
                progress(0, n_files)
            for shard, done in _Tasks(job, packed, self.workers).run(shards):
                if isinstance(done, Exception):
                    lost.append((shard, done))
                    continue
                n_done += len(shard.files)
                if progress is not None:
                    progress(n_done, n_files)
                yield done
        if lost:
            shard, reason = lost[0]
            others = f" and {len(lost) - 1} more" if lost[1:] else ""
            raise MienError(
                f"shard {shard.number}{others} stopped its process or machine {TRIES} times ({_line(reason)}); the "
                "others are done: look at its files in manifest.jsonl, or run again"
            )


@dataclass(slots=True)
class _Tries:
    shard: Shard
    ended: int = 0  # those that ended with their process or machine


class _Tasks:
    """Submits shards as tasks and collects their results."""

    def __init__(self, job: Job, packed: bytes, workers: int | None) -> None:
        import ray

        folder = Path(os.getcwd(), job.folder)
        self._job = pickle.dumps(replace(job, folder=folder, shards=[], todo=[], failures=()))
        self._job_file = str(folder / "job.json")
        self._workers = workers
        self._packed = ray.put(packed)
        self._submit = ray.remote(num_cpus=1, max_retries=0)(_task()).remote
        self._running: dict[ObjectRef[Any], _Tries] = {}

    def run(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, Done | Exception]]:
        """Yield each shard when it is done, or lost for good."""
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayTaskError, WorkerCrashedError

        waiting = deque(map(_Tries, shards))
        while waiting or self._running:
            room = self._room() - len(self._running)
            for _ in range(min(room, len(waiting))):
                self._start(waiting.popleft())
            ready, _ = ray.wait(list(self._running), num_returns=1)
            tries = self._running.pop(ready[0])
            try:
                result, caught = ray.get(ready[0])
            except RayTaskError as error:
                if isinstance(error.cause, MienError):
                    raise error.cause from None
                raise
            except (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError) as error:
                tries.ended += 1
                if tries.ended < TRIES:
                    waiting.appendleft(tries)
                else:
                    yield tries.shard, error
                continue
            if isinstance(result, str):
                self._explain(result, caught)
                waiting.appendleft(tries)
                continue
            for message in caught:
                warnings.warn(message, stacklevel=3)
            yield tries.shard, result

    def _room(self) -> int:
        """Return how many tasks may be submitted at a time: enough to occupy machines that join."""
        import ray

        return self._workers or max(2 * int(ray.cluster_resources().get("CPU", 0)), 1)

    def _start(self, tries: _Tries) -> None:
        start = os.getcwd()
        there = (os.path.join(start, piece.path) for piece in tries.shard.pieces() if os.path.exists(piece.path))
        probe_files = [self._job_file, *islice(there, 1)]  # a machine that sees these sees all
        work = pickle.dumps((tries.shard, start, tries.ended > 0))
        self._running[self._submit(__version__, probe_files, self._job, work, [self._packed])] = tries

    def _explain(self, kind: str, details: Sequence[str]) -> None:
        """Raise the error of a machine that cannot do its part; return if a picture is gone on this machine too."""
        node, *found = details
        if kind == "version":
            raise ServiceError(
                f"the machine '{node}' has {found[0]}, this one mien {__version__}; install the same version on all"
            )
        if found[0] == self._job_file or os.path.exists(found[0]):
            raise ServiceError(
                f"the machine '{node}' does not see '{printable(Path(found[0]))}'; share the folders of the job and of "
                "the files with all machines, under the same paths"
            )


def _task() -> Callable[..., tuple[Done | str, list[str]]]:
    """Return the function of a task.

    As an inner function it travels as code, so that it runs where mien is missing or another one.
    """

    def recognize(
        version: str, probe_files: list[str], job: bytes, work: bytes, packed: list[Any]
    ) -> tuple[Any, list[str]]:
        import os
        import socket

        try:
            import mien

            found = f"mien {mien.__version__}"
        except ModuleNotFoundError:
            found = "no mien"
        if found != f"mien {version}":
            return "version", [socket.gethostname(), found]
        for probe_file in probe_files:
            if not os.path.exists(probe_file):
                return "unseen", [socket.gethostname(), probe_file]
        from mien.cluster import see_shard

        return see_shard(job, work, packed[0])

    return recognize


def see_shard(job: bytes, work: bytes, packed: ObjectRef[bytes]) -> tuple[Done, list[str]]:
    """Recognise a shard in a task and write its part; return the warnings too."""
    cores.use_one_core()
    import cv2

    cv2.setNumThreads(1)
    recognizer, selection = _unpacked(packed)
    shard, folder, isolated = pickle.loads(work)
    with suppress(OSError):
        os.chdir(folder)  # relative paths stay what they are in the rows of the other machines
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = recognize_each(shard.pieces(), recognizer, selection=selection, isolated=isolated)
        longest = longest_silence(shard.pieces(), selection)
        watched = results if isolated else _watched(results, seconds=longest)
        (done,) = write_parts(pickle.loads(job), [shard], watched, recognizer.provenance)
    return done, [str(warning.message) for warning in caught]


@lru_cache(maxsize=1)  # a process recognises many shards of one job
def _unpacked(packed: ObjectRef[bytes]) -> tuple[Recognizer, FrameSelection]:
    import ray

    recognizer, selection = pickle.loads(ray.get(packed))
    return recognizer, selection


def _watched(
    results: Iterator[tuple[int, FileResult | Failure | None]], *, seconds: float
) -> Iterator[tuple[int, FileResult | Failure | None]]:
    """Yield results, and end this process where one takes too long: the shard is then recognised again, isolated."""
    with open(os.devnull, "wb") as nowhere:
        try:
            while True:
                # a thread in C, which ends the process also while a library holds the interpreter
                faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
                try:
                    result = next(results)
                except StopIteration:
                    return
                yield result
        finally:
            faulthandler.cancel_dump_traceback_later()


def _packed(value: object) -> bytes:
    """Pickle an object with the files of its models, and with classes that other machines cannot import.

    Raises:
        ConfigError: It cannot be pickled.
    """
    from ray.cloudpickle import CloudPickler

    class Packer(CloudPickler):  # type: ignore[misc]
        def reducer_override(self, obj: object) -> Any:
            return obj.portable() if isinstance(obj, Session) else super().reducer_override(obj)

    target = BytesIO()
    try:
        Packer(target).dump(value)
    except MienError:
        raise
    except Exception as error:  # of any object's own pickling
        raise ConfigError(f"other machines cannot get it: {error}; use one machine, or parts that pickle") from error
    return target.getvalue()


@contextmanager
def _connected(engine: Ray) -> Iterator[None]:
    """Connect to the cluster, or start Ray on this machine, until the block ends.

    Raises:
        ServiceError: That is not possible.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {}
    with ExitStack() as stack:
        if engine.address == "local":
            # Its sockets have long paths, and there is room for 107 bytes.
            place = "/tmp" if os.path.isdir("/tmp") else None
            folder = tempfile.TemporaryDirectory(prefix="mien-ray-", dir=place, ignore_cleanup_errors=True)
            options = {
                "num_cpus": engine.workers or cores.usable_cores(), "include_dashboard": False,
                "_temp_dir": stack.enter_context(folder),
            }  # fmt: skip
        elif engine.address != "auto":
            _reach(*_host_and_port(engine.address))
        stack.callback(ray.shutdown)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        try:
            with _stops_held(), silent_libraries():
                ray.init(engine.address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except Exception as error:  # ConnectionError, RuntimeError, ValueError, of Ray's own and others
            raise ServiceError(f"Ray did not answer: {_line(error)}; {_hint(engine.address, error)}") from error
        yield


def _hint(address: str, error: BaseException) -> str:
    if "AuthenticationError" in "".join(traceback.format_exception(error)):
        return (
            "it asks for its token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head to this machine"
        )
    if address == "local":
        return "without --ray, processes on this machine do the same"
    if address == "auto":
        return "start a cluster with `ray start --head`, and call this on one of its machines"
    return "on a machine of the cluster, take the address 'auto'"


@contextmanager
def _stops_held() -> Iterator[None]:
    """Hold termination signals back while Ray starts: half started, it lets the program crash when that ends.

    A second one is not held back. This program's answer to SIGTERM, which `ray.init` replaces, is kept.
    """
    if threading.current_thread() is not threading.main_thread():  # Ray leaves signals alone elsewhere
        yield
        return
    before = {number: handler for number in STOPS if (handler := signal.getsignal(number)) is not None}
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in [number for number, handler in before.items() if callable(handler)]:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in received:
        signal.raise_signal(number)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if address.startswith("ray://"):
        raise ConfigError("the address is of Ray Client; call this on a machine of the cluster, with the address auto")
    if not host or "/" in host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ConfigError(f"the address of Ray is '{address}'; expected local, auto or HOST:PORT")
    return host.strip("[]"), int(port)


def _reach(host: str, port: int) -> None:
    """Make sure that a server of HTTP/2 listens there: Ray itself would try for minutes.

    Raises:
        ServiceError: None does.
    """
    try:
        connection = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServiceError(
            f"no Ray at {host}:{port}: {reason}; start it there with `ray start --head --port {port}`, or on a machine "
            "of the cluster take the address 'auto'"
        ) from error
    with connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return
        try:
            connection.sendall(PREFACE)
            answer = connection.makefile("rb").read(9)
        except OSError:  # it is silent, or hangs up
            answer = b""
    if answer[3:4] != SETTINGS:
        raise ServiceError(
            f"what listens at {host}:{port} is not Ray's head; expected the port of `ray start --head`, 6379 unless "
            "--port was given, or on a machine of the cluster the address 'auto'"
        )


def _line(error: Exception) -> str:
    """Return the first sentence of Ray's explanations, which are many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__
