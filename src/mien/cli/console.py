"""What all commands print with: lines, errors, tables and progress bars, the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars
from rich.table import Table

from mien.errors import MienError, MissingExtra

if TYPE_CHECKING:
    from mien.structures import Progress

T = TypeVar("T")

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed
UNLIMITED = 100_000  # characters per line, of a table in a pipe or a file

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)


def fail(error: object) -> None:
    """Print one line about an error."""
    notice("[bold red]error:[/]", error)


def notice(kind: str, text: object) -> None:
    """Print a text on stderr after its kind, which may hold Rich's markup; the text is printed as it is."""
    err.print(f"{kind} {escaped(' '.join(str(text).splitlines()))}", soft_wrap=True, highlight=False)


def say(text: str, *, console: Console = out) -> None:
    """Print a line as it is: not wrapped, not coloured, whatever bytes it holds."""
    console.print(escaped(text), soft_wrap=True, highlight=False)


def new_table(*columns: str, title: str | None = None) -> Table:
    """Return a table without lines, whose cells are folded, not cut."""
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table; in a pipe or a file its rows are not wrapped."""
    console = (
        out if out.is_terminal else Console(width=UNLIMITED, height=100, emoji=False)
    )  # Rich takes a width only with a height
    console.print(table)


@contextmanager
def bar(what: str, *, shown: bool = True) -> Iterator[Progress]:
    """Draw a progress bar on a terminal; yield the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProgressBars(*columns, console=err, transient=True, disable=not (shown and err.is_terminal)) as drawn:
        task = drawn.add_task(escaped(what), total=None)
        yield lambda done, total: drawn.update(task, completed=done, total=total)


def tracked(items: Iterable[T], what: str, *, total: int | None) -> Iterator[T]:
    """Yield the items, with a progress bar on a terminal if there are more than one."""
    with bar(what, shown=total != 1) as advance:
        for done, item in enumerate(items, start=1):
            yield item
            advance(done, total)


@contextmanager
def extra(what: str, name: str) -> Iterator[None]:
    """Say how to install the extra of that name if what is imported here is missing.

    Raises:
        MissingExtra: A package of the extra is missing.
        MienError: Tk is, which pip can't install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mien"):
            raise
        if error.name in ("tkinter", "_tkinter"):
            raise MienError(
                f"{what} needs Tk, which this Python lacks; on Debian and Ubuntu: sudo apt install python3-tk, with "
                "Homebrew: brew install python-tk"
            ) from error
        raise MissingExtra(what, name) from error


def escaped(text: str) -> str:
    """Make a text harmless on any console: undecodable bytes, control characters and Rich's markup are escaped."""
    text = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text.encode("utf-8", "backslashreplace").decode().replace("[", "\\[")
