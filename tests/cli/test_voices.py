"""`mien train voice` and `mien evaluate` for voice models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import error_of, run
from mien.models.voice import VoiceClassifier
from speech import join, silence, tone, write_wav

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder of two classes by two speakers: a high and a low tone."""
    folder = tmp_path / "beeps"
    for label, pitch in (("happy", 900), ("neutral", 250)):
        for speaker in ("eve", "max"):
            for n in (1, 2):
                hertz = pitch * (1.0 + 0.02 * n + (speaker == "max") * 0.1)
                path = folder / label / f"{speaker}_{n}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_wav(path, join(silence(0.3), tone(0.8, hertz=hertz), silence(0.3)))
    return folder


def test_a_model_is_trained_measured_by_speaker_and_ready_to_use(
    recordings: Path, tiny_voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--init", str(tiny_voice), "--run", "run", "--set", "blocks=[2]", "--set", "copies=1"]
    assert run("train", "voice", "--data", str(recordings), *arguments) == 0
    said = capsys.readouterr().out
    assert "beeps: 8 clips" in said
    assert "2 speakers, 2 folds" in said
    assert "mien listen FILE --model run/voice-beeps.onnx" in said
    assert VoiceClassifier("run/voice-beeps.onnx").labels.labels == ("happy", "neutral")
    assert Path("run/voice-beeps.md").exists()
    assert run("train", "voice", "--data", str(recordings), *arguments) == 0  # continues: all is there


def test_a_model_is_evaluated_on_other_recordings(
    recordings: Path, tiny_voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", str(tiny_voice), "--data", str(recordings), "--out", "report") == 0
    assert "report: report/report.md" in capsys.readouterr().out
    (found,) = json.loads(Path("report/metrics.json").read_text(encoding="utf-8"))
    assert (found["n"], found["labels"], found["n_folds"]) == (8, ["happy", "neutral"], 2)
    assert "not what a person feels" in Path("report/report.md").read_text(encoding="utf-8")
    assert run("evaluate", str(tiny_voice), "--data", str(recordings), "--json") == 0
    (plain,) = json.loads(capsys.readouterr().out)
    assert plain["n_speakers"] == 2
    (report,) = Path("reports").iterdir()
    assert report.name == "tiny_voice-beeps"


def test_options_of_pictures_and_missing_data_are_one_line(
    recordings: Path, tiny_voice: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(recordings)]
    assert "leave out --freeze" in error_of(capsys, "train", "voice", *data, "--freeze", "backbone")
    assert "one folder of recordings; name it: --data" in error_of(capsys, "train", "voice")
    assert "no folder 'nowhere' of recordings" in error_of(capsys, "train", "voice", "--data", "nowhere")
    assert "blokcs" in error_of(capsys, "train", "voice", *data, "--set", "blokcs=[1]")
    assert "leave out --robustness" in error_of(capsys, "evaluate", str(tiny_voice), *data, "--robustness")
    ignored = error_of(capsys, "evaluate", str(tiny_voice), *data, "--device", "cuda", "--group-by", "name")
    assert "leave out --device, --group-by" in ignored
    assert "no recordings to evaluate on" in error_of(capsys, "evaluate", str(tiny_voice))
    both = error_of(capsys, "evaluate", str(tiny_voice), str(tiny_model), *data)
    assert "and models of faces are evaluated separately" in both
