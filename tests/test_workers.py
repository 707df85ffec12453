"""Processes that share the work: results in order, whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import jobs
from mien.errors import ConfigError, InputError, MienError
from mien.workers import Crash, in_order

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")


def test_results_come_in_the_order_of_the_items() -> None:
    items = [5, 0, 3, 1] * 3
    expected = [(index, i * i) for index, n in enumerate(items) for i in range(n)]
    assert list(in_order(jobs.squares, items, workers=2)) == expected


def test_no_item_is_begun_while_the_results_that_wait_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.workers.WAITING_BYTES", 1000)
    (_, begun), *rest = in_order(jobs.Large(tmp_path), range(6), workers=2)
    assert begun == [0, 1]
    assert rest == [(item, bytes(5000)) for item in range(6)]


def test_no_items_need_no_process() -> None:
    assert list(in_order(jobs.squares, [], workers=2)) == []


@pytest.mark.parametrize("hang", [False, True])
def test_an_item_whose_process_ends_is_tried_again_and_gives_each_result_once(hang: bool, tmp_path: Path) -> None:
    make = jobs.Dying(1, tmp_path / "seen", always=False, hang=hang)
    found = list(in_order(make, range(4), workers=2, silence_seconds=3 if hang else 60))
    assert found == [(item, (item, part)) for item in range(4) for part in range(3)]


def test_warnings_that_a_second_try_does_not_repeat_cost_no_result(tmp_path: Path) -> None:
    make = jobs.Dying(1, tmp_path / "seen", always=False, warn=True)
    with pytest.warns(UserWarning, match="only once") as caught:
        found = list(in_order(make, range(2), workers=2))
    assert found == [(item, (item, part)) for item in range(2) for part in range(3)]
    assert len(caught) == 1


def test_an_item_that_stops_its_process_twice_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    found = list(in_order(jobs.Dying(1, tmp_path / "seen", always=True), range(4), workers=2))
    assert found[3:6] == [(1, (1, 0)), (1, (1, 1)), (1, Crash("its process was killed (SIGKILL)"))]
    assert [index for index, _ in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_process_that_never_gets_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.workers.START_SECONDS", 2.0)
    with pytest.raises(MienError, match="a worker process did not start: it gave nothing for 2 s"):
        list(in_order(jobs.sleepless, range(2), workers=2))


def test_no_process_gets_ctrl_c() -> None:
    """Not the first one of a program either, with which multiprocessing starts a process of its own."""
    code = (
        "import jobs, signal\nfrom mien.workers import in_order\n"
        "masks = [mask for _, mask in in_order(jobs.masked, range(2), workers=2)]\n"
        "assert all(signal.SIGINT in mask for mask in masks), masks\n"
        "assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path}, timeout=120)


def test_an_error_in_a_process_is_raised_here() -> None:
    with pytest.raises(InputError, match="three is too many"):
        list(in_order(jobs.refusing, range(6), workers=2))
    with pytest.raises(InputError, match="no such thing"):
        list(in_order(jobs.broken, range(6), workers=2))


def test_a_function_that_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(ConfigError, match="worker processes cannot get it"):
        list(in_order(lambda: iter, range(6), workers=2))


def test_a_process_uses_one_core_and_its_warnings_arrive_in_order() -> None:
    with pytest.warns(UserWarning, match="item") as caught:
        assert list(in_order(jobs.warning, range(3), workers=2)) == [(0, 1), (1, 1), (2, 1)]
    assert [str(warning.message) for warning in caught] == ["item 0", "item 1", "item 2"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ended(pid: int) -> bool:
    return any(time.sleep(0.1) or not alive(pid) for _ in range(100))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_processes_end_when_the_results_are_no_longer_wanted() -> None:
    results = in_order(jobs.sleeping, range(2), workers=2)
    _, pid = next(results)
    results.close()
    assert ended(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_processes_end_with_their_parent(number: signal.Signals) -> None:
    code = (
        "import signal, jobs\nfrom mien.workers import in_order\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # it may be ignored, as under nohup
        "for _, pid in in_order(jobs.sleeping, range(2), workers=2): print(pid, flush=True)"
    )
    start = partial(subprocess.Popen, [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with start(text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(number)
        assert ended(pid)
