import json
from pathlib import Path

import pytest

from mien.errors import InputError
from mien.evaluation.voice import VoiceEvaluation
from mien.labels import LabelSet
from mien.reports.voice import read_voice_metrics, to_plain, write_voice_metrics

EVALUATION = VoiceEvaluation(
    model="voice", data="beeps", labels=LabelSet("beeps", ("happy", "sad")), n=2, n_speakers=1, n_folds=1,
    conditions={}, speakers={"s0": 0.5}, confusion=[[1, 0], [1, 0]],
)  # fmt: skip


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_voice_metrics(path, [EVALUATION])
    assert read_voice_metrics(path) == [EVALUATION]


@pytest.mark.parametrize(
    "damage", [{"labels": 5}, {"labels": ["happy"]}, {"conditions": [1]}, {"conditions": {"whole": 1}}, {"n": "x"}]
)
def test_damaged_figures_are_refused(damage: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps([to_plain(EVALUATION) | damage]))
    with pytest.raises(InputError, match="holds no figures of voice models"):
        read_voice_metrics(path)


@pytest.mark.parametrize("text", ["[" * 9999, "5", "[5]", "{}"])
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(InputError, match="holds no figures of voice models"):
        read_voice_metrics(path)
