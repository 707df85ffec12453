"""`mien page`: the page as a static site."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.arguments import ModelsDir
from mien.cli.console import bar, say
from mien.models.spec import DEFAULT_MODEL


def page(
    to: Annotated[Path, typer.Option("--out", help="Folder for the site.", metavar="DIR")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model of the page; may be given several times, the first is used first.",
            metavar="NAME",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Write the page as a static site: recognition runs in the visitor's browser, and no picture leaves it.

    Put the folder on any web server. Example: `mien page --out site && python -m http.server -d site`
    """
    from mien.web.browser import write_site
    from mien.web.settings import MEGABYTE

    with bar("fetching ONNX Runtime for browsers") as progress:
        written = write_site(to, models=model or (DEFAULT_MODEL,), models_dir=models_dir, progress=progress)
    size = sum(file.stat().st_size for file in written.rglob("*") if os.path.isfile(file))
    say(f"site: {written} ({size / MEGABYTE:.1f} MB)")
