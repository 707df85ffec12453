"""`mien explain`: the parts of a face that drive its prediction."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.arguments import Detector, Labels, Model, ModelsDir, model_file
from mien.cli.console import bar, percent, say
from mien.errors import InputError
from mien.models.spec import DEFAULT_MODEL


def explain(
    photo: Annotated[Path, typer.Argument(help="A picture with faces.", readable=False)],
    to: Annotated[
        Path, typer.Option("--out", help="Folder for PHOTO-explained.png.", metavar="DIR", show_default="this folder")
    ] = Path(),
    label: Annotated[
        str | None, typer.Option(help="Label to explain; each face's most probable one if not given.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    labels: Labels = None,
    detector: Detector = "auto",
    models_dir: ModelsDir = None,
) -> None:
    """Draw the parts of each face that drive its prediction.

    Example: `mien explain photo.jpg --out explained`
    """
    from mien.drawing.explanations import draw_explanations
    from mien.files import make_folder, unused
    from mien.pixels import write_picture
    from mien.recognizer import Recognizer
    from mien.sources.pictures import read_picture
    from mien.targets import check_targets
    from mien.vision.crop import crop_faces
    from mien.vision.rise import explain_faces

    if os.path.isdir(photo):
        raise InputError(f"'{photo}' is a folder; expected a picture")
    path = unused(to / f"{photo.stem}-explained.png")  # other pictures have this stem, and labels are compared
    check_targets([photo, model_file(model)], pictures=[path], folders=[to])
    recognizer = Recognizer(detector, model, labels=labels, models_dir=models_dir)
    image = read_picture(photo)
    faces = recognizer.detect(image, any_angle=True)
    crops = crop_faces(image, faces, geometry=recognizer.classifier.spec.crop)
    with bar("explaining") as progress:
        explanations = explain_faces(
            recognizer.classifier, crops, label=label, head=recognizer.head.labels.name, progress=progress
        )
    if not explanations:
        say(f"{photo}: no face found")
        return
    make_folder(to)
    write_picture(path, draw_explanations(explanations))
    for number, explanation in enumerate(explanations, start=1):
        say(f"face {number}: {explanation.label} {percent(explanation.probability)}")
    say(f"explained: {path}")
