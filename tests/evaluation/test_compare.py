import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mien.errors import ConfigError, OutputError
from mien.evaluation.compare import compare, holm, mcnemar, paired_interval
from mien.evaluation.evaluate import evaluate
from mien.evaluation.metrics import wilson_interval
from mien.labels import FER2013, FERPLUS
from mien.reports.comparison import comparison_markdown, to_plain, verdict, write_comparison
from mien.reports.sheets import differences_sheet
from mien.sources.pictures import read_picture

HAPPY, SAD = FER2013.index("happy"), FER2013.index("sad")
counts = st.integers(0, 80)


@pytest.fixture
def pair(pixel_reader, written):
    """Make two evaluations from rows (target, prediction of a, of b); b gets mirrored images."""

    def make(rows, names=("a", "b")):
        dataset = written([(truth, a, b, "valid") for truth, a, b in rows])
        mirrored = written([(truth, b, a, "valid") for truth, a, b in rows])
        first = evaluate(pixel_reader(FER2013), dataset, split="valid", name=names[0])
        second = evaluate(pixel_reader(FER2013, confidence=0.9), mirrored, split="valid", name=names[1])
        return first, replace(second, fingerprint=first.fingerprint), dataset

    return make


@given(counts, counts)
def test_mcnemar_agrees_with_scipys_binomial_test(b, c):
    expected = binomtest(b, b + c).pvalue if b + c else 1
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_images_does_not_overflow():
    assert mcnemar(4000, 4000) == 1
    assert mcnemar(3000, 3400) == pytest.approx(binomtest(3000, 6400).pvalue, rel=1e-9)
    assert 0 <= mcnemar(0, 8000) < 1e-300


def test_mcnemar_of_five_against_none_is_two_in_thirty_two():
    assert mcnemar(5, 0) == 2 / 32


def test_mcnemar_refuses_negative_numbers():
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar(-1, 2)


def test_the_paired_interval_follows_the_published_steps_for_both_signs_of_correlation():
    assert paired_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    n, a, b, c, d = 50, 20, 12, 2, 16
    (l1, u1), (l2, u2) = wilson_interval(a + b, n), wilson_interval(a + c, n)
    phi = (a * d - b * c - n / 2) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    down = np.sqrt((0.64 - l1) ** 2 - 2 * phi * (0.64 - l1) * (u2 - 0.44) + (u2 - 0.44) ** 2)
    up = np.sqrt((u1 - 0.64) ** 2 - 2 * phi * (u1 - 0.64) * (0.44 - l2) + (0.44 - l2) ** 2)
    assert paired_interval(a, b, c, d) == pytest.approx((0.2 - down, 0.2 + up))


@given(counts, counts, counts, counts)
def test_the_paired_interval_encloses_the_difference_and_is_antisymmetric(a, b, c, d):
    n = a + b + c + d
    if not n:
        with pytest.raises(ValueError, match="not all 0"):
            paired_interval(a, b, c, d)
        return
    low, high = paired_interval(a, b, c, d)
    assert -1 <= low <= (b - c) / n + 1e-12
    assert (b - c) / n - 1e-12 <= high <= 1
    assert paired_interval(a, c, b, d) == pytest.approx((-high, -low), abs=1e-9)


def test_without_correlation_the_interval_combines_the_wilson_intervals():
    low, high = wilson_interval(30, 100)
    # one model always right: all of the difference's uncertainty is the other one's, and no picture correlates
    got = paired_interval(70, 30, 0, 0)
    assert got[0] == pytest.approx(0.3 - np.hypot(1 - wilson_interval(100, 100)[0], 0.3 - low), abs=1e-9)
    assert got[1] == pytest.approx(high, abs=1e-9)


