"""How good our crops are: FER2013 faces are put into a larger picture, found, cut out and classified again.

A picture of PublicTest is enlarged four times and given a border, so that its frame in the canvas is known. Each
detector looks for the face; what it finds is cropped as in use. On the pictures where a face was found the table
compares three crops: the given one, the frame itself enlarged and shrunk back (what is lost by resizing alone), and
the one that was found. Then: where boxes and points lie, in parts of the frame's side.

Example: python benchmarks/crops.py --data fer2013.csv.gz --out crops.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from _common import arguments, available_detectors, markdown, report
from mien.data.dataset import Dataset
from mien.data.readers import data_path, read_dataset
from mien.errors import MienError
from mien.machine.bench import threads
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.pixels import to_rgb
from mien.structures import Box, Face, ImageArray, IntArray
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector

POINTS = ("right eye", "left eye", "nose", "right mouth corner", "left mouth corner")
BORDERS = {"replicate": cv2.BORDER_REPLICATE, "grey": cv2.BORDER_CONSTANT}
MIN_OVERLAP = 0.3  # IoU of box and frame from which on the face was found; YuNet's boxes have about 0.8

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture with one face.

    Args:
        image: RGB uint8 (H, W, 3).
        frame: Position of the FER2013 image in it.
    """

    image: ImageArray
    frame: Box


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", help="FER2013: file, folder or zip; $MIEN_DATA if not given")
    parser.add_argument("--split", default="valid", choices=("train", "valid", "test"), help="default: %(default)s")
    parser.add_argument("--model", default="base", help="a name from `mien models`, or an .onnx file")
    parser.add_argument("-n", type=int, default=600, help="pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pictures (default: %(default)s)")
    parser.add_argument("--scale", type=int, default=4, help="how much they are enlarged (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=0.5, help="border, in parts of the side (default: %(default)s)")
    parser.add_argument("--border", default="replicate", choices=BORDERS, help="its content (default: %(default)s)")
    options = parser.parse_args()
    try:
        classifier = load_classifier(options.model)
        dataset = sample(read_dataset(data_path(options.data)).split(options.split), options.n, seed=options.seed)
        canvases = [
            place_on_canvas(image, scale=options.scale, margin_ratio=options.margin, border=options.border)
            for image in dataset.images
        ]
        detectors, missing = available_detectors()
        found = {name: [find_face(detector, canvas) for canvas in canvases] for name, detector in detectors.items()}
        correct = {name: correctness(classifier, dataset, canvases, faces) for name, faces in found.items()}
    except MienError as error:
        sys.exit(str(error))
    accuracies = {name: summary(found[name], correct[name]) for name in found}
    places = {name: geometry(canvases, faces) for name, faces in found.items()}
    title = f"Crops: {len(dataset)} pictures of {dataset.name} {options.split}, model {classifier.spec.name}"
    report(
        f"{title}, ×{options.scale}, {options.border} border",
        [accuracy_table(accuracies), *(geometry_table(name, place) for name, place in places.items()), *missing],
        {"accuracy": accuracies, "geometry": places, "skipped": missing},
        out=options.out,
        **threads(),
        seed=options.seed,
        fingerprint=dataset.fingerprint[:12],
    )


def sample(dataset: Dataset, n: int, *, seed: int) -> Dataset:
    """Return n of the pictures, or all if there are fewer, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:n]
    return dataset.select(np.sort(chosen))


def place_on_canvas(image: ImageArray, *, scale: int, margin_ratio: float, border: str) -> Canvas:
    """Enlarge a picture and put a border around it.

    Args:
        image: uint8 (H, W, 1) or (H, W, 3).
        scale: Enlargement, by cubic interpolation.
        margin_ratio: Width of the border on each side, in parts of the enlarged picture's.
        border: "replicate" repeats the edge's pixels, "grey" is even.
    """
    height, width = scale * image.shape[0], scale * image.shape[1]
    large = cv2.resize(to_rgb(image), (width, height), interpolation=cv2.INTER_CUBIC)
    margin = round(margin_ratio * width)
    padded = cv2.copyMakeBorder(large, margin, margin, margin, margin, BORDERS[border], value=(128, 128, 128))
    return Canvas(np.asarray(padded, np.uint8), Box(margin, margin, margin + width, margin + height))


def find_face(detector: FaceDetector, canvas: Canvas) -> Face | None:
    """Return the most confident face that a detector sees, if it is the one in the frame."""
    faces = detector.detect(canvas.image)
    return faces[0] if faces and faces[0].box.iou(canvas.frame) >= MIN_OVERLAP else None


def correctness(
    classifier: OnnxClassifier, dataset: Dataset, canvases: Sequence[Canvas], faces: Sequence[Face | None]
) -> dict[str, list[bool]]:
    """Return, for each kind of crop, whether the label is right; only for pictures with a face found."""
    at = [i for i, face in enumerate(faces) if face is not None]
    crops = {
        "given": [dataset.images[i] for i in at],
        "resized": [frame_of(canvases[i]) for i in at],
        "found": [crop_faces(canvases[i].image, [face])[0] for i in at if (face := faces[i]) is not None],
    }
    head = dataset.labels.name
    return {kind: right_labels(classifier, images, dataset.targets[at], head=head) for kind, images in crops.items()}


def frame_of(canvas: Canvas) -> ImageArray:
    """Return the frame's pixels of a canvas."""
    x1, y1, x2, y2 = (round(v) for v in (canvas.frame.x1, canvas.frame.y1, canvas.frame.x2, canvas.frame.y2))
    return canvas.image[y1:y2, x1:x2]


def right_labels(
    classifier: OnnxClassifier, images: Sequence[ImageArray], targets: IntArray, *, head: str
) -> list[bool]:
    """Tell of each picture whether its most probable label is the true one."""
    parts = [images[i : i + 64] for i in range(0, len(images), 64)]
    labels = [classifier.predict_proba(part, head=head).argmax(1) for part in parts]
    return [bool(right) for right in np.concatenate(labels) == targets] if labels else []


def summary(faces: Sequence[Face | None], correct: dict[str, list[bool]]) -> dict[str, float]:
    """Return the detection rate, the accuracy of each kind of crop, and found minus given with its standard error."""
    rates = {"pictures": float(len(faces)), "found_rate": float(np.mean([face is not None for face in faces]))}
    if not correct["found"]:
        return rates
    difference = np.array(correct["found"], np.float64) - np.array(correct["given"], np.float64)
    return {
        **rates,
        **{f"{kind}_accuracy": float(np.mean(right)) for kind, right in correct.items()},
        "difference": float(difference.mean()),
        "standard_error": float(difference.std() / np.sqrt(len(difference))),
    }


def geometry(canvases: Sequence[Canvas], faces: Sequence[Face | None]) -> dict[str, dict[str, float]]:
    """Return the positions of boxes and landmarks relative to the frame: x, y, width, height, deviations."""
    pairs = [(canvas.frame, face) for canvas, face in zip(canvases, faces, strict=True) if face is not None]
    if not pairs:
        return {}
    corners = np.array([in_frame(np.array([(f.box.x1, f.box.y1), (f.box.x2, f.box.y2)]), frame) for frame, f in pairs])
    boxes = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], 1)
    places = {"box": spread(boxes, ("x", "y", "width", "height"))}
    points = [in_frame(np.asarray(f.landmarks, np.float64), frame) for frame, f in pairs if f.landmarks is not None]
    if points:
        places |= {name: spread(np.array(points)[:, i], ("x", "y")) for i, name in enumerate(POINTS)}
    return places


