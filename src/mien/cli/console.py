"""Output of all commands: lines, errors, tables and progress bars, the same everywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars
from rich.status import Status
from rich.table import Table
from rich.text import Text

from mien.errors import MienError, needs
from mien.escape import visible
from mien.files import lost_output, standard_output

if TYPE_CHECKING:
    from mien.structures import Progress

UNLIMITED = 100_000  # characters per line, of a table in a pipe or a file


class PlainConsole(Console):
    """A console on which strings are shown as they are, in one line: Rich's markup is off, controls are escaped.

    This holds for printed strings and for cells and titles of tables. Styled and multi-line text is passed as `Text`,
    after `visible` for each part that is not ours.

    It falls silent when it can't be written to, since a full disk or a closed pipe must not cost the work; `failure` is
    the error.
    """

    failure: OSError | None = None

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.failure, self.quiet = error, True

    def on_broken_pipe(self) -> None:
        """Note that the reader has gone; Rich would end the program."""
        self.failure, self.quiet = BrokenPipeError(), True

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


out = PlainConsole()
err = PlainConsole(stderr=True)


def mute() -> None:
    """Print nothing but errors from now on, in a process whose first of its kind prints the same."""
    out.quiet = err.quiet = True


def fail(error: object) -> None:
    """Print one line about an error."""
    err.quiet = err.failure is not None
    notice("[bold red]error:[/]", error)


def notice(kind: str, text: object) -> None:
    """Print a text on stderr after its kind, which may hold Rich's markup; the text is printed as it is."""
    line = Text.from_markup(f"{kind} ").append(_shortened(visible(" ".join(str(text).splitlines()))))
    err.print(line, soft_wrap=True, highlight=False)


def _shortened(line: str) -> str:
    """Return a line without its middle where it is too long to be read, as with a cell of a megabyte in it."""
    return line if len(line) <= 2000 else f"{line[:1400]} … {line[-500:]}"


def say(text: str, *, console: Console = out) -> None:
    """Print a line as it is: not wrapped, not coloured, whatever bytes it holds."""
    console.print(text, soft_wrap=True, highlight=False)


def stopped(hint: str) -> None:
    """Print one line about Ctrl-C or a signal, with a hint on how to continue."""
    after_echo = "\n" if err.is_terminal else ""  # of ^C
    err.print(Text(f"{after_echo}stopped{'; ' if hint else ''}").append(visible(hint)), soft_wrap=True)


def print_json(data: object) -> None:
    """Print a result as JSON.

    Raises:
        OutputError: Standard output is closed or full.
    """
    with standard_output() as file:
        print(json.dumps(data, indent=2, default=str), file=file)


def check_output() -> None:
    """Make sure that all that was printed has arrived.

    Raises:
        OutputError: Standard output is full, or its reader has gone.
    """
    failure, out.failure, out.quiet = out.failure, None, False
    if failure is not None:
        raise lost_output(failure) from failure
    if sys.stdout is not None:
        with standard_output():
            pass


def waiting(text: str) -> Status:
    """Return a context that shows a text with a spinner, on a terminal."""
    return err.status(Text(visible(text)))


def cell(lines: Iterable[str]) -> Text:
    """Return a cell of a table with several lines."""
    return Text("\n".join(map(visible, lines)))


def percent(share: float, digits: int = 0, *, sign: bool = False) -> str:
    """Return a share as text: "92 %", with a space, as in all documents, plots and windows."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %"


def new_table(*columns: str, title: str | None = None) -> Table:
    """Return a table without lines, whose cells are folded, not cut."""
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table; in a pipe or a file its rows are not wrapped."""
    if out.is_terminal or out.quiet:
        out.print(table)
        return
    wide = PlainConsole(width=UNLIMITED, height=100)  # Rich takes a width only with a height
    wide.print(table)
    out.failure, out.quiet = wide.failure, wide.quiet


@contextmanager
def bar(what: str, *, shown: bool = True, counts: Callable[[], str] | None = None) -> Iterator[Progress]:
    """Draw a progress bar on a terminal; yield the function that advances it.

    Args:
        what: What is done.
        shown: Whether it is drawn.
        counts: Returns counts, which are drawn after the bar with the rate; None for a bar without.
    """
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    ]
    if counts is not None:
        columns.append(TextColumn("{task.fields[counts]}", markup=False))
    with ProgressBars(*columns, console=err, transient=True, disable=not (shown and err.is_terminal)) as drawn:
        task = drawn.add_task(visible(what), total=None, counts="")

        def advance(done: int, total: int | None) -> None:
            speed = drawn.tasks[0].speed
            rate = f"{speed:,.1f}/s, " if speed else ""
            drawn.update(task, completed=done, total=total, counts=rate + counts() if counts else "")

        yield advance


@contextmanager
def extra(what: str, name: str) -> Iterator[None]:
    """Say how to install Tk, or the extra of that name, if it is missing; see `mien.errors.needs`.

    Raises:
        MissingExtra: A package of the extra is missing.
        MienError: Tk is, which pip can't install.
    """
    with needs(what, name):
        try:
            yield
        except ModuleNotFoundError as error:
            if error.name not in ("tkinter", "_tkinter"):
                raise
            raise MienError(
                f"{what} needs Tk, which this Python lacks; on Debian and Ubuntu: sudo apt install python3-tk, with "
                "Homebrew: brew install python-tk"
            ) from error
