"""Fixtures of the training tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.training import Run
from runs import finished, small_config, small_dataset, small_selection


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Train on one thread: images this small are not worth a second one, least of all on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.training.fit.usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def undisturbed(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of `small_config` on `small_dataset`."""
    return finished(small_config(), small_dataset(), tmp_path_factory.mktemp("runs") / "undisturbed")


@pytest.fixture(scope="module")
def selective(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of `small_config` on `small_selection`, which names its audit."""
    folder = tmp_path_factory.mktemp("runs") / "selective"
    audit = Path("audits/drawn")
    run = Run.start(small_config(), small_dataset(), folder, selection=small_selection(), audit_path=audit)
    run.fit()
    return run