def in_frame(points: Numbers, frame: Box) -> Numbers:
    """Return points (n, 2) of the canvas in parts of the frame: its corners are (0, 0) and (1, 1)."""
    return np.asarray((points - (frame.x1, frame.y1)) / (frame.width, frame.height), np.float64)


def spread(values: Numbers, names: Sequence[str]) -> dict[str, float]:
    """Return mean and standard deviation of each column (n, k)."""
    means = {name: float(mean) for name, mean in zip(names, values.mean(0), strict=True)}
    return means | {f"{name}_std": float(std) for name, std in zip(names, values.std(0), strict=True)}


def accuracy_table(accuracies: dict[str, dict[str, float]]) -> str:
    rows = []
    for name, a in accuracies.items():
        figures = ["–"] * 4
        if "difference" in a:
            figures = [f"{a[f'{kind}_accuracy']:.1%}" for kind in ("given", "resized", "found")]
            figures.append(f"{100 * a['difference']:+.1f} ± {100 * a['standard_error']:.1f}")
        rows.append([name, f"{a['found_rate']:.1%}", *figures])
    header = ["detector", "found", "given crop", "frame resized", "found crop", "found − given, points"]
    return markdown(header, rows)


def geometry_table(detector: str, places: dict[str, dict[str, float]]) -> str:
    rows = [
        [what, *(f"{p[k]:.3f} ± {p[f'{k}_std']:.3f}" if k in p else "" for k in ("x", "y", "width", "height"))]
        for what, p in places.items()
    ]
    return markdown([f"{detector}, in parts of the frame", "x", "y", "width", "height"], rows)


if __name__ == "__main__":
    main()
