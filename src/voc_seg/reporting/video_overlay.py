"""Overlays of the frames of a video, each with a legend that does not flicker."""

import numpy as np
from PIL import Image, ImageDraw

from voc_seg.voc.classes import VOID, Classes

from .fonts import shown_classes
from .overlays import NOT_SURE, tinted
from .pillow_text import draw_text, text_length
from .style import GREY

_KEPT_SECONDS = 2.0
_LEAST = 0.005
"""Share of a frame from which a class is in the legend: single wrong pixels would fill it."""
_HIGHEST = 0.25
"""Share of the height that the legend may cover."""
_OPACITY = 0.8


class VideoOverlays:
    """Draws the overlays of one video, frame after frame.

    The legend is drawn over the lower left of the frame, because the video keeps its size. A class enters it, as the
    last one, when it covers half a percent of a frame, and leaves it two seconds after it last did. Background, which
    is not tinted, is not in it. Classes for which a quarter of the height has no room are not shown.

    Args:
        classes: Names and colours by mask value.
    """

    def __init__(self, classes: Classes) -> None:
        self._classes = shown_classes(classes)
        self._colours = classes.palette()
        self._seen: dict[int, float] = {}  # when each class of the legend was last seen, in its order
        self._legend = np.empty((0, 0, 3), dtype=np.float32)

    def draw(self, image: np.ndarray, mask: np.ndarray, seconds: float) -> np.ndarray:
        """The image tinted by the classes of its mask, with the legend.

        Args:
            image: ``uint8 (H, W, 3)`` RGB, as is the result; of one size in all calls.
            mask: ``uint8 (H, W)``, class index, or void where the network is not sure.
            seconds: When the frame is shown; not earlier than the frame before.
        """
        counts = np.array(Image.fromarray(mask).histogram())
        present = [
            value for value in np.argsort(-counts, kind="stable").tolist() if counts[value] >= _LEAST * mask.size
        ]
        before = list(self._seen)
        self._seen = {value: last for value, last in self._seen.items() if seconds - last <= _KEPT_SECONDS}
        self._seen |= {value: seconds for value in present if value}
        if list(self._seen) != before:
            self._legend = self._drawn_legend(*mask.shape)
        result = tinted(image, mask, self._classes)
        height, width = self._legend.shape[:2]
        if height:
            corner = result[-height:, :width]
            corner[:] = np.rint(corner * (1 - _OPACITY) + self._legend * _OPACITY)
        return result

    def _drawn_legend(self, height: int, width: int) -> np.ndarray:
        """Swatches and names of the classes seen, in as many rows as needed, ``float32 (h, w, 3)``."""
        size = int(np.clip(width / 42, 11, 40))  # of the letters, in pixels
        gap, line = size // 2, round(size * 1.6)
        left = bottom = right = gap
        places: list[tuple[int, int, str, tuple[int, ...]]] = []
        for value in self._seen:
            name = NOT_SURE if value == VOID else self._classes.names[value]
            needed = size + gap + round(text_length(name, size))
            if places and left + needed + gap > width:
                left, bottom = gap, bottom + line
            if bottom + line > _HIGHEST * height:
                break
            places.append((left, bottom, name, tuple(self._colours[value].tolist())))
            right = max(right, left + needed)
            left += needed + size
        if not places:
            return np.empty((0, 0, 3), dtype=np.float32)
        plate = Image.new("RGB", (min(right + gap, width), places[-1][1] + line), "white")
        draw = ImageDraw.Draw(plate)
        for x, y, name, colour in places:
            draw.rounded_rectangle((x, y, x + size, y + size), size // 5, colour, GREY)
            draw_text(draw, (x + size + gap, y + size // 2), name, size)
        return np.asarray(plate, dtype=np.float32)
