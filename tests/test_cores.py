"""The number of cores that the process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.cores import usable_cores
from mien.models.runtime import Session
from mien.models.store import shipped_dir


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 64 cores; the folder of its control groups."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr("mien.cores.CGROUPS", tmp_path)
    (tmp_path / "cpu").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu.max": "unreadable"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_quota_bounds_the_cores(machine: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (machine / name).write_text(text)
    assert usable_cores() == cores


def test_a_process_bound_to_some_cores_has_no_others(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 6, 7})
    assert usable_cores() == 3


def test_a_system_that_binds_no_processes_has_all_cores(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64


@pytest.mark.parametrize(("threads", "usable", "expected"), [(0, 64, 0), (0, 2, 2), (1, 2, 1), (4, 64, 4)])
def test_onnx_runtime_takes_no_more_threads_than_cores(
    machine: Path, monkeypatch: pytest.MonkeyPatch, threads: int, usable: int, expected: int
) -> None:
    monkeypatch.setattr("mien.models.runtime.usable_cores", lambda: usable)
    session = Session(shipped_dir() / "base-temporal.onnx", threads=threads)
    assert session._session is not None
    assert session._session.get_session_options().intra_op_num_threads == expected
