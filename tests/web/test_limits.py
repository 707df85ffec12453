"""Heaps keep what the next picture needs, so that threads cost no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

CODE = """
import resource, threading
import numpy as np
from mien.web.limits import limit_heaps

limit_heaps(2)

def work(n):
    for _ in range(n):
        arrays = [np.ones((480, 640, 3), np.uint8) for _ in range(3)]

def run(n):
    threads = [threading.Thread(target=work, args=(n,)) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

run(20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
run(200)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 400)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_frames_of_several_threads_reuse_their_memory() -> None:
    faults = float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
    assert faults < 100  # of the 675 pages of three arrays
