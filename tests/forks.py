"""Commands in processes that start at once, since they are forks of one that has imported mien; killed if asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_MOTHER = """
import importlib, json, os, pkgutil, signal, sys, time
import mien, mien.cli, mien.models.limited

mien.models.limited.can_start_python = lambda: False
for part in sys.argv[1:]:
    package = importlib.import_module(f"mien.{part}")
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        importlib.import_module(f"{package.__name__}.{module.name}")
print("[]", flush=True)
for line in sys.stdin:
    folder, commands, moment = json.loads(line)
    children, begun = {}, time.perf_counter()
    for i, words in enumerate(commands):
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.dup2(os.open(f"{i}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(2, 1)
            if moment == "replace":
                os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            try:
                mien.cli.main(words)
            except SystemExit as end:
                os._exit(end.code or 0)
            finally:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        children[child] = i
    codes = [0] * len(commands)
    if isinstance(moment, float):
        time.sleep(moment)
        for child in children:
            os.kill(child, signal.SIGKILL)
    while children:
        child, status = os.wait()
        codes[children.pop(child)] = os.waitstatus_to_exitcode(status)
    texts = [open(f"{folder}/{i}.err").read() for i in range(len(commands))]
    for i in range(len(commands)):
        os.remove(f"{folder}/{i}.err")
    print(json.dumps([codes, texts, time.perf_counter() - begun]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How commands ended: exit codes (-9 after a kill), texts on stdout and stderr together, seconds until the last."""

    codes: list[int]
    texts: list[str]
    seconds: float


class Forks:
    """Runs commands in forks."""

    def __init__(self, mother: subprocess.Popen[str]) -> None:
        self._mother = mother

    def run(self, folder: Path, *commands: str, killed: float | Literal["replace"] | None = None) -> Ended:
        """Run commands at the same time in a folder.

        Args:
            folder: Their working directory.
            commands: Their words.
            killed: SIGKILL ends them after so many seconds, or when all of a file is written but not yet in its place.
        """
        self._ask([str(folder), [command.split() for command in commands], killed])
        return Ended(*self._answer())

    def _ask(self, request: object) -> None:
        assert self._mother.stdin is not None
        self._mother.stdin.write(json.dumps(request) + "\n")
        self._mother.stdin.flush()

    def _answer(self) -> Any:
        assert self._mother.stdout is not None
        return json.loads(self._mother.stdout.readline())


PARTS = ("collection", "data", "drawing", "evaluation", "live", "models", "reports", "sinks", "sources", "vision")


@contextmanager
def forks(cache: Path, *parts: str) -> Iterator[Forks]:
    """Start the process to fork from.

    Args:
        cache: Folder of its notes on models that were tried.
        parts: Modules and folders of mien that it imports, beside the common ones.
    """
    environment = {**os.environ, "MIEN_OFFLINE": "1", "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _MOTHER, *PARTS, *parts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as mother:
        started = Forks(mother)
        started._answer()
        try:
            yield started
        finally:
            mother.kill()
