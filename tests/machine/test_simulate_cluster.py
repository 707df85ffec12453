"""The simulation of a cluster against closed forms."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("simulate_cluster")


@pytest.mark.parametrize(("pictures", "shard", "workers"), [(1000, 10, 1), (1000, 10, 7), (1005, 10, 100), (5, 10, 3)])
def test_without_spread_and_failures_workers_take_equal_rounds(
    pictures: int, shard: int, workers: int, sim: ModuleType
) -> None:
    work = sim.Work(pictures=pictures, shard=shard, picture_s=0.1, shard_s=0.5)
    found = sim.simulate(work, sim.Cluster(workers=workers, startup_s=3))
    n_shards = math.ceil(pictures / shard)
    rounds, rest = math.ceil(n_shards / workers), pictures - shard * (n_shards - 1)
    last_is_alone = n_shards % workers == 1 or workers == 1
    last = rest if last_is_alone else min(shard, pictures)
    assert found.wall_s == pytest.approx(3 + (rounds - 1) * (shard * 0.1 + 0.5) + last * 0.1 + 0.5)
    assert found.efficiency == pytest.approx(pictures * 0.1 / (workers * found.wall_s))
    assert (found.lost_s, found.failures) == (0, 0)


def test_one_worker_that_fails_takes_as_long_as_the_renewal_equation_says(sim: ModuleType) -> None:
    """A shard of d seconds takes E = p d + (1 - p) (lost + repair + E), p = exp(-rate d) its chance to end in one go.

    Solved for E: (1 / rate + repair) (exp(rate d) - 1).
    """
    work = sim.Work(pictures=2000, shard=10, picture_s=1.0)
    cluster = sim.Cluster(workers=1, per_machine=1, startup_s=2, failures_per_hour=180, repair_s=3)
    rate = 180 / 3600
    expected = 2 + 200 * (1 / rate + 5) * (math.exp(rate * 10) - 1)
    found = np.array([sim.simulate(work, cluster, seed=seed).wall_s for seed in range(60)])
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / math.sqrt(len(found))
    assert found.std() / expected < 0.2


def test_the_time_of_a_shard_has_the_mean_and_spread_of_a_sum(sim: ModuleType) -> None:
    work = sim.Work(pictures=200_000, shard=20, picture_s=0.1, spread=0.8, shard_s=0.3)
    times = np.array(work.times(np.random.default_rng(0)))
    assert times.mean() == pytest.approx(20 * 0.1 + 0.3, rel=0.01)
    assert times.std() == pytest.approx(math.sqrt(20) * 0.1 * 0.8, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_wall_time_is_within_the_bounds_of_list_scheduling(seed: int, sim: ModuleType) -> None:
    """Graham 1969: at least the total over the workers, at most one longest shard more."""
    work = sim.Work(pictures=5000, shard=37, picture_s=0.1, spread=2.0, shard_s=0.1)
    times = work.times(np.random.default_rng(seed))
    found = sim.simulate(work, sim.Cluster(workers=12), seed=seed)
    assert sum(times) / 12 <= found.wall_s <= sum(times) / 12 + (1 - 1 / 12) * max(times)


def test_slow_workers_take_fewer_shards_and_hold_up_the_end_by_one(sim: ModuleType) -> None:
    work = sim.Work(pictures=10_000, shard=10, picture_s=0.1)
    usual = sim.simulate(work, sim.Cluster(workers=10))
    slow = sim.simulate(work, sim.Cluster(workers=10, slow_share=1.0, slow_factor=3))
    some = sim.simulate(work, sim.Cluster(workers=10, slow_share=0.5, slow_factor=3))
    assert slow.wall_s == pytest.approx(3 * usual.wall_s)
    assert usual.wall_s < some.wall_s < slow.wall_s


def test_what_a_failure_cuts_off_is_done_again_by_others(sim: ModuleType) -> None:
    work = sim.Work(pictures=20_000, shard=100, picture_s=0.1)
    cluster = sim.Cluster(workers=8, per_machine=4, failures_per_hour=10, repair_s=30)
    found = [sim.simulate(work, cluster, seed=seed) for seed in range(20)]
    assert sum(one.failures for one in found) > 20
    for one in found:
        assert one.wall_s * 8 >= 20_000 * 0.1 + one.lost_s
        assert 0 <= one.lost_s <= one.failures * 10
