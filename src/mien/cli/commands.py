"""The commands: each parses, calls the library, prints."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mien.cli import (
    Interrupted,
    data,
    ensemble,
    explain,
    listen,
    live,
    machine,
    measuring,
    models,
    page,
    predict,
    quantize,
    training,
    web,
)
from mien.cli.arguments import STANDING_ALONE
from mien.cli.console import check_output, notice, say
from mien.errors import ConfigError, InputError
from mien.files import lost_output

# The base of usage errors, which may be Click's or that of the copy of Click that newer versions of Typer carry.
ClickException: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class _Commands(TyperGroup):
    """Hands Ctrl-C to our `main`; Typer would end with its own words and exit code, which differ by its version."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted(*stop.args) from stop


app = typer.Typer(
    cls=_Commands,
    help="Facial expression recognition: predict, train, evaluate and compare.\n\n"
    "mien names what a face shows; it does not read what a person feels.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "predict": predict.predict,
    "explain": explain.explain,
    "live": live.live,
    "listen": listen.listen,
    "app": live.app_command,
    "serve": web.serve,
    "page": page.page,
    "train": training.train,
    "train-temporal": training.train_temporal_command,
    "export": training.export,
    "soft-labels": training.soft_labels,
    "ensemble": ensemble.ensemble,
    "quantize": quantize.quantize,
    "convert": models.convert_command,
    "evaluate": measuring.evaluate,
    "compare": measuring.compare,
    "devices": machine.devices_command,
    "bench": machine.bench_command,
    "doctor": machine.doctor_command,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from mien import __version__

        say(f"mien {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code.

    Raises:
        MienError: An error that the user can fix.
        Interrupted: Ctrl-C or a signal.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _check_arguments(words)
    alone = not STANDING_ALONE.keys().isdisjoint(words)
    given = None if arguments is None and not alone else with_values(words)  # on Windows None expands patterns
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: notice("[yellow]warning:[/]", message)
        try:
            code = app(args=given, prog_name="mien", standalone_mode=False)
        except ClickException as error:
            code = _explain(error)
        except SystemExit as end:  # of Typer, which completes words of a shell
            code = end.code
        except OSError as error:  # of Typer, which prints the help, or of the working folder
            if isinstance(error, FileNotFoundError) and not _has_working_folder():
                raise InputError("the folder that this command runs in was deleted; change to another one") from error
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
                raise
            raise lost_output(error) from error
    check_output()
    return code if isinstance(code, int) else 0


def with_values(words: Sequence[str]) -> list[str]:
    """Return the words of a command with a value for each option that may stand alone; Typer knows no such options.

    The word after it is its value unless it is an option or an existing file: `mien predict --voice clip.mp4`. A model
    in a file, voice.onnx, is a value.
    """
    return [
        f"{word}={STANDING_ALONE[word]}" if word in STANDING_ALONE and not _is_value(after) else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]


def _is_value(word: str) -> bool:
    return bool(word) and not word.startswith("-") and (word.endswith(".onnx") or not os.path.exists(word))


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:  # it was deleted, and relative paths lead nowhere
        return False
    return True


def _explain(error: Any) -> int:
    """Return the exit code of a command that was named alone, whose help Typer has printed.

    Raises:
        ConfigError: Another wrong use of the command line.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        return int(error.exit_code)
    command = getattr(getattr(error, "ctx", None), "command_path", "mien")
    text = str(error.format_message()).removesuffix(".")
    joint = " " if text.endswith("?") else "; "
    raise ConfigError(f"{text[:1].lower()}{text[1:]}{joint}see `{command} --help`") from error


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse an empty argument, such as a variable of the shell that is not set: as a path it is the current folder.

    Raises:
        ConfigError: There is one.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument or re.fullmatch("--[a-z-]+=", argument):
            where = f" after '{before}'" if before and not argument else f" in '{argument}'" if argument else ""
            raise ConfigError(f"an argument is empty{where}; leave it out, or give a value")
