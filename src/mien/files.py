"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import OutputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of `path` once the block has ended well.

    The temporary file lies in the same folder and keeps the suffix, since writers choose a format by it.
    When the block fails it is removed, and a file that stood at `path` before is left as it was.

    Raises:
        OutputError: The file cannot be written: no such folder, no permission, disk full.
    """
    path = Path(path)
    try:
        temporary = _new_file_beside(path)
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        yield temporary
        _allow_as_umask_says(temporary)  # again, since some libraries put a file of their own in its place
        os.replace(temporary, path)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _new_file_beside(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=".mien-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    _allow_as_umask_says(Path(name))
    return Path(name)


def _allow_as_umask_says(path: Path) -> None:
    """Let others read a file that mkstemp made for its owner alone."""
    with suppress(OSError):
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(0o666 & ~umask)


def _output_error(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"cannot write '{path}': {reason}; choose another place or make room there")
