"""The charts of the side panel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mien.app.look import COLOURS
from mien.drawing.charts import bar_chart, timeline_chart
from mien.drawing.text import draw_text
from mien.drawing.voices import voice_title
from mien.labels import LabelSet
from mien.sinks.statistics import Statistics
from mien.structures import Expression, Frame, ImageArray, Utterance
from mien.vision.crop import crop_faces

WIDTH, BARS_HEIGHT, TIMELINE_HEIGHT, FACE_SIDE = 270, 168, 152, 48  # pixels of a standard screen
VOICE_ROW, LOW_TIMELINE_HEIGHT = 17, 110  # likewise: of a bar, and of one of two timelines, with legible letters


@dataclass(frozen=True, slots=True)
class Charts:
    """Draws charts in the window's theme.

    Args:
        scale: Screen pixels per pixel of a standard screen.
        dark: Whether the window is dark.
    """

    scale: float = 1.0
    dark: bool = False

    def face(self, frame: Frame, expression: Expression) -> ImageArray:
        """Draw a face, its label and its probabilities, RGB uint8 (H, W, 3)."""
        bars = self.bars(expression.prediction.as_dict())
        side = round(FACE_SIDE * self.scale)
        (crop,) = crop_faces(frame.image, [expression.face])
        heading = np.empty((side, bars.shape[1], 3), np.uint8)
        heading[:] = bars[0, 0]
        heading[:, :side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        letter = side // 4
        ink = tuple(bytes.fromhex(COLOURS[self.dark].text[1:]))
        draw_text(
            heading, expression.label, letter,
            x=side + letter, base=(side + letter) // 2, ink=(ink[0], ink[1], ink[2]),
        )  # fmt: skip
        return np.vstack([heading, bars])

    def bars(self, shares: dict[str, float], title: str = "") -> ImageArray:
        """Draw a bar per label, RGB uint8 (H, W, 3)."""
        return bar_chart(shares, size=self._size(BARS_HEIGHT), dark=self.dark, title=title, scale=self.scale)

    def voice(self, utterance: Utterance | None, labels: LabelSet) -> ImageArray:
        """Draw how a voice sounds, and its probabilities, RGB uint8 (H, W, 3); empty bars without speech."""
        shares = dict.fromkeys(labels, 0.0) if utterance is None else utterance.prediction.as_dict()
        title = "voice: no speech" if utterance is None else voice_title(utterance)
        size = self._size(VOICE_ROW * (len(labels) + 2))
        return bar_chart(shares, size=size, dark=self.dark, title=title, scale=self.scale)

    def timeline(self, statistics: Statistics, *, title: str = "", height: int = TIMELINE_HEIGHT) -> ImageArray:
        """Draw the mean probabilities over time, RGB uint8 (H, W, 3)."""
        line = statistics.timeline()
        return timeline_chart(
            line.times, line.probabilities, statistics.labels,
            size=self._size(height), dark=self.dark, title=title, scale=self.scale,
        )  # fmt: skip

    def timelines(self, faces: Statistics, voices: Statistics) -> list[ImageArray]:
        """Draw the mean probabilities of faces and voice over the same time, low enough for both to be in sight."""
        both = (("faces", faces), ("voice", voices))
        return [self.timeline(part, title=title, height=LOW_TIMELINE_HEIGHT) for title, part in both]

    def _size(self, height: int) -> tuple[int, int]:
        return round(WIDTH * self.scale), round(height * self.scale)
