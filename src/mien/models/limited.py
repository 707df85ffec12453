"""Trials of model files in a process with limits of time and memory: a graph may loop forever or take all memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from mien import errors
from mien.errors import MienError, ModelError
from mien.files import make_folder, sha256_of, user_folder
from mien.models.runtime import onnxruntime
from mien.models.store import shipped_dir

CPU_SECONDS = 10  # of the call itself, on one thread; the largest nets in use load and run in 5
WALL_SECONDS = 90  # with the start of Python, on a busy machine; the only limit of time on Windows
MEMORY_BYTES, MEMORY_TIMES = 2 * 2**30, 4  # of the call: so much, and the size of the file so many times
_CHILD = "import sys; sys.path[:] = {path!r}; from mien.models.limited import _serve; _serve()"


def tried_dir() -> Path:
    """Return the folder of notes on files that passed: the platform's place for a user's caches."""
    return user_folder("cache") / "tried"


def try_model(path: Path) -> None:
    """Let a model predict one image in a process with limits, unless it came with mien or passed before.

    Raises:
        ModelError: It cannot predict, takes too long or too much memory, or crashes.
    """
    if path.resolve().parent == shipped_dir().resolve():
        return
    try:
        name = f"{sha256_of(path)}-{onnxruntime.__version__}"
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from error
    with suppress(OSError):
        if os.path.isfile(tried_dir() / name):
            return
    call_limited("mien.models.trial:predict_noise", path)
    with suppress(OSError, MienError):  # no home or no room: then it is tried each time
        (make_folder(tried_dir()) / name).touch()


def call_limited(task: str, file: Path, **arguments: object) -> Any:
    """Call a function on a model file in a process with limits of time and memory.

    Where no Python can be started, as in a frozen app, the function is called in this process, without limits.

    Args:
        task: The function, "module:name". It is called with the file's path and the arguments; these and its result
            are plain data, as in JSON.
        file: The file, whose size adds to the memory it may take.
        arguments: Keyword arguments of the function.

    Raises:
        MienError: The error that the function raised.
        ModelError: It exceeded a limit, or crashed.
    """
    if not can_start_python():
        return _function(task)(file, **arguments)
    code = _CHILD.format(path=[entry for entry in sys.path if isinstance(entry, str)])
    request = {"task": task, "file": os.fspath(file), "arguments": arguments, "bytes": _allowed(file)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(request).encode(), capture_output=True, check=False,
            timeout=WALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _too_slow(file) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise _too_slow(file) if -done.returncode == _signal("SIGXCPU") else _crashed(file, done.returncode) from None
    for text in answer["warnings"]:
        warnings.warn(text, stacklevel=3)
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return answer["result"]


def can_start_python() -> bool:
    """Return whether `sys.executable` is a Python; in a frozen app it is the app."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def _allowed(file: Path) -> int:
    with suppress(OSError):
        return MEMORY_BYTES + MEMORY_TIMES * file.stat().st_size
    return MEMORY_BYTES


def _signal(name: str) -> int:
    import signal

    return int(getattr(signal, name, 0))


def _too_slow(file: Path) -> ModelError:
    return ModelError(
        f"{file} did not predict one image within {CPU_SECONDS} s, as if its graph looped forever; export it again"
    )


def _crashed(file: Path, code: int) -> ModelError:
    return ModelError(
        f"{file} crashed its trial run (exit code {code}), as a damaged file does, or one that needs more than "
        f"{_allowed(file) / 2**30:.1f} GB of memory; export it again"
    )


def _function(task: str) -> Any:
    module, _, name = task.partition(":")
    return getattr(import_module(module), name)


def _serve() -> None:
    """Answer one request from standard input: the child's side of `call_limited`."""
    request = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print to standard output
    function = _function(request["task"])  # what it imports is not limited
    _limit(request["bytes"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            answer = {"result": function(Path(request["file"]), **request["arguments"])}
        except MienError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            answer = {"error": "ModelError", "message": str(_crashed(Path(request["file"]), 1))}
    texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
    with answers:
        answers.write(json.dumps(answer | {"warnings": texts}))


def _limit(memory: int) -> None:
    """Limit this process to so many more bytes, and to `CPU_SECONDS` more; Windows has no such limits."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        pages = int(Path("/proc/self/statm").read_text().split()[0])  # Linux; elsewhere memory is not limited
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
