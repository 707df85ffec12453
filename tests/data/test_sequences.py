"""Sequences of faces: labels that match the images, and clips from folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cartoons.characters import CHARACTERS
from mien.cartoons.sequences import drawn_sequences
from mien.data import sequences
from mien.data.dataset import Dataset
from mien.data.sequences import RATES, SECONDS, FaceSequence, moving_stills, read_clips
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, DatasetError
from mien.labels import FER2013
from mien.sinks.videos import VideoSink
from mien.structures import Box, Face, ImageArray
from mien.vision.detect import WholeImage

PICTURES = draw_faces(60, seed=0)


def drawn(n: int, **options: float) -> Iterator[FaceSequence]:
    return drawn_sequences(n, characters=["ada", "extra1"], **options)  # type: ignore[arg-type]


def stills(n: int, **options: float) -> Iterator[FaceSequence]:
    return moving_stills(PICTURES, n, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [drawn, stills])
def test_a_sequence_is_determined_by_its_seed_and_number(make: Callable[..., Iterator[FaceSequence]]) -> None:
    one, two = make(2, seed=3)
    (again,) = make(1, seed=3)
    (other,) = make(1, seed=4)
    np.testing.assert_array_equal(one.images, again.images)
    np.testing.assert_array_equal(one.targets, again.targets)
    assert len(one.images) != len(other.images) or np.any(np.array(one.images) != np.array(other.images))
    for sequence in (one, two):
        rate = 1 / np.diff(sequence.times).mean()
        assert rate == pytest.approx(min(RATES, key=lambda known: abs(known - rate)))
        assert len(sequence.images) == len(sequence.times) == len(sequence.targets) == round(rate * SECONDS)
        assert sequence.targets.dtype == np.int64


@pytest.mark.parametrize("make", [drawn, stills])
def test_the_frame_rate_can_be_set(make: Callable[..., Iterator[FaceSequence]]) -> None:
    (sequence,) = make(1, rate=12.5)
    np.testing.assert_allclose(np.diff(sequence.times), 0.08)


def test_drawn_faces_begin_neutral_and_labels_change_now_and_then() -> None:
    found = list(drawn_sequences(6, characters=list(CHARACTERS)[:3], rate=10))
    assert {int(sequence.targets[0]) for sequence in found} == {FER2013.index("neutral")}
    changes = [int((np.diff(sequence.targets) != 0).sum()) for sequence in found]
    assert 6 <= sum(changes) <= 30
    assert all(image.shape == (48, 48, 3) and image.dtype == np.uint8 for image in found[0].images)
    with pytest.raises(ConfigError, match="unknown character 'eve'"):
        next(drawn_sequences(1, characters=["eve"]))


def test_a_change_ends_one_hold_and_begins_the_next() -> None:
    times = np.arange(0, 8, 0.1)
    hold, share = sequences.hold_schedule(times, np.random.default_rng(0), stay=(0.8, 0.8), change=(0.4, 0.4))
    way = hold + share
    assert (np.diff(way) >= -1e-9).all()
    np.testing.assert_allclose(way[times < 0.75], 0)
    np.testing.assert_allclose(np.interp([1.0, 1.2], times, way), [0.5, 1.0], atol=1e-6)  # left at 0.8, there at 1.2
    cut, _ = sequences.hold_schedule(times, np.random.default_rng(0), stay=(0.8, 0.8), change=(-1, -1))
    np.testing.assert_array_equal(cut[:20], np.arange(20) // 8 - (np.arange(20) % 8 == 0) * (np.arange(20) > 0))


def test_images_are_shown_under_their_own_labels() -> None:
    grey = np.repeat(np.arange(7, dtype=np.uint8) * 30 + 30, 48 * 48).reshape(7, 48, 48, 1)
    plain = Dataset("plain", grey, np.arange(7), FER2013, np.zeros(7, np.int8))
    right = []
    for sequence in moving_stills(plain, 8, rate=20):
        seen = np.array([np.median(image) for image in sequence.images])
        right.append(np.abs((seen - 30) / 30 - sequence.targets) < 1.5)  # light varies by some 10 %
    assert np.mean(np.concatenate(right)) > 0.8


def write_clip(path: Path, grey: int, *, n: int = 6, fps: float = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoSink(path, fps=fps) as sink:
        for _ in range(n):
            sink.write(np.full((64, 96, 3), grey, np.uint8))


class Two:
    """Detects a small face on the left and a large one on the right of any image that is not dark."""

    def detect(self, image: ImageArray) -> list[Face]:
        faces = [Face(Box(40, 0, 90, 50), 0.5), Face(Box(0, 0, 20, 20), 0.9)]
        return faces if image.mean() > 20 else []


def test_clips_are_read_with_split_label_time_and_the_largest_face(tmp_path: Path) -> None:
    write_clip(tmp_path / "train" / "joy" / "a.avi", 200)
    folder = tmp_path / "valid" / "sad" / "b"
    folder.mkdir(parents=True)
    for i in range(4):
        picture = np.full((64, 96, 3), 0 if i == 1 else 90, np.uint8)
        picture[:50, 40:90] += 30
        cv2.imwrite(str(folder / f"{i:03}.png"), picture)
    (first, joy), (second, sad) = read_clips(tmp_path, Two(), FER2013, size=32, rate=5)
    assert (first, second) == ("train", "valid")
    assert set(joy.targets) == {FER2013.index("happy")}
    np.testing.assert_allclose(joy.times, np.arange(6) / 10, atol=1e-3)
    np.testing.assert_allclose(sad.times, [0, 0.4, 0.6])  # one frame is without a face
    assert all(image.shape == (32, 32, 3) for image in sad.images)
    assert np.median(sad.images[0]) == 120


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "happy" / "one"
    folder.mkdir(parents=True)
    names = ["1.png", "2.png", "10.png", "b1_9.png", "b1_10.png", "b02_1.png", "b10.png"]
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((9, 9, 3), i, np.uint8))
    ((_, found),) = read_clips(tmp_path, WholeImage(), FER2013, size=9)
    assert [int(image[0, 0, 0]) for image in found.images] == list(range(len(names)))
    np.testing.assert_allclose(found.times, np.arange(len(names)) / 25)


@pytest.mark.parametrize(
    "files",
    [
        ("happy/cover.jpg", "happy/a.avi", "happy/b.avi", "sad/c.avi"),
        ("happy/cover.jpg", "happy/one/0.png"),
        ("train/happy/cover.jpg", "train/happy/a.avi", "valid/sad/c.avi"),
        ("films/happy/cover.jpg", "films/happy/a.avi"),
        ("train/cover.jpg", "train/happy/a.avi"),
        ("cover.jpg", "happy/a.avi"),
        ("happy/0.jpg", "sad/0.jpg"),
        ("train/happy/0.jpg", "train/sad/0.jpg"),
    ],
)
def test_an_image_outside_a_clip_is_named(files: tuple[str, ...], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing is read")
    with pytest.raises(DatasetError, match=rf"^'{files[0]}' in .* is not in a clip's folder; .*; move or remove it$"):
        next(read_clips(tmp_path, WholeImage(), FER2013, size=9))


def test_without_split_folders_clips_are_held_out_by_their_names(tmp_path: Path) -> None:
    for i in range(220):  # a large class even without half of its clips
        (tmp_path / "happy" / f"{i}").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "happy" / f"{i}" / "0.png"), np.full((9, 9, 3), i, np.uint8))
    found = {int(s.images[0][0, 0, 0]): split for split, s in read_clips(tmp_path, WholeImage(), FER2013, size=9)}
    assert set(found.values()) == {"train", "valid", "test"}
    for i in range(0, 220, 2):  # others stay where they are
        (tmp_path / "happy" / f"{i}" / "0.png").unlink()
    fewer = {int(s.images[0][0, 0, 0]): split for split, s in read_clips(tmp_path, WholeImage(), FER2013, size=9)}
    assert fewer == {i: split for i, split in found.items() if i % 2}


def test_a_clip_without_a_face_or_with_damage_is_skipped_with_a_warning(tmp_path: Path) -> None:
    write_clip(tmp_path / "happy" / "dark.avi", 0)
    write_clip(tmp_path / "happy" / "good.avi", 200)
    (tmp_path / "happy" / "bad.mp4").write_bytes(b"no video")
    with pytest.warns(UserWarning, match="the clip is skipped") as caught:
        found = list(read_clips(tmp_path, Two(), FER2013, size=32))
    assert len(found) == 1
    assert ["bad.mp4" in str(w.message) for w in caught] == [True, False]
    assert "no face in" in str(caught[1].message)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (None, "holds no clips"),
        ("0.png", "not in a clip's folder"),
        ("a.avi", "not in a class folder"),
        ("mood/one/0.png", "unknown label 'mood'"),
    ],
)
def test_a_wrong_folder_of_clips_is_refused_before_anything_is_read(
    file: str | None, message: str, tmp_path: Path
) -> None:
    if file is not None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"nothing is read")
    with pytest.raises(DatasetError, match=message):
        next(read_clips(tmp_path, WholeImage(), FER2013, size=9))
