"""Commands about datasets, `mien data`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import Json, Votes, read_data, reads_data
from mien.cli.console import bar, new_table, print_json, print_table, say, waiting
from mien.data.reading import AS_CROPS, Reading
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.data.info import DatasetInfo
    from mien.reports.audit_json import AuditFigures

app = typer.Typer(help="Inspect, prepare, export, audit and draw datasets.", no_args_is_help=True)

Source = Annotated[str | None, typer.Argument(help="Dataset; $MIEN_DATA if not given.", metavar="DATASET")]


@app.command("info")
@reads_data
def data_info(
    path: Source = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    sheet: Annotated[Path | None, typer.Option(help="Write a sheet of samples as PNG.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Count a dataset's images by split and class.

    Example: `mien data info fer2013.csv --sheet samples.png`
    """
    from dataclasses import asdict

    from mien.data.info import info, sample_sheet
    from mien.data.readers import data_path
    from mien.files import check_folder_of
    from mien.pixels import write_picture
    from mien.targets import check_targets

    check_targets([data_path(path), votes], pictures=[sheet])
    if sheet is not None:
        check_folder_of(sheet)
    dataset, _ = read_data(path, votes, reading)
    facts = info(dataset)
    if as_json:
        print_json(asdict(facts))
    else:
        _print_info(facts)
    if sheet is not None:
        write_picture(sheet, sample_sheet(dataset))


@app.command("prepare")
@reads_data
def data_prepare(
    path: Annotated[str, typer.Argument(help="Dataset in any format.", metavar="DATASET")],
    to: Annotated[Path, typer.Argument(help="The .npz file to write.", metavar="FILE")],
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    size: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Resize the images to squares of this side in pixels.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Draw the splits with these shares of every class: 0.8,0.1,0.1.", metavar="TRAIN,VALID,TEST"),
    ] = None,
    subset: Annotated[
        int | None, typer.Option(min=1, help="Keep this many images, in proportion for every split and class.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --split and --subset.")] = 0,
    hold_out: Annotated[
        str | None, typer.Option(help="FERG-DB and drawn faces: characters of the test split.", metavar="NAME,…")
    ] = None,
    valid: Annotated[
        str | None,
        typer.Option(
            help="Characters of the valid split; if not given, a tenth of the other images.", metavar="NAME,…"
        ),
    ] = None,
) -> None:
    """Write a dataset, or a part of it, as one file that loads in an instant.

    Examples: `mien data prepare fer2013.csv.gz fer2013.npz`, `mien data prepare photos small.npz --split 0.7,0.15,0.15
    --subset 500`, `mien data prepare FERG_DB_256 ferg.npz --hold-out malcolm`
    """
    from mien.data.prepared import check_target, prepare
    from mien.data.readers import data_path
    from mien.data.splits import draw_splits, draw_subset
    from mien.files import check_folder_of
    from mien.targets import check_targets

    check_target(to)
    check_targets([data_path(path), votes], files=[to])
    check_folder_of(to)

    if hold_out is None and valid is None:
        dataset, _ = read_data(path, votes, replace(reading, size=size), note=split is None)
    elif reading != AS_CROPS:
        raise ConfigError(
            "--hold-out and --valid are for drawn faces, which are crops; leave out --detector, --group-by, --classes"
        )
    else:
        dataset = _read_characters(path, votes, size=size, hold_out=hold_out, valid=valid)
    if split is not None:
        dataset = draw_splits(dataset, _shares(split), seed=seed)
    if subset is not None:
        dataset = draw_subset(dataset, subset, seed=seed)
    if split is not None or subset is not None:
        dataset = replace(dataset, name=to.stem)  # reports must not take a part, or other splits, for the original
    prepare(dataset, to)
    say(f"{_totals(dataset)}: {to}")


@app.command("export")
@reads_data
def data_export(
    path: Annotated[str, typer.Argument(help="Dataset in any format.", metavar="DATASET")],
    to: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    reading: Reading = AS_CROPS,
) -> None:
    """Write a dataset as PNG files, DIR/SPLIT/CLASS/NUMBER.png; FER+ votes are lost.

    Example: `mien data export fer2013.npz faces`
    """
    from mien.data.export import export_folders
    from mien.data.readers import data_path
    from mien.targets import check_targets

    check_targets([data_path(path)], folders=[to])
    dataset, _ = read_data(path, None, reading)
    with bar("writing") as progress:
        export_folders(dataset, to, progress=progress)
    say(f"{_totals(dataset)}: {to}")


