"""Targets: the head that a dataset trains, shared heads, masks."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch

from mien.data import draw_faces
from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.training import HeadConfig, TrainConfig
from mien.training.targets import NONE, Classes, Distributions, Targets, dataset_names, head_labels, trained_heads
from runs import small_config, small_dataset, tensors_of

FACES = small_dataset()  # FER2013's labels, and votes
BY_VOTES = replace(small_config(), heads=(HeadConfig(labels="ferplus"), HeadConfig(labels="fer2013")))


def labelled(name: str, *labels: str, n: int = 40) -> Dataset:
    """Return drawn faces without votes, with labels of their own."""
    faces = draw_faces(n, seed=len(name), size=24)
    return replace(faces, name=name, labels=LabelSet(name, labels), targets=np.arange(n) % len(labels))


def heads_of(config: TrainConfig, *datasets: Dataset) -> tuple[list[str], list[str | None]]:
    heads = head_labels(config, datasets)
    return [labels.name for labels in heads], trained_heads(config, datasets, heads)


def test_without_heads_in_the_recipe_the_data_gives_them() -> None:
    assert heads_of(small_config(), FACES) == (["fer2013", "ferplus"], ["fer2013"])
    assert heads_of(small_config(), replace(FACES, votes=None)) == (["fer2013"], ["fer2013"])
    assert heads_of(small_config(), labelled("mine", "bored", "happy")) == (["mine"], ["mine"])


def test_labels_train_the_first_head_that_has_them_all() -> None:
    three = labelled("photos", "angry", "happy", "neutral")
    assert heads_of(small_config(), FACES, three)[1] == ["fer2013", "fer2013"]
    assert heads_of(BY_VOTES, FACES, three)[1] == ["fer2013", "ferplus"]


def test_a_recipe_names_the_head_of_a_dataset() -> None:
    three = labelled("photos", "angry", "happy", "neutral")
    heads = (HeadConfig(labels="ferplus"), HeadConfig(labels="fer2013", data=("photos",)))
    assert heads_of(replace(BY_VOTES, heads=heads), FACES, three)[1] == ["fer2013", "fer2013"]
    own = (*heads[:1], HeadConfig(labels="fer2013"), HeadConfig(labels="photos", data=("photos",)))
    assert heads_of(replace(BY_VOTES, heads=own), FACES, three) == (
        ["ferplus", "fer2013", "photos"], ["fer2013", "photos"],
    )  # fmt: skip


def test_votes_train_the_ferplus_head_without_the_labels_of_the_same_images() -> None:
    only = replace(BY_VOTES, heads=(HeadConfig(labels="ferplus"),))
    assert heads_of(only, FACES) == (["ferplus"], [None])
    assert heads_of(only, replace(FACES, votes=None)) == (["ferplus"], ["ferplus"])


def test_votes_go_before_labels_of_their_majority() -> None:
    """FER+ in its own folders has both."""
    assert FACES.votes is not None
    voted = replace(FACES, name="ferplus", labels=FERPLUS)
    for heads in ((), (HeadConfig(labels="ferplus", data=("ferplus",)),)):
        config = replace(small_config(), heads=heads)
        assert heads_of(config, voted) == (["ferplus"], [None])
        targets = tensors_of(config, voted).targets["ferplus"]
        assert isinstance(targets, Distributions)
        faces = FACES.votes[:, :8]
        assert targets.probabilities[0].tolist() == pytest.approx((faces[0] / faces[0].sum()).tolist())


BORED = labelled("mine", "bored", "happy")


@pytest.mark.parametrize(
    ("heads", "datasets", "error", "message"),
    [
        ((), [BORED], DatasetError, r"no head has all labels of 'mine' \(bored, happy"),
        (BY_VOTES.heads, [BORED], DatasetError, r"--set .heads=\[{labels=\"ferplus\"}, {labels=\"mine\"}"),
        ((HeadConfig(labels="none"),), [], ConfigError, "unknown labels 'none'; choose from fer2013"),
        ((HeadConfig(labels="fer2013", data=("x",)),), [], ConfigError, "is for the data 'x'; choose"),
    ],
)
def test_labels_without_a_head_raise(
    heads: tuple[HeadConfig, ...], datasets: list[Dataset], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        heads_of(replace(small_config(), heads=heads), FACES, *datasets)


def test_a_head_without_data_raises() -> None:
    with pytest.raises(ConfigError, match="no dataset trains the head 'fer2013'; give one with its labels, or drop"):
        heads_of(BY_VOTES, replace(FACES, votes=None))


def test_a_head_of_votes_and_labels_has_distributions() -> None:
    """Labels of a subset become smoothed one-hot rows over the labels of the head."""
    photos = labelled("photos", "happy", "neutral", n=4)
    config = replace(BY_VOTES, label_smoothing=0.2)
    targets = tensors_of(config, FACES, photos).targets
    ferplus, fer2013 = targets["ferplus"], targets["fer2013"]
    assert isinstance(ferplus, Distributions)
    assert isinstance(fer2013, Classes)
    smooth = 0.2 / len(FERPLUS)
    expected = [smooth, 0.8 + smooth, *[smooth] * 6]  # happy is FER+'s second label
    assert ferplus.probabilities[-4].tolist() == pytest.approx(expected)
    assert ferplus.counted[-4:].tolist() == [1, 1, 1, 1]
    assert fer2013.first[-5:].tolist() == [FACES.targets[-1], NONE, NONE, NONE, NONE]


def test_images_without_a_target_do_not_count() -> None:
    logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    assert float(Classes(torch.tensor([0, NONE])).loss(logits)) == pytest.approx(log(2))
    assert float(Classes(torch.tensor([NONE, NONE])).loss(logits)) == 0
    soft = Distributions(torch.tensor([[0.5, 0.5], [0.0, 0.0]]), torch.tensor([1.0, 0.0]))
    assert float(soft.loss(logits, weight=0.5)) == pytest.approx(0.5 * log(2))
    assert soft.first.tolist() == [0, NONE]


def test_a_mixture_counts_where_both_images_have_a_target() -> None:
    heads = {
        "a": Classes(torch.tensor([0, 1, NONE, 1])),
        "b": Distributions(torch.eye(4), torch.tensor([1.0, 1.0, 0.0, 1.0])),
    }
    mixed = Targets(heads).mixed(0.7)
    classes = mixed["a"]
    assert isinstance(classes, Classes)
    assert classes.second is not None
    assert classes.first.tolist() == [0, NONE, NONE, 1]
    assert classes.second.tolist() == [1, NONE, NONE, 0]
    assert (mixed["b"].counted > 0).tolist() == [True, False, False, True]


def test_smoothed_classes_and_distributions_have_the_same_loss() -> None:
    logits, classes = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), Classes(torch.arange(5))
    soft = classes.distributions(7, smoothing=0.1)
    torch.testing.assert_close(soft.loss(logits), classes.loss(logits, smoothing=0.1))


def test_datasets_of_the_same_name_are_numbered() -> None:
    assert dataset_names([FACES, labelled("x", "a", "b"), FACES]) == ["drawn", "x", "drawn-2"]


def test_known_label_sets_go_before_those_of_datasets() -> None:
    odd = replace(labelled("odd", "happy", "neutral"), labels=LabelSet("fer2013", ("happy", "neutral")))
    config = replace(small_config(), heads=(HeadConfig(labels="fer2013"),))
    assert head_labels(config, [odd]) == [FER2013]
