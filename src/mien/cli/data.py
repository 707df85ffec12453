"""Commands about datasets, `mien data`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import Json, Votes, read_data
from mien.cli.console import bar, err, escaped, new_table, out, say
from mien.errors import DatasetError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset

app = typer.Typer(help="Look at datasets and prepare them.", no_args_is_help=True)


@app.command("info")
def data_info(
    path: Annotated[str | None, typer.Argument(help="Dataset; $MIEN_DATA if not given.")] = None,
    votes: Votes = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a sheet of samples as PNG.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Count a dataset's pictures by split and class.

    Example: `mien data info fer2013.csv --sheet samples.png`
    """
    from dataclasses import asdict

    from mien.data.info import info, sample_sheet
    from mien.pixels import write_picture

    dataset, _ = read_data(path, votes)
    facts = info(dataset)
    if as_json:
        print(json.dumps(asdict(facts), indent=2, default=str))
    else:
        _print_info(dataset)
    if sheet is not None:
        write_picture(sheet, sample_sheet(dataset))


@app.command("prepare")
def data_prepare(
    path: Annotated[str, typer.Argument(help="Dataset of any form.")],
    to: Annotated[Path, typer.Argument(help="The .npz file to write.")],
    votes: Votes = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Resize the pictures to this side in pixels.")
    ] = None,
    hold_out: Annotated[
        str | None, typer.Option(help="FERG-DB and drawn faces: these characters are test.", metavar="NAME,…")
    ] = None,
    valid: Annotated[
        str | None, typer.Option(help="And these valid; if not given, a tenth of the other pictures.", metavar="NAME,…")
    ] = None,
) -> None:
    """Write a dataset as one file that opens in an instant.

    Example: `mien data prepare fer2013.csv.gz fer2013.npz`, `mien data prepare FERG_DB_256 ferg.npz --hold-out malcolm`
    """
    from mien.data import ferg
    from mien.data.prepared import prepare
    from mien.data.readers import data_path

    if hold_out is None and valid is None:
        dataset, _ = read_data(path, votes, size=size)
    else:
        if not ferg.can_read(place := data_path(path)):
            raise DatasetError(f"'{place}' shows no characters; --hold-out and --valid are for FERG-DB and drawn faces")
        held, chosen = (names.split(",") if names else [] for names in (hold_out, valid))
        with err.status(f"reading {escaped(path)}"):
            dataset = ferg.read(place, size=size, votes=votes, hold_out=held, valid=chosen)
    prepare(dataset, to)
    say(f"{len(dataset):,} pictures: {to}")


@app.command("draw")
def data_draw(
    to: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    count: Annotated[int, typer.Option(help="How many pictures.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed draws other pictures, and other extras.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 100,
    characters: Annotated[
        str | None, typer.Option(help="Whom to draw; all that have names if not given.", metavar="NAME,…")
    ] = None,
    extras: Annotated[int, typer.Option(min=0, help="How many made-up characters to draw besides.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a sheet of all characters and expressions, .png or .jpg.", metavar="FILE")
    ] = None,
) -> None:
    """Draw cartoon faces of several characters, as a dataset that is free to use and to pass on.

    Example: `mien data draw cartoons --count 5000 --extras 20 --sheet cartoons.png`
    """
    from mien.cartoons.characters import CHARACTERS, cartoon_sheet, write_cartoons
    from mien.pixels import write_picture

    named = characters.split(",") if characters else CHARACTERS
    names = list(dict.fromkeys([*named, *(f"extra{i}" for i in range(1, extras + 1))]))
    with bar("drawing") as progress:
        write_cartoons(to, count, seed=seed, size=size, characters=names, progress=progress)
    say(f"{count:,} pictures of {len(names)} characters: {to}")
    if sheet is not None:
        write_picture(sheet, cartoon_sheet(seed=seed, characters=names))
        say(f"sheet: {sheet}")


@app.command("audit")
def data_audit(
    path: Annotated[str | None, typer.Argument(help="Dataset; $MIEN_DATA if not given.")] = None,
    votes: Votes = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/audit-DATA if not given.", metavar="DIR")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Least correlation of near duplicates, up to 1.")] = 0.9,
    as_json: Json = False,
) -> None:
    """Find exact and near duplicates, leaks between splits, labels in conflict, and pictures of no face.

    Example: `mien data audit fer2013.csv --out audits/fer2013`
    """
    from mien.data.audit import audit
    from mien.reports.audit import audit_figures, write_audit

    dataset, _ = read_data(path, votes)
    with bar("comparing") as progress:
        audited = audit(dataset, threshold=threshold, progress=progress)
    report = write_audit(audited, dataset, to or Path("reports") / f"audit-{dataset.name}")
    found = audit_figures(audited, has_votes=dataset.votes is not None)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = new_table("split", "pictures", *(f"also in {name}" for name in found["splits"]), "blank", "not a face")
    for name, part in found["splits"].items():
        also = ("" if other == name else f"{part['same_photo'][other]:,}" for other in found["splits"])
        table.add_row(name, f"{part['pictures']:,}", *also, f"{part['blank']:,}", f"{part['not_a_face']:,}")
    out.print(table)
    for what, group in (("the same pixels", found["exact"]), ("the same photo", found["clusters"])):
        say(
            f"{group['pictures']:,} pictures in {group['groups']:,} groups of {what}; "
            f"{group['conflicting_groups']:,} groups have several labels"
        )
    say(f"report: {report}")


def _print_info(dataset: Dataset) -> None:
    from mien.data.dataset import SPLITS
    from mien.data.info import info

    facts = info(dataset)
    counts = dataset.counts()
    table = new_table("split", *map(escaped, dataset.labels), "all", title=escaped(dataset.name))
    for name, row in zip((*SPLITS, "all"), [*counts, counts.sum(0)], strict=True):
        table.add_row(name, *(f"{n:,}" for n in row), f"{row.sum():,}")
    out.print(table)
    height, width, channels = dataset.images.shape[1:]
    colour = "grey" if channels == 1 else "RGB"
    votes = "with FER+ votes" if dataset.votes is not None else "no FER+ votes"
    say(f"{width}×{height} {colour}, {facts.n_blank} blank, {votes}")
    say(f"fingerprint {dataset.fingerprint}")
