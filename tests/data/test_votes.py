from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.synthetic import draw_faces
from mien.data.votes import VOTE_COLUMNS, agreed, majority, read_votes, votes_by_name, votes_by_row
from mien.errors import DatasetError
from mien.labels import FERPLUS

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
ROWS = "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nPrivateTest,fer0032298.png,0,9,1,0,0,0,0,0,0,0\n"


@pytest.fixture
def votes_path(tmp_path: Path) -> Path:
    path = tmp_path / "fer2013new.csv"
    path.write_text(HEADER + ROWS)
    return path


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(
        "NF,unknown,contempt,fear,disgust,anger,sadness,surprise,happiness,neutral,Image name,Usage\n"
        "0,0,0,0,2,3,1,0,0,4,fer0000000.png,Training\n"
    )
    votes = read_votes(path)
    named = dict(zip(VOTE_COLUMNS, votes.counts[0].tolist(), strict=True))
    assert {name: n for name, n in named.items() if n} == {"neutral": 4, "sad": 1, "angry": 3, "disgust": 2}


def test_votes_are_matched_by_the_names_of_images(votes_path: Path) -> None:
    votes = votes_by_name(read_votes(votes_path), ["test/happy/fer0032298.jpg", "train/angry/fer0000000.jpg"])
    assert votes[:, 0].tolist() == [0, 4]


def test_kaggles_image_names_have_no_votes(votes_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no votes on 1 of 1 images, such as 'Training_0\.jpg'.*its csv"):
        votes_by_name(read_votes(votes_path), ["Training_0.jpg"])


def test_another_order_of_splits_is_an_error(votes_path: Path) -> None:
    votes = read_votes(votes_path)
    assert votes_by_row(votes, np.array([0, 2], np.int8)).shape == (2, 10)
    with pytest.raises(DatasetError, match="line 3 is of 'test', but image 2 is of 'train'"):
        votes_by_row(votes, np.array([0, 0], np.int8))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "its first line lacks usage"),
        ("emotion,pixels,Usage\n", "its first line lacks image name"),
        (HEADER + "Training,a.png,many,0,0,0,0,0,0,0,0,0\n", "line 2 is 'Training,a.png,many"),
        (HEADER + "Training,a.png,1\n", "line 2 is 'Training,a.png,1'"),
        (HEADER + ROWS + "Extra,a.png,1,0,0,0,0,0,0,0,0,0\n", "line 4 is 'Extra"),
    ],
)
def test_a_file_that_holds_no_votes_is_an_error(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=problem):
        read_votes(path)


def test_binary_and_missing_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_bytes(b"\xff\x00\x81")
    with pytest.raises(DatasetError, match="is not a FER"):
        read_votes(tmp_path / "votes.csv")
    with pytest.raises(DatasetError, match=r"cannot read .*none\.csv"):
        read_votes(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("counts", "label"),
    [
        ({"sad": 6, "neutral": 4}, "sad"),
        ({"sad": 5, "neutral": 5}, "unknown"),  # a tie
        ({"sad": 4, "neutral": 3, "fear": 3}, "unknown"),  # a lead without a majority
        ({"sad": 4, "neutral": 3, "fear": 1, "angry": 1, "happy": 1}, "sad"),  # single votes are slips
        ({"unknown": 6, "sad": 4}, "unknown"),
        ({"nf": 9, "sad": 1}, "nf"),
        ({"sad": 1, "neutral": 1}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_majority_rule_is_that_of_the_ferplus_authors(counts: dict[str, int], label: str) -> None:
    votes = np.array([[counts.get(name, 0) for name in VOTE_COLUMNS]], np.float32)
    drawn = draw_faces(1, seed=0, size=8)
    relabelled = majority(replace(drawn, votes=votes))
    assert relabelled.labels.labels[relabelled.targets[0]] == label
    assert relabelled.name == "ferplus"
    assert relabelled.images is drawn.images


def test_agreed_images_are_those_with_a_majority_for_an_expression() -> None:
    votes = np.zeros((3, 10), np.float32)
    votes[0, FERPLUS.index("sad")] = votes[1, VOTE_COLUMNS.index("nf")] = 9
    votes[2, FERPLUS.index("contempt")] = 6
    drawn = replace(draw_faces(3, seed=0, size=8), votes=votes)
    found = agreed(drawn)
    assert found.labels is FERPLUS
    assert found.targets.tolist() == [FERPLUS.index("sad"), FERPLUS.index("contempt")]
    assert (found.images == drawn.images[[0, 2]]).all()


def test_there_is_no_majority_without_votes() -> None:
    with pytest.raises(DatasetError, match="has no FER\\+ votes"):
        majority(draw_faces(1, seed=0, size=8))
