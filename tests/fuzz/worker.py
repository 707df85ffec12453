"""A process that opens inputs at doors, so that a crash, a hang or a bomb ends it and not the tests.

Run as a program it reads pickled (door, files, arguments) from its standard input and answers with an `Outcome`.
"""

from __future__ import annotations

import os
import pickle
import re
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from time import monotonic
from typing import NamedTuple

SECONDS, PATIENCE = 20, 120  # of processor time, and of waiting, after which an input hangs
BYTES = 2_000_000_000  # of memory in use
ROOT = Path(__file__).parents[2]


class Case(NamedTuple):
    """An input of a door.

    Args:
        files: Content by name, in an empty folder, which is the working directory.
        arguments: For the door's function.
    """

    files: dict[str, bytes]
    arguments: tuple[object, ...] = ()


class Outcome(NamedTuple):
    """The result of opening an input.

    Args:
        fault: What was wrong, by which equal faults are counted together; empty if nothing was.
        details: A traceback.
        accepted: Whether the input was taken, not refused.
    """

    fault: str = ""
    details: str = ""
    accepted: bool = False


class Worker:
    """Opens inputs in another process, which is started anew after a fault."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def open(self, door: str, case: Case) -> Outcome:
        """Open an input at a door."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump((door, *case), process.stdin)
        process.stdin.flush()
        with selectors.DefaultSelector() as answers:
            answers.register(process.stdout, selectors.EVENT_READ)
            began, used = monotonic(), _seconds_of(process.pid)
            while not answers.select(timeout=1):
                if _seconds_of(process.pid) - used > SECONDS or monotonic() - began > PATIENCE:
                    self._stop()
                    return Outcome(f"{door}: hangs")
        try:
            outcome = Outcome(*pickle.load(process.stdout))
        except EOFError:
            code = process.wait()
            self._stop()
            return Outcome(f"{door}: ends the process with {code}")
        if outcome.fault:
            self._stop()
        return outcome

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
            "MIEN_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200",
        }  # fmt: skip
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _seconds_of(pid: int) -> float:
    """Return the processor time that a process has used; 0 where the system doesn't say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    sys.path[0] = str(ROOT / "tests")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (2 * BYTES, resource.RLIM_INFINITY))
    warnings.simplefilter("ignore")
    while True:
        try:
            door, files, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(tuple(open_case(door, Case(files, arguments))), answers)
        answers.flush()


def open_case(door: str, case: Case) -> Outcome:
    """Open an input at a door, in this process."""
    from fuzz.doors import DOORS
    from mien.errors import MienError

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(folder)
    os.environ["MIEN_MODELS"] = str(folder / "models")
    try:
        for name, content in case.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        accepted = False
        try:
            DOORS[door](*case.arguments)
            accepted = True
        except MienError as error:
            if not str(error).strip():
                return Outcome(f"{door}: an error without a message", traceback.format_exc()[-4000:])
        except BaseException as error:
            return Outcome(f"{door}: {_place(error)}", traceback.format_exc()[-4000:])
        if left := sorted(path.name for path in folder.rglob(".mien-*")):
            return Outcome(f"{door}: leaves {left[0][-12:]} behind")
        if (used := _peak()) > BYTES:
            return Outcome(f"{door}: takes much memory", f"{used:,} bytes")
        return Outcome(accepted=accepted)
    finally:
        os.chdir(ROOT)
        shutil.rmtree(folder, ignore_errors=True)


def _peak() -> int:
    """Return the largest number of bytes in memory; Linux hands that of `ru_maxrss` down from the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place(error: BaseException) -> str:
    """Return the type of an error and the last line of mien's that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames if "/src/mien/" in f.filename]
    return f"{type(error).__name__} in {ours[-1] if ours else 'no line of mien'}"


if __name__ == "__main__":
    main()