@app.command("draw")
def data_draw(
    to: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    count: Annotated[int, typer.Option(help="Number of images.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed draws other images and other extras.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 100,
    characters: Annotated[
        str | None, typer.Option(help="Characters to draw; all named ones if not given.", metavar="NAME,…")
    ] = None,
    extras: Annotated[int, typer.Option(min=0, help="Number of random characters to draw in addition.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a sheet of all characters and expressions, .png or .jpg.", metavar="FILE")
    ] = None,
) -> None:
    """Draw cartoon faces of several characters, as a dataset that is free to use and share.

    Example: `mien data draw cartoons --count 5000 --extras 20 --sheet cartoons.png`
    """
    from mien.cartoons.characters import CHARACTERS, cartoon_sheet, write_cartoons
    from mien.files import check_folder_of
    from mien.pixels import write_picture
    from mien.targets import check_targets

    check_targets((), pictures=[sheet], folders=[to])
    if sheet is not None and sheet.parent != to:
        check_folder_of(sheet)
    named = characters.split(",") if characters else CHARACTERS
    names = list(dict.fromkeys([*named, *(f"extra{i}" for i in range(1, extras + 1))]))
    with bar("drawing") as progress:
        write_cartoons(to, count, seed=seed, size=size, characters=names, progress=progress)
    say(f"{count:,} images: {to}")
    if sheet is not None:
        write_picture(sheet, cartoon_sheet(seed=seed, characters=names))
        say(f"sheet: {sheet}")


@app.command("audit")
@reads_data
def data_audit(
    path: Source = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    to: Annotated[
        Path | None, typer.Option("--out", help="Report folder; reports/audit-DATA if not given.", metavar="DIR")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Least correlation of near duplicates, up to 1.")] = 0.9,
    as_json: Json = False,
) -> None:
    """Find exact and near duplicates, leaks between splits, conflicting labels, and images without a face.

    Example: `mien data audit fer2013.csv --out audits/fer2013`
    """
    from mien.data.audit import audit
    from mien.data.readers import data_path
    from mien.reports.audit import FILES, write_audit
    from mien.reports.audit_json import audit_figures
    from mien.reports.report import file_name
    from mien.targets import check_targets

    check_targets(
        [data_path(path), votes], files=[to / name for name in FILES] if to else [], folders=[to or Path("reports")]
    )
    dataset, _ = read_data(path, votes, reading)
    with bar("comparing") as progress:
        audited = audit(dataset, threshold=threshold, progress=progress)
    report = write_audit(audited, dataset, to or Path("reports") / file_name("audit", dataset.name))
    found = audit_figures(audited, has_votes=dataset.votes is not None)
    if as_json:
        print_json(found)
    else:
        _print_audit(found)
        say(f"report: {report}")


def _read_characters(
    path: str, votes: Path | None, *, size: int | None, hold_out: str | None, valid: str | None
) -> Dataset:
    from mien.data.readers import data_path, read_characters

    test, chosen = (names.split(",") if names else [] for names in (hold_out, valid))
    with waiting(f"reading {path}"):
        return read_characters(data_path(path), size=size, votes=votes, hold_out=test, valid=chosen)


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise ConfigError(f"--split is '{text}'; expected three shares that sum to 1, such as 0.8,0.1,0.1") from None


def _totals(dataset: Dataset) -> str:
    from mien.data.dataset import SPLITS

    totals = zip(SPLITS, dataset.counts().sum(axis=1), strict=True)
    return f"{len(dataset):,} images ({', '.join(f'{name} {n:,}' for name, n in totals)})"


def _print_info(facts: DatasetInfo) -> None:
    labels = list(facts.counts["train"])
    table = new_table("split", *labels, "all", title=facts.name)
    for name, row in facts.counts.items():
        table.add_row(name, *(f"{n:,}" for n in row.values()), f"{sum(row.values()):,}")
    totals = [sum(row[label] for row in facts.counts.values()) for label in labels]
    table.add_row("all", *(f"{n:,}" for n in totals), f"{facts.n_pictures:,}")
    print_table(table)
    colour = "grey" if facts.channels == 1 else "RGB"
    votes = "with FER+ votes" if facts.has_votes else "no FER+ votes"
    persons = "" if facts.n_groups is None else f", {facts.n_groups:,} persons or groups"
    say(f"{facts.width}×{facts.height} {colour}, {facts.n_blank} blank, {votes}{persons}")
    say(f"fingerprint {facts.fingerprint}")


def _print_audit(found: AuditFigures) -> None:
    table = new_table("split", "images", *(f"also in {name}" for name in found["splits"]), "blank", "not a face")
    for name, part in found["splits"].items():
        also = ("" if other == name else f"{part['same_photo'][other]:,}" for other in found["splits"])
        table.add_row(name, f"{part['pictures']:,}", *also, f"{part['blank']:,}", f"{part['not_a_face']:,}")
    print_table(table)
    for kind, group in (("the same pixels", found["exact"]), ("the same photo", found["clusters"])):
        say(
            f"{group['pictures']:,} images in {group['groups']:,} groups of {kind}; "
            f"{group['conflicting_groups']:,} groups have conflicting labels"
        )
