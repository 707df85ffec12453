"""Run folders edited by hand or cut by a crash.

The kind of public issues titled "JSONDecodeError: Unterminated string" or "KeyError: 'epoch'" after a full disk, a
power cut, or a settings file changed between two sessions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mien.errors import RunError
from mien.training import Run
from mien.training.run import CHECKPOINT, CONFIG, ENVIRONMENT, METRICS, ROWS
from runs import interrupted, small_config, small_dataset, small_selection


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a selection, after its first epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.training.fit.usable_cores", lambda: 1)
        folder = tmp_path_factory.mktemp("runs") / "run"
        interrupted(small_config(), small_dataset(), folder, (0, 0), selection=small_selection())
    return folder


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        plain = json.loads(content)
        change(plain)
        return json.dumps(plain).encode()

    return edit


def first_data(plain: dict[str, object]) -> dict[str, object]:
    return plain["data"][0]  # type: ignore[index,no-any-return]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (CONFIG, lambda content: content[:100], "config.json' is damaged"),
        (CONFIG, lambda content: b"[" * 100_000, "config.json' is damaged"),
        (CONFIG, edited(lambda plain: plain.update(momentum=-1)), "momentum is -1.0; expected 0 <= momentum < 1"),
        (
            CONFIG,
            edited(lambda plain: plain.update(stages=[{"size": 100_000, "epochs": 1}])),
            "size is 100000; expected",
        ),
        (CONFIG, edited(lambda plain: plain.update(net="base")), "of different nets .base and tiny."),
        (CONFIG, edited(lambda plain: plain.pop("net")), "'net' is missing"),
        (CONFIG, None, r"cannot read '.*config\.json': No such file"),
        (ENVIRONMENT, lambda content: b"\xff\xfe", "environment.json' is damaged"),
        (ENVIRONMENT, edited(lambda plain: plain.update(data=[])), "'data' is empty"),
        (
            ENVIRONMENT,
            edited(lambda plain: first_data(plain).pop("fingerprint")),
            r"'data\[0\]\.fingerprint' is missing",
        ),
        (ENVIRONMENT, edited(lambda plain: first_data(plain).update(path=3)), r"'data\[0\]\.path' is 3; expected str"),
        (ENVIRONMENT, edited(lambda plain: plain.update(devices=10**9)), "devices is 1000000000; expected 1 to 1024"),
        (ENVIRONMENT, edited(lambda plain: plain.update(precision="fp8")), "expected one of 32-true, bf16-mixed"),
        (ENVIRONMENT, edited(lambda plain: plain.update(spec=7)), "'spec' is 7; expected a table"),
        (METRICS, lambda content: content[:50], r"metrics\.jsonl' is damaged .*; restore it, or delete it"),
        (METRICS, edited(lambda plain: plain.pop("epoch")), "'line 1.epoch' is missing"),
        (
            METRICS,
            edited(lambda plain: plain.update(valid_loss="low")),
            "line 1.valid_loss is 'low'; expected a number",
        ),
        (METRICS, lambda content: content * 2, "line 2 is of epoch 1, after epoch 1"),
        (CHECKPOINT, lambda content: content[:-100], "cannot read checkpoint"),
        (
            CHECKPOINT,
            lambda content: content.replace(b'"epochs_done":"1"', b'"epochs_done":"x"'),
            "cannot read checkpoint",
        ),
        (ROWS, lambda content: content[:-1], "rows.npy' is damaged"),
        (ROWS, lambda content: content.replace(b"(200,)", b"(9**9,)"), "rows.npy' is damaged"),
        (ROWS, None, "rows.npy' is damaged"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    started: Path, tmp_path: Path, file: str, change: Callable[[bytes], bytes] | None, message: str
) -> None:
    folder = Path(shutil.copytree(started, tmp_path / "run"))
    before = (folder / file).read_bytes()
    if change is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(change(before))
        assert (folder / file).read_bytes() != before
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match=message) as caught:
        Run.open(folder, small_dataset()).fit()
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_a_run_whose_metrics_were_deleted_goes_on(
    started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.fit.usable_cores", lambda: 1)
    folder = Path(shutil.copytree(started, tmp_path / "run"))
    (folder / METRICS).unlink()
    run = Run.open(folder, small_dataset())
    run.fit()
    assert [row["epoch"] for row in run.metrics()] == [2, 3, 4]
    assert np.isfinite(run.metrics()[-1]["train_loss"])


def test_a_run_that_lost_its_checkpoint_does_not_begin_again_in_silence(started: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(started, tmp_path / "run"))
    lines = (folder / METRICS).read_text().splitlines()
    (folder / METRICS).write_text("\n".join([*lines, json.dumps(json.loads(lines[0]) | {"epoch": 2})]))
    (folder / CHECKPOINT).unlink()
    with pytest.raises(RunError, match=r"last\.safetensors' is missing; restore it, or start again"):
        Run.open(folder, small_dataset()).fit()
