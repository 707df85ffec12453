from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact

from mien.data.dataset import SPLITS, Dataset, FoundFaces, PictureLabel
from mien.errors import DatasetError, InputError
from mien.evaluation.compare import holm
from mien.evaluation.evaluate import evaluate
from mien.evaluation.score import score
from mien.evaluation.slice_table import SliceTable
from mien.evaluation.slices import gap_p_value, slice_evaluation
from mien.labels import FER2013
from mien.reports.breakdown import gap_text
from mien.reports.metrics_json import column_metrics

HAPPY, NEUTRAL = 3, 6
NOWHERE = Path("slices.csv")


@pytest.fixture
def photos(pixel_reader):
    """Make an evaluation from (number, true, predicted, group), and missed (label, group); with data, names, groups."""

    def make(*parts, missed=()):
        rows = np.array([part[1:3] for part in parts for _ in range(part[0])])
        groups = [*(part[3] for part in parts for _ in range(part[0])), *(group for _, group in missed)]
        names = [f"{i}.jpg" for i in range(len(groups))]
        pictures = [PictureLabel(names[len(rows) + i], "test", label) for i, (label, _) in enumerate(missed)]
        dataset = Dataset(
            name="photos",
            images=np.broadcast_to(rows[:, 1, None, None, None], (len(rows), 4, 4, 1)).astype(np.uint8),
            targets=rows[:, 0],
            labels=FER2013,
            splits=np.full(len(rows), SPLITS.index("test"), np.int8),
            names=np.array(names[: len(rows)]),
            found=FoundFaces(detector="yunet", n_pictures=len(names), missed=tuple(pictures)) if missed else None,
        )
        return evaluate(pixel_reader(FER2013), dataset, views=["single"], split="test"), dataset, names, groups

    return make


def sliced(evaluation, dataset, names, groups, **more):
    table = SliceTable(path=NOWHERE, names=names, columns={"sex": groups, **more})
    return slice_evaluation(evaluation, dataset, table).slices


def test_each_value_has_the_figures_of_its_pictures(photos):
    made = photos((30, HAPPY, HAPPY, "f"), (10, NEUTRAL, HAPPY, "f"), (10, NEUTRAL, NEUTRAL, "m"), (5, HAPPY, 0, ""))
    (column,) = sliced(*made)
    evaluation = made[0]
    assert (column.name, column.n_unknown, [part.value for part in column.slices]) == ("sex", 5, ["f", "m"])
    women, men = column.slices
    assert (women.n, women.is_small, men.n, men.is_small) == (40, False, 10, True)
    direct = score(evaluation.views["single"].probabilities[:40], evaluation.targets[:40], happy_neutral=(3, 6))
    assert women.result.accuracy == direct.accuracy
    assert women.result.balanced_accuracy == direct.balanced_accuracy == 0.5
    assert women.result.balanced_accuracy_interval == direct.balanced_accuracy_interval
    assert women.result.happy_neutral == direct.happy_neutral
    assert men.result.happy_neutral is None
    assert column.gap is None  # one value has 30 pictures


def test_the_gap_is_in_mean_recall_of_classes_that_each_value_has(photos):
    made = photos(
        (40, HAPPY, HAPPY, "f"), (20, NEUTRAL, NEUTRAL, "f"), (20, NEUTRAL, 0, "f"), (9, 5, 5, "f"),
        (10, HAPPY, HAPPY, "m"), (10, HAPPY, 0, "m"), (20, NEUTRAL, 0, "m"), (40, 5, 5, "m"), (29, HAPPY, 0, "few"),
    )  # fmt: skip
    (column,) = sliced(*made)
    gap = column.gap
    assert (gap.best, gap.worst, gap.labels) == ("f", "m", ("happy", "neutral"))  # 9 surprised women are too few
    assert gap.difference == pytest.approx((1 + 0.5) / 2 - (0.5 + 0) / 2)
    assert gap.p_value == 1 / 10000


@pytest.mark.parametrize(
    ("n_men", "reason"),
    [
        (30, "Not compared: no class has 10 pictures or more in each of 2 values."),
        (9, "Not compared: fewer than two values have 30 pictures or more."),
    ],
)
def test_values_that_are_not_compared_have_a_reason(photos, n_men, reason):
    made = photos((30, HAPPY, HAPPY, "f"), (9, NEUTRAL, NEUTRAL, "f"), (n_men, NEUTRAL, NEUTRAL, "m"))
    (column,) = sliced(*made)
    assert gap_text(column_metrics(column, made[0].labels)) == reason


