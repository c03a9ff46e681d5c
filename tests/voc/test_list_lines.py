"""Lines of image lists in other forms than a bare id."""

import pytest

from voc_seg.system.errors import VocSegError
from voc_seg.voc.list_lines import id_of_line


@pytest.mark.parametrize(
    ("line", "known", "image_id"),
    [
        ("a", {}, "a"),
        ("a.jpg", {}, "a"),
        ("a.JPG", {"a"}, "a"),
        ("a.jpg", {"a.jpg"}, "a.jpg"),  # its file is a.jpg.jpg
        ("JPEGImages/a.jpg", {}, "a"),
        ("/data/mine/JPEGImages/a.png", {}, "a"),
        (r"JPEGImages\a.jpg", {}, "a"),
        ("/JPEGImages/a.jpg /SegmentationClass/a.png", {}, "a"),  # DeepLab's
        ("JPEGImages/a.tif\tSegmentationClass/a.tif", {}, "a"),
        ("a.jpg a.png", {}, "a"),
        ("a.jpg,a.png", {}, "a"),
        ("a a", {}, "a"),
        ("a a", {"a a"}, "a a"),
        ("weed (0)", {}, "weed (0)"),
        ("weed (0) weed (0)", {}, "weed (0)"),
        ("JPEGImages/weed (0).jpg SegmentationClass/weed (0).png", {}, "weed (0)"),
        ("2008.v1", {}, "2008.v1"),
        ("a, b", {}, "a, b"),
    ],
)
def test_the_id_of_a_line(line, known, image_id):
    assert id_of_line(line, known, "JPEGImages", "SegmentationClass") == image_id


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg b.png", "the image a with the mask b, but an image and its mask must have the same name"),
        (
            "JPEGImages/a.jpg SegmentationClassAug/a.png",
            "names a file in SegmentationClassAug, but files are only read from",
        ),
        ("train/a.jpg", "names a file in train, but files are only read from JPEGImages"),
        ("a.jpg a_mask.png", "the image a with the mask a_mask"),
    ],
)
def test_a_line_without_an_image_of_these_folders_is_refused(line, message):
    with pytest.raises(VocSegError, match=message):
        id_of_line(line, {}, "JPEGImages", "SegmentationClass")
