"""Class names, their order and their colours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.voc.classes import CLASS_NAMES, VOID, voc_palette

REAL_VOC = Path(__file__).parents[3] / "shared" / "voc" / "VOCdevkit" / "VOC2012"


def test_there_are_20_classes_in_alphabetical_order_after_background():
    assert len(CLASS_NAMES) == 21
    assert CLASS_NAMES[0] == "background"
    assert list(CLASS_NAMES[1:]) == sorted(CLASS_NAMES[1:])
    assert CLASS_NAMES[15] == "person"
    assert VOID == 255


def test_palette_holds_the_published_colours():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: tuple(palette[index].tolist()) for index in published} == published
    assert palette[VOID].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


@pytest.mark.skipif(not REAL_VOC.is_dir(), reason="needs official masks in ../shared/voc")
def test_palette_is_the_one_stored_in_an_official_mask():
    with Image.open(REAL_VOC / "SegmentationClass" / "2007_000033.png") as mask:
        stored = np.reshape(mask.getpalette(), (-1, 3))
    assert np.array_equal(stored, voc_palette()[: len(stored)])
    assert len(stored) == 256
