"""Charts: bar lengths are shares, area heights are probabilities, colours are those of the expressions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.drawing.charts import DARK, LIGHT, TrackRow, bar_chart, timeline_chart, track_chart
from mien.drawing.colours import COLOURS, UNCERTAIN_COLOUR, Colour
from mien.labels import FER2013
from mien.structures import ImageArray

SIZE = (400, 300)
BARS = slice(90, 340)  # columns without letters, whose antialiased edges have all greys
EVEN = np.full((4, 7), 1 / 7)


def width_of(image: ImageArray, colour: Colour) -> int:
    """Return the number of columns with pixels of exactly this colour."""
    return int((image == colour).all(axis=2).any(axis=0).sum())


def area_of(image: ImageArray, colour: Colour) -> int:
    return int((image == colour).all(axis=2).sum())


def rows_of(image: ImageArray, colour: Colour) -> tuple[int, int]:
    rows = np.flatnonzero((image == colour).all(axis=2).any(axis=1))
    return int(rows[0]), int(rows[-1])


def timeline(probabilities: np.ndarray, *, size: tuple[int, int] = SIZE, dark: bool = False) -> ImageArray:
    times = np.arange(len(probabilities)) + 0.5
    return timeline_chart(times, probabilities, FER2013, size=size, dark=dark)


@pytest.mark.parametrize("dark", [False, True])
class TestBars:
    def test_a_bar_is_as_long_as_its_share(self, dark: bool) -> None:
        image = bar_chart({"happy": 0.2, "sad": 0.4, "fear": 0.8}, size=SIZE, dark=dark)
        inside = [width_of(image, COLOURS[label]) + 2 for label in ("happy", "sad", "fear")]  # with both edges
        assert inside[1] == pytest.approx(2 * inside[0], abs=1)
        assert inside[2] == pytest.approx(4 * inside[0], abs=2)

    def test_a_full_bar_fills_its_trough(self, dark: bool) -> None:
        trough = (DARK if dark else LIGHT).trough
        full, half = (bar_chart({"happy": share}, size=SIZE, dark=dark)[:, BARS] for share in (1.0, 0.5))
        assert area_of(full, trough) == 0
        assert area_of(half, trough) > area_of(full, COLOURS["happy"]) / 3

    def test_bars_are_in_the_order_of_the_labels(self, dark: bool) -> None:
        image = bar_chart(dict.fromkeys(FER2013, 0.5), size=SIZE, dark=dark)
        tops = [rows_of(image[:, BARS], COLOURS[label])[0] for label in FER2013]
        assert tops == sorted(tops)
        assert len(set(tops)) == 7

    def test_uncertain_is_grey(self, dark: bool) -> None:
        assert area_of(bar_chart({"uncertain": 0.5}, size=SIZE, dark=dark), UNCERTAIN_COLOUR) > 1000

    def test_a_bar_has_an_outline_visible_on_its_trough(self, dark: bool) -> None:
        look = DARK if dark else LIGHT
        neutral = bar_chart({"neutral": 0.5}, size=SIZE, dark=dark)
        assert area_of(neutral, look.outline) > area_of(bar_chart({"neutral": 0.0}, size=SIZE, dark=dark), look.outline)
        strength = abs(int(look.outline[0]) - COLOURS["neutral"][0])
        assert strength > 60

    def test_the_title_and_the_labels_are_written(self, dark: bool) -> None:
        look = DARK if dark else LIGHT
        with_title = bar_chart({"happy": 0.0}, size=SIZE, dark=dark, title="One face")
        without = bar_chart({"happy": 0.0}, size=SIZE, dark=dark)
        assert (with_title[:25] != look.ground).any()
        assert (without[:25] == look.ground).all()
        assert (without[:, :60] != look.ground).any()  # "happy"
        assert (without[:, -40:] != look.ground).any()  # "0 %"

    def test_size_and_background_are_as_requested(self, dark: bool) -> None:
        image = bar_chart({}, size=(160, 90), dark=dark)
        assert (image.shape, image.dtype) == ((90, 160, 3), np.uint8)
        assert (image == (DARK if dark else LIGHT).ground).all()


class TestBarsOfAnything:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 7.0])
    def test_shares_out_of_range_are_clipped(self, value: float) -> None:
        expected = 1.0 if value > 1 else 0.0
        assert np.array_equal(
            bar_chart({"happy": value}, size=SIZE, dark=False), bar_chart({"happy": expected}, size=SIZE, dark=False)
        )

    def test_all_zeros_draw_no_bar(self) -> None:
        image = bar_chart(dict.fromkeys(FER2013, 0.0), size=SIZE, dark=True)[:, BARS]
        assert [label for label in FER2013 if area_of(image, COLOURS[label])] == []

    def test_a_long_label_leaves_room_for_the_bar(self) -> None:
        shares = {"an expression that nobody can spell" * 3: 0.1, "happy": 1.0}
        assert width_of(bar_chart(shares, size=(300, 100), dark=False), COLOURS["happy"]) > 60

    def test_letters_grow_with_the_scale_of_the_screen(self) -> None:
        def inked(scale: float) -> int:
            image = bar_chart({"happy": 0.0}, size=(800, 600), dark=False, scale=scale)
            return int((image == LIGHT.ink).all(axis=2).sum())

        assert inked(2.0) > 2 * inked(1.0)

    @given(
        size=st.tuples(st.integers(0, 300), st.integers(0, 200)),
        labels=st.lists(st.text(max_size=40), max_size=9, unique=True),
        title=st.text(max_size=60),
        share=st.floats(),
        scale=st.floats(0.1, 4),
    )
    @settings(deadline=None, max_examples=80)
    def test_it_never_fails(
        self, size: tuple[int, int], labels: list[str], title: str, share: float, scale: float
    ) -> None:
        image = bar_chart(dict.fromkeys(labels, share), size=size, dark=True, title=title, scale=scale)
        assert image.shape == (max(size[1], 1), max(size[0], 1), 3)


class TestTimeline:
    @pytest.mark.parametrize("dark", [False, True])
    def test_areas_are_as_high_as_their_probabilities_and_in_order(self, dark: bool) -> None:
        probabilities = np.zeros((10, 7))
        probabilities[:, [0, 3, 4]] = [0.5, 0.25, 0.25]  # angry, happy, sad
        column = timeline(probabilities, dark=dark)[:, 203:204]
        angry, happy, sad = (rows_of(column, COLOURS[label]) for label in ("angry", "happy", "sad"))
        assert angry[1] < happy[0] <= happy[1] < sad[0]
        assert angry[1] - angry[0] == pytest.approx(2 * (happy[1] - happy[0]), abs=4)
        assert happy[1] - happy[0] == pytest.approx(sad[1] - sad[0], abs=3)

    def test_time_runs_to_the_right(self) -> None:
        probabilities = np.zeros((10, 7))
        probabilities[:5, 3], probabilities[5:, 4] = 1, 1
        image = timeline(probabilities)[150]  # a row in the middle of the plot
        happy, sad = ((image == COLOURS[label]).all(axis=1).nonzero()[0] for label in ("happy", "sad"))
        assert happy.max() < sad.min()
        assert len(happy) == pytest.approx(len(sad), rel=0.1)

    def test_bins_without_a_face_are_a_gap(self) -> None:
        probabilities = np.zeros((10, 7))
        probabilities[:, 3] = 1
        whole = area_of(timeline(probabilities), COLOURS["happy"])
        probabilities[4:7] = np.nan
        image = timeline(probabilities)
        assert area_of(image, COLOURS["happy"]) == pytest.approx(0.7 * whole, rel=0.05)
        assert (image[150, 200:250] == LIGHT.ground).all()

    def test_one_bin_between_gaps_is_visible(self) -> None:
        probabilities = np.full((9, 7), np.nan)
        probabilities[4] = [0, 0, 0, 1, 0, 0, 0]
        assert area_of(timeline(probabilities), COLOURS["happy"]) > 500

    def test_the_legend_has_all_colours(self) -> None:
        image = timeline(np.full((3, 7), np.nan))
        assert all(area_of(image, COLOURS[label]) > 9 for label in FER2013)

    @pytest.mark.parametrize("n", [0, 1, 2, 600])
    @pytest.mark.parametrize("size", [(0, 0), (1, 1), (7, 300), (300, 7), (60, 40), (220, 160), (1600, 900)])
    def test_it_never_fails(self, n: int, size: tuple[int, int]) -> None:
        for probabilities in (np.full((n, 7), np.nan), np.zeros((n, 7)), np.resize(EVEN, (n, 7))):
            image = timeline(probabilities, size=size, dark=True)
            assert image.shape == (max(size[1], 1), max(size[0], 1), 3)

    @pytest.mark.parametrize("bin_seconds", [0.01, 1, 60, 3600, 1e6])
    def test_a_stream_of_any_length_has_legible_times(self, bin_seconds: float) -> None:
        times = (np.arange(4) + 0.5) * bin_seconds
        image = timeline_chart(times, EVEN, FER2013, size=SIZE, dark=False)
        labelled = (image[-30:] == LIGHT.ink).all(axis=2).any(axis=0)
        assert labelled[:-20].sum() > 10

    def test_long_labels_are_shortened(self) -> None:
        labels = ["a label " * 20, "another one " * 20]
        image = timeline_chart([0.5], np.array([[0.5, 0.5]]), labels, size=SIZE, dark=False, title="title " * 50)
        assert image.shape == (300, 400, 3)


class TestTracks:
    def rows(self, n: int = 2) -> list[TrackRow]:
        probabilities = np.zeros((10, 7))
        probabilities[:, 3] = 1
        probabilities[5:] = np.nan
        return [TrackRow(f"{i}: 5 s", {"happy": 0.75, "sad": 0.25}, probabilities) for i in range(n)]

    def chart(self, tracks: list[TrackRow], *, size: tuple[int, int] = (800, 400), dark: bool = False) -> ImageArray:
        return track_chart(np.arange(10) + 0.5, tracks, FER2013, size=size, dark=dark, title="Each face")

    def test_the_segments_of_a_bar_are_as_long_as_their_shares(self) -> None:
        sad = width_of(self.chart(self.rows(1))[45:], COLOURS["sad"])  # which the strip has none of
        shorter = [row._replace(shares={"happy": 0.9, "sad": 0.1}) for row in self.rows(1)]
        assert sad > 40
        assert width_of(self.chart(shorter)[45:], COLOURS["sad"]) == pytest.approx(0.4 * sad, abs=2)

    def test_a_strip_ends_where_the_face_left(self) -> None:
        half = self.rows(1)[0]
        whole = half._replace(probabilities=np.tile(half.probabilities[0], (10, 1)))
        bar = width_of(self.chart([half._replace(probabilities=np.full((10, 7), np.nan))])[45:], COLOURS["happy"])
        long, short = (width_of(self.chart([row])[45:], COLOURS["happy"]) - bar for row in (whole, half))
        assert short == pytest.approx(long / 2, abs=3)

    def test_uncertain_is_in_the_legend_if_it_occurs(self) -> None:
        unsure = [row._replace(shares={"happy": 0.5, "uncertain": 0.5}) for row in self.rows(1)]
        before, after = (area_of(self.chart(rows)[:45], UNCERTAIN_COLOUR) for rows in (self.rows(1), unsure))
        assert after > before + 20  # letters have a few such pixels at their edges

    def test_every_track_has_a_row(self) -> None:
        column = (self.chart(self.rows(5))[40:, 150] == COLOURS["happy"]).all(axis=1)
        assert np.flatnonzero(np.diff(column.astype(int)) == 1).size == 5

    @pytest.mark.parametrize("n", [0, 1, 12])
    @pytest.mark.parametrize("size", [(0, 0), (1, 1), (7, 300), (300, 7), (60, 40), (220, 160)])
    def test_it_never_fails(self, n: int, size: tuple[int, int]) -> None:
        assert self.chart(self.rows(n), size=size).shape == (max(size[1], 1), max(size[0], 1), 3)
