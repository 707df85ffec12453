"""The number of processor cores that this process may use, which in a container is often below the machine's."""

from __future__ import annotations

import math
import os
from pathlib import Path

_ONE_CORE = False  # set in worker processes, which share the cores
CGROUPS = Path("/sys/fs/cgroup")  # as a container sees its own: https://docs.kernel.org/admin-guide/cgroup-v2.html


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    Where the system limits them, it is the cores that the process is bound to (taskset, cpuset) or the quota of its
    container (docker run --cpus), rounded up, whichever is less.
    """
    if _ONE_CORE:
        return 1
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(math.ceil(min(bound, _quota(CGROUPS))), 1)


def use_one_core() -> None:
    """Let `usable_cores` return 1 in this process, one of several that share the cores."""
    global _ONE_CORE
    _ONE_CORE = True


def _quota(folder: Path) -> float:
    """Return the cores' worth of time that a control group of version 2 or 1 grants; infinity if it sets no limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if float(quota) > 0:
                return float(quota) / float(period)
        except (OSError, ValueError, ZeroDivisionError):  # no such version, or "max": no limit
            continue
    return math.inf
