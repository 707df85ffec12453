"""The command line: each command parses, calls the library, prints."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from mien.cli import data, explain, live, machine, measuring, models, predict, training
from mien.cli.console import fail, notice, say
from mien.errors import MienError

app = typer.Typer(
    help="Facial expression recognition: see, train, evaluate and compare.\n\n"
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
    "app": live.app_command,
    "train": training.train,
    "train-temporal": training.train_temporal_command,
    "export": training.export,
    "convert": models.convert_command,
    "evaluate": measuring.evaluate,
    "compare": measuring.compare,
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: notice("[yellow]warning:[/]", message)
        try:
            app(args=list(arguments) if arguments is not None else None, prog_name="mien")
        except MienError as error:
            fail(error)
            sys.exit(2)
