"""`mien predict --parts`: the job of `shards.run`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.console import bar, fail, say
from mien.errors import ConfigError
from mien.files import counted

if TYPE_CHECKING:
    from mien.recognizer import Recognizer
    from mien.shards import Engine, JobSummary


def check_parts(others: Mapping[str, object]) -> None:
    """Raise ConfigError for options that cannot be combined with --parts; `others` holds their values by name."""
    for name, value in others.items():
        if value:
            reason = "a job resumes by itself" if name == "resume" else "a job only writes its parts"
            raise ConfigError(f"--{name} cannot be combined with --parts: {reason}; omit one of them")


def ray_engine(address: str, workers: int | None, device: str) -> Engine:
    """Return the engine of --ray.

    Raises:
        ConfigError: --device cannot be combined with it, or the address is invalid.
        MissingExtra: Ray is not installed.
    """
    from mien.cluster import Ray

    if device != "cpu":
        raise ConfigError("--device cannot be combined with --ray, whose tasks run on CPU cores; omit one of them")
    return Ray(address, workers=workers or None)


def predict_parts(
    paths: list[Path],
    folder: Path,
    recognizer: Recognizer,
    *,
    shard_size: int | None,
    shard_frames: int | None,
    **options: Any,
) -> None:
    """Run a job and print what it found.

    Raises:
        Exit: A file could not be read, in this run or an earlier one; exit code 2.
    """
    from mien.shards import SHARD_FRAMES, SHARD_SIZE, read_summary, run

    n_parts, n_files, n_faces, n_failed = 0, 0, 0, 0
    with bar("recognising", counts=lambda: found(n_faces, n_failed)) as progress:
        try:
            for done in run(
                paths, folder, recognizer, shard_size=shard_size or SHARD_SIZE,
                shard_frames=shard_frames or SHARD_FRAMES, progress=progress, **options,
            ):  # fmt: skip
                n_parts += done.shard is not None
                n_files, n_faces, n_failed = n_files + done.files, n_faces + done.faces, n_failed + done.errors
                for failure in done.failures:
                    fail(failure.error)
        except KeyboardInterrupt:
            kept = f"{counted(n_files, 'file')} in {counted(n_parts, 'part')} of this run kept"
            raise KeyboardInterrupt(f"{kept}; the same command continues") from None
    summary = read_summary(folder)
    if summary is not None:
        _print(summary, folder, n_before=summary.files - n_files)
    if n_failed or (summary is not None and summary.errors):
        raise typer.Exit(2)


def found(n_faces: int, n_failed: int) -> str:
    """Return counts for a progress bar: "17 faces, 2 failed"."""
    return counted(n_faces, "face") + (f", {n_failed:,} failed" if n_failed else "")


def _print(summary: JobSummary, folder: Path, *, n_before: int) -> None:
    if n_before:
        say(f"resumed: {counted(n_before, 'file')} done before, not read again")
    labels = ", ".join(f"{n:,} {label}" for label, n in summary.labels.items())
    say(f"{counted(summary.files, 'file')}, {counted(summary.faces, 'face')}" + (f": {labels}" if labels else ""))
    say(f"{counted(summary.shards, 'part')} in {folder / 'parts'}")
    if summary.errors:
        say(f"{counted(summary.errors, 'error')} in {folder / 'errors.csv'}")
