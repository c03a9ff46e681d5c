"""Contact sheets for Kedro-Viz."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from voc_seg.datasets.previews import contact_sheet


def test_a_sheet_of_nothing_is_blank(decoded: Callable) -> None:
    assert decoded(contact_sheet([])).size == (180, 90)


def test_16_bit_grey_is_scaled(decoded: Callable) -> None:
    image = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert decoded(contact_sheet([image], width=4)).convert("RGB").getpixel((1, 1)) == (128, 128, 128)
