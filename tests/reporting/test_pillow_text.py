"""Texts on images of Pillow: where they are, and how long."""

import numpy as np
from PIL import Image, ImageDraw

from voc_seg.reporting.pillow_text import draw_text, text_length


def test_a_text_is_as_long_as_it_says_and_its_middle_where_it_was_asked_for() -> None:
    image = Image.new("L", (200, 60), "white")
    draw_text(ImageDraw.Draw(image), (20, 30), "sheep", 20)
    rows, columns = np.nonzero(np.asarray(image) < 128)
    assert 20 <= columns.min() <= 23
    assert abs(columns.max() - 20 - text_length("sheep", 20)) <= 3
    assert 30 - 12 <= rows.min() < 30 < rows.max() <= 30 + 12
    assert text_length("", 20) == 0 and text_length("sheep", 40) > 1.9 * text_length("sheep", 20)
