"""Simulated fusion: faces of FER2013 and voices of acted speech with the same label, drawn independently.

No corpus with both was at hand, so a pair is a face and a voice of two people who share nothing but the label. The
figures are simulated: they show that both are calibrated well enough to be multiplied, and by the pairings of hard
with hard and hard with easy how much depends on independence. They are no accuracy on people who speak to a camera.

Faces are those of the test split; voices are answers about speakers that the model has not heard, `answers.npz` in the
folder of `mien train voice`: `probabilities` (n, k), `targets` (n,), `labels` (k,), `folds` (n,) and the data's `name`.
Labels are drawn equally often.

Example: python benchmarks/fusion.py --data fer2013.csv.gz --voices runs/voice-ravdess/answers.npz --out fusion.json
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from _common import Target, arguments, existing, markdown, report, target_data, target_table
from mien.data.dataset import Dataset
from mien.data.readers import data_path, read_dataset
from mien.errors import DatasetError, MienError
from mien.evaluation.metrics import ece, nll
from mien.fusion import Fused, fuse, shared_labels
from mien.labels import FER2013, LabelSet
from mien.models.classifier import load_classifier
from mien.structures import FloatArray, IntArray, Prediction

WANTED = {"independent": 89, "hard with hard": 83}  # accuracy in %, with seven labels
ARRAYS = ("probabilities", "targets", "labels", "folds", "name")
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """Predictions of faces or voices with known labels.

    Args:
        probabilities: float32 (n, k).
        targets: True label ids, shape (n,).
        labels: The k labels.
    """

    probabilities: FloatArray
    targets: IntArray
    labels: LabelSet

    def select(self, rows: npt.NDArray[np.bool_]) -> Answers:
        """Return some of the answers, by a mask of shape (n,)."""
        return Answers(self.probabilities[rows], self.targets[rows], self.labels)

    def from_hard_to_easy(self, label: str) -> IntArray:
        """Return the rows with a true label, by the probability that they give it."""
        at = self.labels.index(label)
        rows = np.flatnonzero(self.targets == at)
        return np.asarray(rows[np.argsort(self.probabilities[rows, at], kind="stable")], np.int64)

    def among(self, labels: Sequence[str]) -> list[str]:
        """Return those of the labels that some answer is about: a speaker may lack one."""
        return [label for label in labels if self.labels.index(label) in self.targets]

    def predictions(self, rows: IntArray) -> list[Prediction]:
        """Return the predictions of some rows."""
        return [Prediction(self.probabilities[row], self.labels) for row in rows]


# The place of the voice among those with its label, from hardest (0) to easiest (1), by that of the face.
PAIRINGS: dict[str, Callable[[Numbers, np.random.Generator], Numbers]] = {
    "independent": lambda places, rng: rng.random(len(places)),
    "hard with hard": lambda places, _: places,
    "hard with easy": lambda places, _: 1 - places,
}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", help="FER2013: file, folder or zip; $MIEN_DATA if not given")
    parser.add_argument("--voices", type=Path, required=True, metavar="FILE", help="answers.npz of a run")
    parser.add_argument("--model", default="base", help="of the faces: a name from `mien models`, or an .onnx file")
    parser.add_argument("--labels", default="fer2013", help="label set of the faces (default: %(default)s)")
    parser.add_argument(
        "--split", default="test", choices=("valid", "test"), help="of the faces (default: %(default)s)"
    )
    parser.add_argument("-n", type=int, default=7000, help="pairs per fold (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs (default: %(default)s)")
    options = parser.parse_args()
    try:
        voices, folds = read_voices(existing(options.voices, flag="--voices"))
        dataset = read_dataset(data_path(options.data)).split(options.split)
        faces = predicted_faces(dataset, options.model, options.labels)
        shared = shared_labels(faces.labels, voices.labels)
        by_fold = [voices.select(folds == fold) for fold in np.unique(folds)]
        rng = np.random.default_rng(options.seed)
        same = {
            pairing: [same_label(faces, fold, shared, pairing, n=options.n, rng=rng) for fold in by_fold]
            for pairing in PAIRINGS
        }
        apart = [other_label(faces, fold, shared, n=options.n, rng=rng) for fold in by_fold]
    except MienError as error:
        sys.exit(str(error))
    targets = [
        Target(what=f"simulated, {pairing}", value=mean(same[pairing], "fused"), limit=limit, unit="%", at_least=True)
        for pairing, limit in WANTED.items()
    ]
    report(
        f"Simulated fusion: faces by {options.model}, voices of {voices.labels.name}",
        [
            f"Simulated: {len(faces.targets):,} faces of {dataset.name} {options.split} and {len(voices.targets):,} "
            f"voices in {len(by_fold)} folds, of different people; labels {', '.join(shared)}. Mean ± s.d. of folds.",
            same_table(same),
            other_table(apart),
            *([target_table(targets)] if len(shared) == len(FER2013) else []),
        ],
        {"simulated_same_label": same, "simulated_other_label": apart, "targets": target_data(targets)},
        out=options.out,
        pairs_per_fold=options.n,
        seed=options.seed,
        fingerprint=dataset.fingerprint[:12],
    )


def read_voices(path: Path) -> tuple[Answers, npt.NDArray[np.generic]]:
    """Return the answers in an .npz file, and the fold of each.

    Raises:
        DatasetError: It holds no such arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, targets, names, folds, name = (file[key] for key in ARRAYS)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"cannot read the answers in '{path}': {error}; expected an .npz with {', '.join(ARRAYS)}"
        ) from error
    labels = LabelSet(str(name), tuple(map(str, names)))
    if rows.shape != (len(targets), len(labels)) or len(folds) != len(targets):
        raise DatasetError(f"'{path}' has probabilities {rows.shape} and {len(folds)} folds of {len(targets)} answers")
    return Answers(np.asarray(rows, np.float32), np.asarray(targets, np.int64), labels), folds


