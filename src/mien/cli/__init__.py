"""The command line: `main` loads and runs a command, and ends with one line, whatever stops it.

Next to nothing is imported here, not even typing, so that Ctrl-C is answered while all else loads.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn

    Handler = Callable[[int, FrameType | None], object] | int | None

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
BROKEN_PIPE = 141  # exit code of a program whose reader has gone, as a shell counts it: 128 + SIGPIPE


class Interrupted(BaseException):
    """A command was stopped by Ctrl-C or a signal; its text is a hint on how to continue."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; an error that the user can fix is one line on stderr and exit code 2.

    Ctrl-C ends it with exit code 130, SIGTERM with 143, and a closed pipe, as of `mien models | head -1`, with 141.

    Args:
        arguments: Words of the command; those of the program, which ends with the command, when None.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    before = _on_stop(dict.fromkeys(STOPS, _exit_at_once))  # an interrupted import could fail in any way
    try:
        _open_missing_streams()
        from mien.cli.commands import run
        from mien.cli.console import fail, stopped
        from mien.errors import MienError

        try:
            _on_stop(dict.fromkeys(before, interrupt))
            code = run(arguments)
        except MienError as error:
            code = 2
            if isinstance(error.__cause__, BrokenPipeError):
                code = BROKEN_PIPE
            elif not error.reported:
                fail(error)
        except BaseException as error:
            _on_stop(dict.fromkeys(before, _exit_at_once))
            if not (received or isinstance(error, (KeyboardInterrupt, Interrupted))):
                raise
            stopped(str(error) if isinstance(error, Interrupted) else "")
            code = 128 + (received or [signal.SIGINT])[0]
    finally:
        _on_stop(dict.fromkeys(before, _exit_at_once) if arguments is None else before)  # a program ends after this
    sys.exit(code)


def _on_stop(handlers: dict[signal.Signals, Handler]) -> dict[signal.Signals, Handler]:
    """Set the handlers of termination signals, and return those before; ignored signals, as under nohup, stay so."""
    handled = [number for number in handlers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    try:
        return {number: signal.signal(number, handlers[number]) for number in handled}
    except ValueError:  # in a thread other than the main one
        return {}


def _exit_at_once(number: int, _: FrameType | None) -> NoReturn:
    os.write(2, b"stopped\n")
    os._exit(128 + number)


def _open_missing_streams() -> None:
    """Take the numbers of closed standard streams, lest a file of ours gets one, and with it all that libraries print.

    Printing to a closed standard output fails, as on a full disk, so that no result is lost in silence.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)  # takes the lowest free number
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for the program's whole life
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # likewise
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # "?" for characters that the terminal's code page lacks
