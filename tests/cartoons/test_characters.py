from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from commands import run
from mien.cartoons.characters import (
    CELL,
    CHARACTERS,
    MOVES,
    UNITS,
    Cartoon,
    cartoon_sheet,
    draw_cartoons,
    find_character,
    moves_of,
    write_cartoons,
)
from mien.cartoons.faces import HAIR, NOSES, Moves, draw_face
from mien.cartoons.pen import Pose
from mien.data import ferg
from mien.data.readers import READERS, read_dataset
from mien.errors import ConfigError, OutputError
from mien.labels import FER2013
from mien.structures import ImageArray

HALF = 38  # row of a 64-pixel image, below the eyes and above the mouth
CLEAR = 25  # difference of a channel that can be seen


def drawn(character: str, units: dict[int, float], *, size: int = 64) -> ImageArray:
    moves = moves_of(units)
    return draw_face(CHARACTERS[character], moves, moves, pose=Pose(), size=size)


def changed_rows(character: str, units: dict[int, float]) -> npt.NDArray[np.intp]:
    difference = np.abs(drawn(character, units).astype(int) - drawn(character, {}))
    return np.flatnonzero(difference.max(axis=(1, 2)) > CLEAR)


def test_every_expression_of_fer2013_has_its_units() -> None:
    assert set(UNITS) == set(FER2013)
    assert {unit for units in UNITS.values() for unit in units} == set(MOVES)


def test_the_same_arguments_draw_the_same_images() -> None:
    def pixels(n: int, seed: int, characters: tuple[str, ...] = ("ada", "extra1")) -> ImageArray:
        return np.array([c.image for c in draw_cartoons(n, seed=seed, size=32, characters=characters)])

    np.testing.assert_array_equal(pixels(9, 3), pixels(20, 3)[:9])
    assert not np.array_equal(pixels(9, 3), pixels(9, 4))
    assert len(np.unique(pixels(60, 0).reshape(60, -1), axis=0)) == 60