def test_the_paired_interval_covers_the_true_difference_in_about_95_percent():
    chances = (0.60, 0.10, 0.07, 0.23)
    tables = np.random.default_rng(0).multinomial(500, chances, size=2000).tolist()
    held = [low <= 0.03 <= high for low, high in (paired_interval(*table) for table in tables)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_holm_keeps_the_order_of_p_values():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_images_are_counted_by_the_models_that_classify_them_correctly(pair):
    rows = [(HAPPY, HAPPY, HAPPY), (HAPPY, SAD, HAPPY), (SAD, SAD, HAPPY), (SAD, HAPPY, SAD), (SAD, 0, 0)]
    first, second, _ = pair(rows)
    comparison = compare(first, second)
    assert (comparison.both, comparison.only_a, comparison.only_b, comparison.neither) == (1, 1, 2, 1)
    assert comparison.accuracies == (2 / 5, 3 / 5)
    assert comparison.difference == pytest.approx(1 / 5)
    assert comparison.low < 1 / 5 < comparison.high
    happy, sad = comparison.classes[HAPPY], comparison.classes[SAD]
    assert (happy.support, happy.only_a, happy.only_b, happy.recall_a, happy.recall_b) == (2, 0, 1, 1 / 2, 1)
    assert (sad.support, sad.only_a, sad.only_b) == (3, 1, 1)


def test_a_difference_by_chance_is_not_significant(pair):
    first, second, _ = pair([(SAD, SAD, HAPPY)] * 3 + [(SAD, HAPPY, SAD)] * 5 + [(HAPPY, HAPPY, HAPPY)] * 9)
    comparison = compare(first, second)
    assert not comparison.significant
    assert verdict(comparison).startswith(
        "The difference is not significant: 3 images are correct only for a, 5 only for b"
    )
    assert "**The difference is not significant" in comparison_markdown(comparison)


@pytest.mark.parametrize("n", [0, 5])
def test_an_interval_without_0_beside_a_difference_that_is_not_significant_is_explained(pair, n):
    first, second, _ = pair([(SAD, SAD, HAPPY)] * n + [(HAPPY, HAPPY, HAPPY)] * 59)
    comparison = compare(first, second)
    assert not comparison.significant
    assert (comparison.high < 0) == ("leaves 0 out, but the exact test decides" in verdict(comparison)) == (n == 5)


@pytest.mark.parametrize("turned", [False, True])
def test_a_clear_difference_names_the_better_model(pair, turned):
    rows = [(SAD, HAPPY, SAD) if turned else (SAD, SAD, HAPPY)] * 20 + [(HAPPY, HAPPY, HAPPY)] * 9
    first, second, _ = pair(rows)
    comparison = compare(first, second)
    assert comparison.significant
    assert verdict(comparison).startswith("b is better than a" if turned else "a is better than b")
    assert "p < 0.001" in verdict(comparison)


def test_models_with_equal_predictions_do_not_differ(pair):
    first, second, _ = pair([(SAD, SAD, SAD), (SAD, HAPPY, HAPPY)])
    comparison = compare(first, second)
    assert (comparison.difference, comparison.p_value) == (0, 1)


def test_evaluations_of_other_images_are_refused(pair, pixel_reader, written):
    first, second, _ = pair([(SAD, SAD, SAD), (HAPPY, SAD, HAPPY)])
    with pytest.raises(ConfigError, match="on different splits"):
        compare(first, replace(second, split="test"))
    with pytest.raises(ConfigError, match="on different data"):
        compare(first, replace(second, fingerprint="another"))
    with pytest.raises(ConfigError, match="on different classes"):
        compare(first, replace(second, labels=FERPLUS.labels))
    with pytest.raises(ConfigError, match="'a' was not evaluated in view 'tencrop'; choose from single, flip"):
        compare(first, second, view="tencrop")


def test_a_comparison_is_written_as_numbers_text_and_a_sheet(pair, tmp_path):
    first, second, dataset = pair([(HAPPY, HAPPY, SAD), (SAD, HAPPY, SAD), (SAD, SAD, SAD)])
    comparison, sheet = compare(first, second), differences_sheet(first, second, dataset)
    path = write_comparison(comparison, tmp_path / "new" / "folder", sheet=sheet)
    assert {file.name for file in path.parent.iterdir()} == {
        "comparison.html", "comparison.json", "comparison.md", "differences.png",
    }  # fmt: skip
    assert json.loads((path.parent / "comparison.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(to_plain(comparison))
    )
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# a and b on fer2013 PublicTest, single\n")
    assert "Difference B − A: +0.00 points, 95 % interval −" in text
    assert "| happy | 1 | 100.0 | 0.0 | −100.0 | 1 | 0 | 1.000 |" in text
    assert np.array_equal(read_picture(path.parent / "differences.png"), sheet)


def test_an_unwritable_folder_is_an_output_error(pair, tmp_path):
    first, second, _ = pair([(SAD, SAD, HAPPY)])
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(OutputError):
        write_comparison(compare(first, second), tmp_path / "taken", sheet=np.zeros((4, 4, 3), np.uint8))
