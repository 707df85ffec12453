import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mien.errors import MissingExtra, OutputError, RunError
from mien.evaluation.metrics import reliability
from mien.evaluation.selective import operating_point, risk_coverage
from mien.labels import FER2013
from mien.reports.plots import (
    curves,
    draw_confusion,
    draw_confusions,
    draw_reliability,
    draw_risk_coverage,
    drawn_or_warned,
)

EPOCHS = [
    {"epoch": 1, "train_loss": 1.9, "valid_loss": 1.8, "valid_accuracy": 0.3, "size": 32, "learning_rate": 0.05},
    {"epoch": 2, "train_loss": 1.5, "valid_loss": None, "valid_accuracy": None, "size": 32, "learning_rate": 0.1},
    {"epoch": 3, "train_loss": 1.2, "valid_accuracy": 0.5, "size": 48, "learning_rate": 0.05},
]


def test_a_confusion_matrix_becomes_a_readable_png(tmp_path):
    draw_confusion(np.diag(range(7)), FER2013.labels, tmp_path / "c.png", title="a model on some data")
    with Image.open(tmp_path / "c.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) >= 1000


def test_more_classes_get_a_larger_plot(tmp_path):
    for k in (2, 12):
        draw_confusion(np.eye(k, dtype=int), [f"class {i}" for i in range(k)], tmp_path / f"{k}.png", title="")
    with Image.open(tmp_path / "2.png") as small, Image.open(tmp_path / "12.png") as large:
        assert large.width > small.width
        assert large.height > small.height


def test_confusions_are_arranged_in_rows_and_columns(tmp_path):
    two, labels = np.array([[3, 1], [0, 0]]), ["sad", "happy"]
    pairs = [("a", "x"), ("a", "y"), ("b", "x")]
    draw_confusions(dict.fromkeys(pairs, (two, labels)), tmp_path / "all.png")
    draw_confusions({("a", "x"): (two, labels)}, tmp_path / "one.png")
    with Image.open(tmp_path / "all.png") as all_of_them, Image.open(tmp_path / "one.png") as one:
        assert (all_of_them.width, all_of_them.height) == (2 * one.width, 2 * one.height)
        pixels = np.asarray(all_of_them.convert("L"))
    assert (pixels[one.height :, one.width :] == 255).all()  # nothing of b on y
    assert (pixels[one.height :, : one.width] < 255).any()


def test_the_same_matrix_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        draw_confusion(np.eye(2, dtype=int), ["sad", "happy"], tmp_path / name, title="twice")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("n", [1, 3])
def test_curves_are_drawn_even_with_missing_values(tmp_path, n):
    curves(EPOCHS[:n], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        picture.load()
        assert picture.width > 2 * picture.height


def test_a_run_that_ends_with_its_first_epoch_has_curves(tmp_path):
    """The learning rate of its only row is 0, so the axis has no range."""
    curves([EPOCHS[0] | {"learning_rate": 0.0}], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_a_run_without_validation_has_curves_too(tmp_path):
    rows = [{"epoch": i, "train_loss": 1 / i, "size": 48, "learning_rate": 0.1} for i in (1, 2)]
    curves(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_loss_curves_show_the_comparable_loss_where_it_was_recorded(tmp_path, monkeypatch):
    from mien.reports import plots

    drawn = []
    monkeypatch.setattr(plots, "_draw_line", lambda _, __, key, *, label, **___: drawn.append((key, label)))
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda *_, **__: None)
    curves([row | {"train_cross_entropy": 1.0} for row in EPOCHS], tmp_path / "new.png")
    curves(EPOCHS, tmp_path / "old.png")
    assert drawn[0] == ("train_cross_entropy", "train")
    assert drawn[3] == ("train_loss", "train (objective)")


def test_accuracies_of_each_dataset_are_drawn_plain_and_balanced(tmp_path, monkeypatch):
    from mien.reports import plots

    drawn = []
    monkeypatch.setattr(plots, "_draw_line", lambda _, __, key, *, label, **___: drawn.append((key, label)))
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda *_, **__: None)
    more = {"valid_balanced_accuracy": 0.2, "valid_accuracy_faces": 0.4, "valid_balanced_accuracy_faces": 0.3}
    curves([row | more for row in EPOCHS], tmp_path / "curves.png")
    assert drawn[2:] == [
        ("valid_accuracy", "first dataset"),
        ("valid_balanced_accuracy", "first dataset, balanced"),
        ("valid_accuracy_faces", "faces"),
        ("valid_balanced_accuracy_faces", "faces, balanced"),
    ]


def test_curves_of_no_epoch_are_refused(tmp_path):
    with pytest.raises(RunError, match="no epochs"):
        curves([], tmp_path / "curves.png")


@pytest.mark.parametrize("calibrated", [False, True])
def test_reliability_and_risk_are_drawn_with_and_without_temperature(tmp_path, calibrated):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), size=200).astype(np.float32)
    targets = rng.integers(0, 7, 200)
    bins, curve = reliability(probabilities, targets), risk_coverage(probabilities, targets)
    draw_reliability(bins, bins if calibrated else None, tmp_path / "reliability.png", title="a model")
    draw_risk_coverage(
        curve,
        curve if calibrated else None,
        tmp_path / "risk.png",
        title="a model",
        operating_point=operating_point(curve, 0.1) if calibrated else None,
    )
    for name in ("reliability.png", "risk.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.width >= 900


DRAW = """
import os, sys
from mien.reports.plots import curves
curves([{"epoch": 1, "train_loss": 1.9, "size": 32, "learning_rate": 0.05}], sys.argv[1])
import matplotlib
assert "matplotlib.pyplot" not in sys.modules
if os.environ["MPLBACKEND"] == "svg":  # the caller's own plots keep it
    assert matplotlib.rcParams["backend"] == "svg"
"""


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "svg"])
def test_plots_do_not_depend_on_the_backend(tmp_path, backend):
    path = tmp_path / "curves.png"
    command = [sys.executable, "-c", DRAW, str(path)]
    subprocess.run(command, check=True, env={**os.environ, "MPLBACKEND": backend})
    with Image.open(path) as picture:
        assert picture.format == "PNG"


def test_plots_do_not_depend_on_a_matplotlibrc(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")  # needs LaTeX
    row = {"epoch": 1, "train_loss": 1.9, "size": 32, "learning_rate": 0.05, "valid_accuracy_$a_$": 0.5}
    code = f"from mien.reports.plots import curves; curves([{row}], 'curves.png')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / "curves.png").exists()


def test_plots_that_fail_are_a_warning_whatever_the_error():
    def fail() -> None:
        raise RuntimeError("a font is broken")

    with pytest.warns(UserWarning, match="no curves: a font is broken"):
        assert not drawn_or_warned(fail, missing="no curves")


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[reports\]"):
        draw_confusion(np.eye(2, dtype=int), ["sad", "happy"], tmp_path / "c.png", title="")
    with pytest.raises(MissingExtra):
        curves(EPOCHS, tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path):
    with pytest.raises(OutputError):
        curves(EPOCHS, tmp_path / "nowhere" / "curves.png")