def test_other_shares_of_classes_are_no_gap(photos):
    """Men smile less here, and neutral is recognised less: accuracy differs, recall doesn't."""
    made = photos(
        (80, HAPPY, HAPPY, "f"), (10, NEUTRAL, NEUTRAL, "f"), (10, NEUTRAL, 0, "f"),
        (20, HAPPY, HAPPY, "m"), (40, NEUTRAL, NEUTRAL, "m"), (40, NEUTRAL, 0, "m"),
    )  # fmt: skip
    (column,) = sliced(*made)
    women, men = column.slices
    assert women.result.accuracy.value - men.result.accuracy.value == pytest.approx(0.3)
    assert column.gap.difference == 0
    assert column.gap.p_value == 1


def test_missed_faces_count_in_their_group(photos):
    parts = [(20, HAPPY, HAPPY, group) for group in ("f", "m")]
    evaluation, dataset, names, groups = photos(*parts, missed=[("happy", "m")] * 20)
    (column,) = sliced(evaluation, dataset, names, groups)
    women, men = column.slices
    assert (women.n, women.n_missed, men.n, men.n_missed) == (20, 0, 40, 20)
    assert men.result.accuracy.value == 1
    assert men.result.end_to_end.accuracy.value == 0.5


def test_a_group_without_any_face_is_shown_without_figures(photos):
    (column,) = sliced(*photos((40, HAPPY, HAPPY, "f"), missed=[("happy", "m")] * 40))
    assert (column.slices[1].result, column.slices[1].n) == (None, 40)
    assert (column.gap.best, column.gap.worst, column.gap.difference) == ("f", "m", 1.0)


def test_p_values_are_adjusted_for_the_number_of_columns(photos):
    evaluation, dataset, names, groups = photos(
        (30, HAPPY, HAPPY, "f"), (10, HAPPY, 0, "f"), (22, HAPPY, HAPPY, "m"), (18, HAPPY, 0, "m")
    )
    (alone,) = sliced(evaluation, dataset, names, groups)
    two = sliced(evaluation, dataset, names, groups, again=groups)
    assert [column.gap.p_value for column in two] == holm([alone.gap.p_value] * 2)


def test_the_permutation_test_is_fishers_test_for_one_class_and_two_equal_groups():
    sizes, hits = np.array([[40, 40]]), np.array([[34, 25]])
    expected = fisher_exact([hits[0], (sizes - hits)[0]]).pvalue
    assert gap_p_value(sizes, hits) == pytest.approx(expected, abs=0.005)


def test_the_p_value_is_uniform_where_there_is_no_gap():
    rng, p = np.random.default_rng(0), []
    for seed in range(40):
        sizes = np.array([[60, 40, 50], [30, 30, 90]])
        p.append(gap_p_value(sizes, rng.binomial(sizes, [[0.9], [0.5]]), seed=seed))
    assert sum(value < 0.05 for value in p) <= 6
    assert 0.35 < np.mean(p) < 0.65


def test_intervals_of_slices_resample_photos_with_all_their_images(photos):
    evaluation, dataset, names, groups = photos((30, HAPPY, HAPPY, "f"), (30, HAPPY, NEUTRAL, "f"), (30, 0, 0, "m"))
    table = SliceTable(path=NOWHERE, names=names, columns={"sex": groups})
    clusters = np.arange(len(dataset)) // 15  # two photos of each kind
    single, clustered = (
        slice_evaluation(evaluation, dataset, table, clusters=given).slices[0].slices[0].result
        for given in (None, clusters)
    )
    assert single.accuracy == clustered.accuracy
    width = [np.ptp(result.balanced_accuracy_interval) for result in (single, clustered)]
    assert width[1] > 2 * width[0]


def test_columns_without_groups_are_left_out_with_a_warning(photos):
    evaluation, dataset, names, groups = photos((20, HAPPY, HAPPY, "f"), (20, HAPPY, HAPPY, "m"))
    with pytest.warns(UserWarning, match=r"column 'source' of 'slices\.csv' has only the value 'web'; it is left out"):
        columns = sliced(evaluation, dataset, names, groups, source=["web"] * 40)
    assert [column.name for column in columns] == ["sex"]
    table = SliceTable(path=NOWHERE, names=names, columns={"person": [f"p{i}" for i in range(40)]})
    with pytest.warns(UserWarning, match="has 40 values"), pytest.raises(InputError, match="no column to slice by"):
        slice_evaluation(evaluation, dataset, table)


def test_slices_need_file_names(evaluation, written):
    table = SliceTable(path=NOWHERE, names=["a.jpg"], columns={"sex": ["f"]})
    with pytest.raises(DatasetError, match="has no file names"):
        slice_evaluation(evaluation, written([(0, 0, 0, "test")]), table)