def test_an_image_shows_the_same_at_every_size() -> None:
    small = [c.image for c in draw_cartoons(14, size=50)]
    large = [cv2.resize(c.image, (50, 50), interpolation=cv2.INTER_AREA) for c in draw_cartoons(14, size=150)]
    for a, b in zip(small, large, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("size", [16, 48, 100, 256])
def test_images_are_rgb_of_the_requested_size(size: int) -> None:
    (cartoon,) = draw_cartoons(1, size=size)
    assert cartoon.image.shape == (size, size, 3)
    assert cartoon.image.dtype == np.uint8


def test_labels_and_characters_take_turns() -> None:
    cartoons = list(draw_cartoons(7 * 3 * 2, size=16, characters=["finn", "gus", "extra4"]))
    assert set(Counter((c.character, c.label) for c in cartoons).values()) == {2}
    assert [c.label for c in cartoons[:7]] == list(FER2013)


def test_an_extra_looks_different_with_every_seed_and_number() -> None:
    people = {find_character(f"extra{i}", seed=seed) for i in range(1, 6) for seed in range(3)}
    assert len(people) == 15
    assert find_character("extra1", seed=0) == find_character("extra1", seed=0)
    assert find_character("ada", seed=0) is find_character("ada", seed=1)


@pytest.mark.parametrize("name", ["extra", "extra0", "extra01", "extra1x", "extra" + 5000 * "1"])
def test_the_name_of_an_extra_has_one_spelling(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown character"):
        find_character(name)


def test_hair_and_noses_of_extras_can_be_drawn() -> None:
    for i in range(1, 41):
        who = find_character(f"extra{i}")
        assert who.hair_style in HAIR
        assert who.nose in NOSES


@pytest.mark.parametrize(
    ("expression", "up", "down"),
    [
        ("happy", {"corner", "cheek", "lower_lid", "width"}, set()),
        ("sad", {"inner"}, {"corner"}),
        ("surprise", {"inner", "outer", "lid", "jaw", "lower_lip"}, {"width"}),
        ("fear", {"inner", "outer", "together", "lid", "width", "lower_lip"}, {"corner"}),
        ("angry", {"together", "tight", "lower_lid"}, {"inner", "width", "corner"}),
        ("disgust", {"nose", "upper_lip", "lower_lip", "lower_lid"}, {"corner", "lid", "inner"}),
    ],
)
def test_expressions_move_the_parts_of_their_units(expression: str, up: set[str], down: set[str]) -> None:
    moves = moves_of(UNITS[expression])._asdict()
    assert {name for name in up if moves[name] <= 0.02} == set()
    assert {name for name in down if moves[name] >= -0.02} == set()


def test_a_neutral_face_has_no_moves() -> None:
    assert moves_of(UNITS["neutral"]) == Moves()


def test_sad_brows_are_oblique_and_angry_ones_are_the_other_way_round() -> None:
    sad, angry = moves_of(UNITS["sad"]), moves_of(UNITS["angry"])
    assert sad.inner - sad.outer > 0.1
    assert angry.inner - angry.outer < -0.1


@pytest.mark.parametrize("character", CHARACTERS)
def test_units_change_the_part_of_the_face_that_they_move(character: str) -> None:
    for unit in (1, 2, 4, 5, 7):
        rows = changed_rows(character, {unit: 1.0})
        assert rows.size, unit
        assert rows.max() < HALF, unit
    for unit in (15, 16, 20, 23, 25, 26):
        rows = changed_rows(character, {unit: 1.0})
        assert rows.size, unit
        assert rows.min() > HALF, unit


@pytest.mark.parametrize("expression", [label for label in FER2013 if label != "neutral"])
def test_every_expression_shows_in_brows_or_eyes_and_in_the_mouth(expression: str) -> None:
    for character in CHARACTERS:
        rows = changed_rows(character, UNITS[expression])
        assert (rows < HALF).sum() >= 2, character
        assert (rows > HALF).sum() >= 2, character


def test_a_brow_can_be_raised_on_one_side() -> None:
    at_rest, raised = (
        draw_face(CHARACTERS["finn"], Moves(), moves_of(units), pose=Pose(), size=64) for units in ({}, {1: 1.0})
    )
    changed = np.abs(raised.astype(int) - at_rest).max(axis=(0, 2)) > CLEAR
    assert changed[32:].any()
    assert not changed[:32].any()


def test_half_a_smile_is_asymmetric() -> None:
    left, right = (
        draw_face(CHARACTERS["finn"], *moves, pose=Pose(), size=64).astype(int)
        for moves in ((moves_of({12: 1.0}), Moves()), (Moves(), moves_of({12: 1.0})))
    )
    assert (np.abs(left - right).max(axis=2) > CLEAR).sum() > 20


def test_every_hair_and_nose_is_drawn_differently() -> None:
    pictures = set()
    for hair in HAIR:
        for nose in NOSES:
            who = find_character("extra1")
            who = type(who)(**{**{f: getattr(who, f) for f in who.__slots__}, "hair_style": hair, "nose": nose})
            pictures.add(draw_face(who, Moves(), Moves(), pose=Pose(), size=48).tobytes())
    assert len(pictures) == len(HAIR) * len(NOSES)


def test_expressions_are_recognised_on_unseen_characters() -> None:
    """A linear classifier on gradients of 420 images of extras recognises the named characters' expressions."""
    linear = pytest.importorskip("sklearn.linear_model")
    gradients = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)

    def features(cartoons: list[Cartoon]) -> npt.NDArray[np.float32]:
        return np.array([gradients.compute(cv2.cvtColor(c.image, cv2.COLOR_RGB2GRAY)) for c in cartoons])

    seen = list(draw_cartoons(420, seed=0, size=48, characters=[f"extra{i}" for i in range(1, 21)]))
    unseen = list(draw_cartoons(7 * len(CHARACTERS) * 2, seed=1, size=48))
    assert {c.character for c in seen}.isdisjoint(c.character for c in unseen)
    model = linear.RidgeClassifier().fit(features(seen), [c.label for c in seen])
    assert model.score(features(unseen), [c.label for c in unseen]) > 0.6


def test_written_cartoons_are_read_back_as_ferg(tmp_path: Path) -> None:
    folder = tmp_path / "cartoons"
    write_cartoons(folder, 40, seed=2, size=24, characters=["ada", "extra1"])
    assert next(name for name, reader in READERS.items() if reader.can_read(folder)) == "ferg"
    dataset = read_dataset(folder)
    cartoons = list(draw_cartoons(40, seed=2, size=24, characters=["ada", "extra1"]))
    expected = {c.image.tobytes(): c.label for c in cartoons}
    assert dataset.name == "cartoons"
    assert {i.tobytes(): FER2013.labels[t] for i, t in zip(dataset.images, dataset.targets, strict=True)} == expected
    held = ferg.read(folder, hold_out=["extra1"])
    assert {i.tobytes() for i in held.split("test").images} == {
        c.image.tobytes() for c in cartoons if c.character != "ada"
    }


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_cartoons(tmp_path / "new", 3, size=16, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'thesis\.txt' already; choose a new or an empty folder"):
        write_cartoons(tmp_path, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot make folder"):
            write_cartoons(place, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "cannot draw 0 images; expected 1 or more"),
        ({"n": 1, "size": 15}, "size is 15; expected 16 to 1024 pixels"),
        ({"n": 1, "size": 5000}, "size is 5000"),
        ({"n": 1, "seed": -1}, "seed is -1"),
        ({"n": 1, "characters": ["bob"]}, "unknown character 'bob'; choose from ada, .* extra1, extra2, …"),
        ({"n": 1, "characters": ["extra"]}, "unknown character 'extra'"),
        ({"n": 1, "characters": ["extra-1"]}, "unknown character 'extra-1'"),
        ({"n": 1, "characters": []}, "no character to draw"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_cartoons(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        write_cartoons(tmp_path / "new", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_the_sheet_shows_the_first_image_of_each_character_and_expression() -> None:
    sheet = cartoon_sheet(seed=1, characters=["ada", "extra12"])
    places = []
    for cartoon in draw_cartoons(14, seed=1, size=CELL, characters=["ada", "extra12"]):
        difference, _, place, _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, cartoon.image, cv2.TM_SQDIFF_NORMED))
        assert difference < 1e-6
        places.append(place[::-1])
    assert places == sorted(places)
    assert len({row for row, _ in places}) == 2
    with pytest.raises(ConfigError, match="no character to draw"):
        cartoon_sheet(characters=[])


def test_the_command_draws_a_dataset_and_its_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("data", "draw", "new/cartoons", "--count", 30, "--size", 20, "--characters", "ada,gus", "--extras", 1)
    assert run(*command, "--sheet", "sheet.png") == 0
    assert "30 images: new/cartoons" in capsys.readouterr().out
    assert sorted(path.name for path in Path("new/cartoons").iterdir()) == ["ada", "extra1", "gus"]
    assert len(read_dataset("new/cartoons")) == 30
    assert Path("sheet.png").is_file()
    assert run(*command) == 2
    assert "choose a new or an empty folder" in capsys.readouterr().err