def predicted_faces(dataset: Dataset, model: str, labels: str) -> Answers:
    """Return a model's predictions of the faces whose label it knows."""
    classifier = load_classifier(model)
    head = classifier.spec.head(labels)
    mapping = np.array([-1 if at is None else at for at in dataset.labels.mapping_to(head.labels)], np.int64)
    known = np.flatnonzero(mapping[dataset.targets] >= 0)
    probabilities = classifier.predict_proba([dataset.images[i] for i in known], head=labels)
    return Answers(probabilities, mapping[dataset.targets[known]], head.labels)


def same_label(
    faces: Answers, voices: Answers, labels: Sequence[str], pairing: str, *, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Pair faces and voices of the same label, all labels equally often.

    Returns:
        Accuracies in %: face, voice, fused, one right (of face and voice), decided (of the fused answers where the two
        don't contradict each other); shares in %: contradict; nll (in nats) and ece (in %) of the fused answers.
    """
    labels = voices.among(labels)
    of_faces, of_voices = [], []
    for label in labels:
        face_rows, voice_rows = faces.from_hard_to_easy(label), voices.from_hard_to_easy(label)
        places = rng.random(n // len(labels))
        of_faces.append(face_rows[at(places, len(face_rows))])
        of_voices.append(voice_rows[at(PAIRINGS[pairing](places, rng), len(voice_rows))])
    chosen, others = np.concatenate(of_faces), np.concatenate(of_voices)
    names = np.repeat(labels, n // len(labels))
    pairs = fused_pairs(faces, chosen, voices, others)
    face = right(faces.predictions(chosen), names)
    voice = right(voices.predictions(others), names)
    fused = right([pair.prediction for pair in pairs], names)
    clear = np.array([not pair.contradict for pair in pairs])
    probabilities = np.stack([pair.prediction.probabilities for pair in pairs])
    return {
        "face": percent(face),
        "voice": percent(voice),
        "fused": percent(fused),
        "one right": percent(face | voice),
        "contradict": percent(~clear),
        "decided": percent(fused[clear]),
        "nll": nll(probabilities, faces.targets[chosen]),
        "ece": 100 * ece(probabilities, faces.targets[chosen]),
    }


def other_label(
    faces: Answers, voices: Answers, labels: Sequence[str], *, n: int, rng: np.random.Generator
) -> dict[str, float]:
    """Pair faces and voices of different labels, as when people show one thing and sound another.

    Returns:
        Shares in %: of pairs that contradict each other, and of the fused answers that name the label of the face, of
        the voice, or neither.
    """
    labels = voices.among(labels)
    first = np.arange(n) % len(labels)
    second = (first + rng.integers(1, len(labels), n)) % len(labels)
    by_label = {label: (faces.from_hard_to_easy(label), voices.from_hard_to_easy(label)) for label in labels}
    chosen = np.array([rng.choice(by_label[labels[i]][0]) for i in first])
    others = np.array([rng.choice(by_label[labels[i]][1]) for i in second])
    pairs = fused_pairs(faces, chosen, voices, others)
    of_face, of_voice = (right([pair.prediction for pair in pairs], np.take(labels, ids)) for ids in (first, second))
    return {
        "contradict": percent(np.array([pair.contradict for pair in pairs])),
        "face's label": percent(of_face),
        "voice's label": percent(of_voice),
        "another": percent(~(of_face | of_voice)),
    }


def at(places: Numbers, n: int) -> IntArray:
    """Return the indices of places in [0, 1] among n."""
    return np.minimum((places * n).astype(np.int64), n - 1)


def fused_pairs(faces: Answers, rows: IntArray, voices: Answers, others: IntArray) -> list[Fused]:
    return [fuse(*pair) for pair in zip(faces.predictions(rows), voices.predictions(others), strict=True)]


def right(answers: Sequence[Prediction], names: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    return np.array([answer.label == name for answer, name in zip(answers, names, strict=True)])


def percent(flags: npt.NDArray[np.bool_]) -> float:
    return 100 * float(flags.mean()) if len(flags) else float("nan")


def mean(folds: Sequence[dict[str, float]], key: str) -> float:
    return float(np.mean([fold[key] for fold in folds]))


def cell(folds: Sequence[dict[str, float]], key: str, digits: int = 1) -> str:
    """Return mean ± standard deviation over the folds."""
    values = [fold[key] for fold in folds]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {spread:.{digits}f}"


def same_table(same: dict[str, list[dict[str, float]]]) -> str:
    keys = ("face", "voice", "fused", "one right", "contradict", "decided", "ece")
    rows = [
        [f"simulated, {pairing}", *(cell(folds, key) for key in keys), cell(folds, "nll", 2)]
        for pairing, folds in same.items()
    ]
    return markdown(["same label, %", *keys, "nll"], rows)


def other_table(apart: Sequence[dict[str, float]]) -> str:
    return markdown(
        ["different labels, %", *apart[0]], [["simulated, independent", *(cell(apart, key) for key in apart[0])]]
    )


if __name__ == "__main__":
    main()
