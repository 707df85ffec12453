"""One recogniser in several threads and processes answers as it does alone."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from detectors import yunet_file
from mien.models.temporal import TemporalModel
from mien.recognizer import Recognizer
from mien.sources.pictures import read_picture
from mien.structures import Expression, ImageArray
from mien.vision.yunet import YuNetDetector

ASTRONAUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"
DETECTORS = ("haar", "yunet", "whole")


def recognizer_of(detector: str, model: Path) -> Recognizer:
    return Recognizer(YuNetDetector(yunet_file()) if detector == "yunet" else detector, str(model))


@pytest.fixture(scope="module")
def pictures() -> list[ImageArray]:
    """One photo at twelve sizes, so that a detector whose state two threads share mixes them up."""
    photo = read_picture(ASTRONAUT)
    sizes = [160 + 32 * i for i in range(12)]
    return [np.asarray(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA), np.uint8) for side in sizes]


def assert_same(seen: Sequence[list[Expression]], alone: Sequence[list[Expression]]) -> None:
    assert list(seen) == list(alone)  # boxes, scores and labels
    for expressions, others in zip(seen, alone, strict=True):
        for expression, other in zip(expressions, others, strict=True):
            np.testing.assert_array_equal(expression.prediction.probabilities, other.prediction.probabilities)


def recognize_all(recognizer: Recognizer, pictures: Sequence[ImageArray]) -> list[list[Expression]]:
    return [recognizer.recognize(picture) for picture in pictures]


@pytest.mark.parametrize("detector", DETECTORS)
def test_threads_that_share_a_recogniser_get_the_serial_answers(
    detector: str, tiny_model: Path, pictures: list[ImageArray]
) -> None:
    recognizer = recognizer_of(detector, tiny_model)
    alone = recognize_all(recognizer, pictures)
    with ThreadPoolExecutor(4) as threads:
        seen = list(threads.map(recognizer.recognize, 4 * pictures))
    assert_same(seen, 4 * alone)


# Python warns of every fork in a process with threads, as OpenCV and ONNX Runtime have them.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_process_gets_the_answers_of_its_parent(
    method: str, detector: str, tiny_model: Path, pictures: list[ImageArray]
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    recognizer = recognizer_of(detector, tiny_model)
    alone = recognize_all(recognizer, pictures[:3])
    with multiprocessing.get_context(method).Pool(1) as pool:
        seen = pool.apply_async(recognize_all, (recognizer, pictures[:3])).get(timeout=120)
    assert_same(seen, alone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("detector", ["haar", "yunet"])
def test_a_recogniser_used_before_a_fork_works_in_the_child(
    detector: str, tiny_model: Path, pictures: list[ImageArray]
) -> None:
    recognizer = recognizer_of(detector, tiny_model)
    alone = recognize_all(recognizer, pictures[:3])
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context(
        "fork"
    ).Process(  # inherits the recogniser, nothing is pickled
        target=lambda: sender.send(recognize_all(recognizer, pictures[:3]))
    )
    child.start()
    try:
        assert receiver.poll(120)
        assert_same(receiver.recv(), alone)
        child.join(20)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert_same(recognize_all(recognizer, pictures[:3]), alone)


FORKING = """
import os, sys
import numpy as np
from pathlib import Path
from mien.models.classifier import OnnxClassifier
classifier, crops = OnnxClassifier(Path(sys.argv[1]), threads=2), [np.zeros((48, 48, 3), np.uint8)] * 50
alone = classifier.predict_proba(crops)
if os.fork() == 0:
    sys.exit(0 if (classifier.predict_proba(crops) == alone).all() else 3)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_ends_well(tiny_model: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING, tiny_model], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_copies_answer_alike(tiny_model: Path, tiny_temporal: Path, pictures: list[ImageArray]) -> None:
    recognizer = recognizer_of("haar", tiny_model)
    for other in (copy.deepcopy(recognizer), pickle.loads(pickle.dumps(recognizer))):
        assert_same(recognize_all(other, pictures[:1]), recognize_all(recognizer, pictures[:1]))
    model = TemporalModel(tiny_temporal)
    assert pickle.loads(pickle.dumps(model)).spec == model.spec
