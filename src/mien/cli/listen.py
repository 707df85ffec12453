"""`mien listen`: utterances of sound files, of the sound of videos, and of a microphone, and how each sounds."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.arguments import Excel, Json, MinConfidence, ModelsDir, check_outputs, model_file
from mien.cli.console import bar, err, fail, new_table, out, percent, print_json, print_table, say
from mien.errors import ConfigError, InputError, MissingExtra
from mien.files import counted, printable
from mien.models.spec import DEFAULT_VOICE

if TYPE_CHECKING:
    from rich.table import Table

    from mien.sinks.utterances import UtteranceCsvSink, UtteranceJsonlSink
    from mien.sources.microphone import Microphone
    from mien.structures import Block, Provenance, Utterance
    from mien.voice.listener import Listener

BAR_WIDTH = 24  # characters


def listen(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Sound files, videos, or folders of them; the microphone if none is given.", readable=False
        ),
    ] = None,
    microphone: Annotated[
        str | None,
        typer.Option(help="Number or name from `mien devices`; the default one if not given.", metavar="MICROPHONE"),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a CSV table, one row per utterance; - for stdout.", metavar="FILE")
    ] = None,
    jsonl: Annotated[
        Path | None, typer.Option(help="Write JSON lines, one per utterance; - for stdout.", metavar="FILE")
    ] = None,
    excel: Excel = False,
    as_json: Json = False,
    glob: Annotated[
        str | None,
        typer.Option(
            help="In folders, process only files that match this pattern.", metavar="PATTERN", show_default=False
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Store the microphone's sound as WAV; without this, no sound is stored.", metavar="FILE"),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of a voice model from `mien models`, or an .onnx file.", metavar="MODEL")
    ] = DEFAULT_VOICE,
    enrol: Annotated[
        Path | None,
        typer.Option(help="Recording of a sentence in the speaker's ordinary voice, as a reference.", metavar="FILE"),
    ] = None,
    min_confidence: MinConfidence = 0.0,
    models_dir: ModelsDir = None,
) -> None:
    """Classify how speech sounds, in files or from a microphone. Someone who sounds angry need not be angry.

    Each stretch of speech between two pauses is an utterance. Utterances shorter than 1.5 s are not classified.

    Examples: `mien listen speech.wav clip.mp4 --csv voice.csv`, `mien listen calls/ --glob '*.mp3'`, `mien listen`,
    `mien listen --microphone 2 --jsonl voice.jsonl`
    """
    from mien.sources.microphone import Microphone, parse_microphone
    from mien.sources.sounds import sounds
    from mien.targets import check_targets
    from mien.voice.listener import Listener

    check_outputs(csv, jsonl, as_json=as_json, excel=excel)
    if files and (microphone is not None or record is not None):
        option = "--microphone" if microphone is not None else "--record"
        raise ConfigError(f"{option} applies to the microphone only; omit it or the files")
    if record is not None and record.suffix.lower() not in (".wav", ".wave"):
        raise ConfigError(
            f"cannot record into '{printable(record)}': a recording is WAV; expected a name such as 'x.wav'"
        )
    if glob is not None and not files:
        raise ConfigError("--glob selects files of a folder; name that, or leave it out")
    found, failed = _found(files or [], glob)
    if files and not found:  # no old table is overwritten
        raise typer.Exit(2)
    check_targets([*(files or []), *found, enrol, model_file(model)], texts=[csv, jsonl], files=[record])
    listener = Listener(model, min_confidence=min_confidence, models_dir=models_dir)
    if enrol is not None:
        listener.enrol(sounds(enrol))
    with ExitStack() as stack:
        # A microphone that is missing fails before an old table is overwritten.
        device = None if files else stack.enter_context(Microphone(parse_microphone(microphone)))
        results = stack.enter_context(_Results(listener.provenance, csv, jsonl, excel=excel, as_json=as_json))
        if device is None:
            failed = _hear_files(found, listener, results) or failed
        else:
            _hear_microphone(device, listener, results, record)
    if failed:
        raise typer.Exit(2)


class _Results:
    """Writes utterances to the tables; for --json collects their records, and prints them at the end, however it comes.

    Args:
        provenance: `Listener.provenance`.
        csv: See `listen`; jsonl, excel and as_json likewise.
    """

    def __init__(
        self, provenance: Provenance, csv: Path | None, jsonl: Path | None, *, excel: bool, as_json: bool
    ) -> None:
        from mien.sinks.utterances import UtteranceCsvSink, UtteranceJsonlSink

        self._records: list[dict[str, Any]] = []
        self.to_stdout = as_json or Path("-") in (csv, jsonl)
        self._provenance, self._as_json = provenance, as_json
        self._sinks: list[UtteranceCsvSink | UtteranceJsonlSink] = []
        if csv is not None:
            self._sinks.append(UtteranceCsvSink(csv, provenance, excel=excel))
        if jsonl is not None:
            self._sinks.append(UtteranceJsonlSink(jsonl, provenance))
        self._stack = ExitStack()

    def __enter__(self) -> _Results:
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.enter_context(sink)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        if self._as_json:
            print_json(self._records)

    def write(self, source: str, utterances: list[Utterance], *, note: str = "") -> None:
        from mien.sinks.utterances import utterance_records

        for sink in self._sinks:
            sink.write(source, utterances, note=note)
        if self._as_json:
            self._records += utterance_records(source, utterances, self._provenance, note=note)


def _found(paths: list[Path], glob: str | None) -> tuple[list[Path], bool]:
    """Return the files that paths name, each once, and whether one of the paths failed."""
    from mien.sources.paths import list_files

    files: dict[Path, None] = {}
    failed = False
    for path in paths:
        try:
            files |= dict.fromkeys(list_files(path, glob=glob, sound=True))
        except InputError as error:
            failed = True
            fail(error)
    return list(files), failed


def _hear_files(files: list[Path], listener: Listener, results: _Results) -> bool:
    """Hear files in turn, and print a table of their utterances, after Ctrl+C too; return whether one failed."""
    table = new_table("source", "start", "end", "sounds", "probability")

    def write(path: Path, utterances: list[Utterance], note: str = "") -> None:
        results.write(str(path), utterances, note=note)
        for columns in map(_columns, utterances):
            table.add_row(printable(path), *columns)
        if note:
            table.add_row(printable(path), "", "", note, "")

    failed = False
    try:
        for path in files:
            try:
                _hear_file(path, listener, partial(write, path))
            except (InputError, MissingExtra) as error:
                failed = True
                fail(error)
    finally:
        if table.row_count and not results.to_stdout:
            print_table(table)
    return failed


def _hear_file(path: Path, listener: Listener, write: Callable[..., None]) -> None:
    """Hear a file; hand over each utterance, or the note that there is none."""
    from mien.sources.sounds import sounds

    any_heard, n_short = False, listener.n_short
    with _progress(path) as count:
        for utterance in listener.stream(map(count, sounds(path))):
            any_heard = True
            write([utterance])
    if not any_heard:
        write([], _note(listener, listener.n_short - n_short))


def _hear_microphone(microphone: Microphone, listener: Listener, results: _Results, record: Path | None) -> None:
    """Hear a microphone until Ctrl+C; print each utterance, and on a terminal what is heard."""
    from mien.sinks.wav import WavSink

    on_one_screen = err.is_terminal and out.is_terminal  # what goes around the display would be drawn over
    console = err if results.to_stdout or on_one_screen else out
    n = 0

    def write(utterances: list[Utterance]) -> None:
        nonlocal n
        for utterance in (utterance for utterance in utterances if utterance.final):
            n += 1
            results.write(microphone.name, [utterance])
            start, end, label, probability = _columns(utterance)
            say(f"{start} – {end}  sounds {label}  {probability}", console=console)

    with ExitStack() as stack:
        sound = None if record is None else stack.enter_context(WavSink(record))
        say(f"listening to {microphone.name}; press Ctrl+C to stop", console=err)
        with _noting_ctrl_c() as stopped, _display(listener, microphone) as show, suppress(KeyboardInterrupt):
            while not stopped.is_set():
                block = microphone.read(timeout=0.1)
                if block is not None:
                    if sound is not None:
                        sound.write(block)
                    answers = listener.hear(block)
                else:
                    answers = [] if microphone.status.state == "live" else listener.finish()
                show(answers)
                write(answers)
        write(listener.finish())
    say(f"heard: {counted(n, 'utterance')}" + (f"; recorded: {record}" if record else ""), console=console)


@contextmanager
def _noting_ctrl_c() -> Iterator[Event]:
    """Yield an event that Ctrl+C sets, the first time: raised in between, it could cost an utterance or half a row."""
    stopped, before = Event(), signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None) or current_thread() is not main_thread():
        yield stopped
        return

    def note(number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[Block], Block]]:
    """Show the seconds that were heard, on a terminal; yield a function through which the blocks pass."""
    with bar(f"hearing {printable(path)}, seconds") as advance:

        def count(block: Block) -> Block:
            advance(int(block.end), None)
            return block

        yield count


@contextmanager
def _display(listener: Listener, microphone: Microphone) -> Iterator[Callable[[list[Utterance]], None]]:
    """Show level, state and the latest answer on a terminal; yield a function that takes the answers."""
    from rich.live import Live

    latest: list[Utterance] = []

    def show(answers: list[Utterance]) -> None:
        latest[:] = answers[-1:] or latest

    if not err.is_terminal:
        yield show
        return
    with Live(
        console=err, transient=True, refresh_per_second=10, get_renderable=lambda: _meter(listener, microphone, latest)
    ):
        yield show


def _meter(listener: Listener, microphone: Microphone, latest: list[Utterance]) -> Table:
    """Draw the level and, below it, the bars of the latest answer; a provisional one is dim."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    status = microphone.status
    widest = max((len(label) for label in listener.provenance.labels), default=0)
    state = "speaking" if listener.speaking else "listening"
    drawn = Table.grid(padding=(0, 1))
    drawn.add_column(min_width=len("sounds ") + widest)  # lest the bars move
    drawn.add_row(
        Text(state if status.state == "live" else status.text, style="bold" if listener.speaking else "dim"),
        ProgressBar(total=1, completed=listener.level, width=BAR_WIDTH),
    )
    for utterance in latest:
        style = "" if utterance.final else "dim"
        for label, share in utterance.prediction.as_dict().items():
            strong = " bold" if label == utterance.label else ""
            name = f"sounds {label}" if strong else label
            drawn.add_row(
                Text(name, style=style + strong),
                ProgressBar(total=1, completed=share, width=BAR_WIDTH),
                Text(percent(share), style=style),
            )
    return drawn


def _columns(utterance: Utterance) -> tuple[str, str, str, str]:
    """Return start, end, label and probability as text."""
    label = utterance.label
    if not utterance.certain:
        label = f"{label} ({utterance.prediction.label})"
    return _clock(utterance.start), _clock(utterance.end), label, percent(utterance.prediction.confidence)


def _clock(seconds: float) -> str:
    """Return a time as minutes and seconds: "1:02.5"."""
    tenths = round(10 * abs(seconds))
    return f"{'-' if seconds < 0 and tenths else ''}{tenths // 600}:{tenths % 600 / 10:04.1f}"


def _note(listener: Listener, n_short: int) -> str:
    """Return the note on a file without utterances."""
    return f"no utterance of {listener.shortest:g} s or more" if n_short else "no speech found"
