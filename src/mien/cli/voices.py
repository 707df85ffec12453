"""Training and evaluation of voice models, for `mien train voice` and `mien evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.console import bar, err, extra, new_table, out, percent, print_json, print_table, say, waiting
from mien.errors import ConfigError
from mien.escape import shell_word

if TYPE_CHECKING:
    from rich.console import Console

    from mien.data.speech import Speech
    from mien.evaluation.voice import VoiceEvaluation
    from mien.structures import Progress

RECIPE = "voice"  # in place of a recipe's name: trains on speech


def train_voice_command(
    data: Sequence[str] | None, *, run: Path | None, settings: Sequence[str] | None, init: str | None, seed: int | None
) -> None:
    """Train a voice model on a folder of recordings."""
    from mien.settings import from_dict, parse_override
    from mien.targets import check_targets
    from mien.training.recipe import VoiceConfig, new_folder

    with extra("training", "train"):
        from mien.training.voice import encoder_path, train_voice

    if not data or len(data) > 1:
        raise ConfigError("a voice model is trained on one folder of recordings; name it: --data RAVDESS")
    overrides = dict(parse_override(text) for text in settings or [])
    flags = {key: value for key, value in {"init": init, "seed": seed}.items() if value is not None}
    config = from_dict(VoiceConfig, overrides | flags)
    folder = run or new_folder(config.name or "voice")
    check_targets([encoder_path(config.init), Path(data[0])], folders=[folder])
    speech = read_recordings(data[0])
    say(f"run: {folder}")
    try:
        with _Steps() as steps:
            trained = train_voice(speech, folder, config, steps=steps)
    except KeyboardInterrupt:
        again = f"the same command with --run {shell_word(str(folder))}"
        raise KeyboardInterrupt(f"continue with {again}") from None
    _print([trained.evaluation])
    size = trained.path.stat().st_size / 1e6
    say(
        f"model: {trained.path} ({size:.2g} MB; differs by at most {trained.difference:.2g} from PyTorch); card: "
        f"{trained.card}"
    )
    say(f"use it: mien listen FILE --model {shell_word(str(trained.path))}")


def evaluate_voices(
    models: Sequence[str], data: Sequence[str], to: Path | None, *, as_json: bool, models_dir: Path | None
) -> None:
    """Evaluate voice models on folders of recordings, and write a report."""
    from mien.evaluation.voice import evaluate_voice
    from mien.files import make_folder, write_text
    from mien.models.voice import load_voice
    from mien.reports.report import file_name
    from mien.reports.voice import to_plain, voice_report, write_voice_metrics
    from mien.targets import check_targets

    of_report = [] if to is None else [to / name for name in ("report.md", "metrics.json")]
    check_targets([Path(place) for place in data], files=of_report, folders=[to or Path("reports")])
    classifiers = [load_voice(model, models_dir=models_dir) for model in models]
    speeches = [read_recordings(place, console=err if as_json else out) for place in data]
    folder = to
    if folder is None:
        named = (dict.fromkeys(part) for part in ([m.spec.name for m in classifiers], [s.name for s in speeches]))
        folder = Path("reports") / file_name(*map("+".join, named))
    with _Steps() as steps:
        found = [
            evaluate_voice(classifier, speech, progress=steps) for speech in speeches for classifier in classifiers
        ]
    make_folder(folder)
    write_text(folder / "report.md", voice_report(found))
    write_voice_metrics(folder / "metrics.json", found)
    if as_json:
        print_json([to_plain(evaluation) for evaluation in found])
        return
    _print(found)
    say(f"report: {folder / 'report.md'}")


def read_recordings(place: str, *, console: Console = out) -> Speech:
    """Read a folder of recordings, with what it holds on one line."""
    from mien.data.speech import read_speech, speech_path

    path = speech_path(place)
    with bar(f"reading {path}") as progress, waiting(f"reading {path}"):
        speech = read_speech(path, progress=progress)
    counts = ", ".join(f"{label} {(speech.targets == i).sum():,}" for i, label in enumerate(speech.labels))
    speakers = len(set(speech.speakers.tolist()))
    size = f"{len(speech):,} clips, {speech.seconds / 60:.0f} min, {speakers} speakers"
    say(f"{speech.name}: {size}; {counts}", console=console)
    return speech


def _print(evaluations: Sequence[VoiceEvaluation]) -> None:
    from mien.reports.voice import speakers_text, spread_cell

    for evaluation in evaluations:
        table = new_table(
            "speech", "UAR, %", "accuracy, %", "UAR of all clips", "95 % interval",
            title=f"{evaluation.model} on {evaluation.data}, by speaker: {evaluation.n:,} clips, "
            f"{evaluation.n_speakers} speakers, {evaluation.n_folds} folds, chance {percent(evaluation.chance)}",
        )  # fmt: skip
        for name, scores in evaluation.conditions.items():
            table.add_row(
                name, spread_cell(scores.uar), spread_cell(scores.accuracy), percent(scores.pooled_uar, 1),
                f"{100 * scores.low:.1f}–{percent(scores.high, 1)}",
            )  # fmt: skip
        print_table(table)
        recalls = evaluation.conditions["whole"].recalls
        say("recall: " + ", ".join(f"{label} {percent(recall)}" for label, recall in recalls.items()))
        say(speakers_text(evaluation))


class _Steps:
    """Shows a progress bar for the current one of several steps."""

    def __enter__(self) -> Callable[[str], Progress]:
        self._stack = ExitStack()
        return self._next

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _next(self, name: str) -> Progress:
        self._stack.close()
        return self._stack.enter_context(bar(name))
