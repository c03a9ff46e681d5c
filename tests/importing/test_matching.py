"""Masks find their images by name, and only by a name that is no coincidence."""

from pathlib import PurePosixPath

import pytest

from voc_seg.importing.notes import masks_without_images
from voc_seg.importing.pairing.matching import Matched, match_masks
from voc_seg.system.errors import VocSegError


def match(images: list[str], masks: list[str]) -> Matched:
    named = [{PurePosixPath(kind, name): name.rpartition(".")[0] for name in names}
             for kind, names in (("i", images), ("m", masks))]  # fmt: skip
    return match_masks(*named)


def names(matched: Matched) -> dict[str, str]:
    return {
        image.relative_to("i").as_posix(): mask.relative_to("m").as_posix() for image, mask in matched.pairs.items()
    }


RULES = {
    "equal": (["a.jpg", "b.png"], ["a.png", "b.tif"]),
    "case": (["IMG_1.JPG", "img_2.jpg"], ["img_1.PNG", "IMG_2.png"]),
    "accent": (["u\u0308.jpg"], ["\u00fc.png"]),
    "suffix": (["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png"]),
    "suffix of one": (["a.jpg"], ["a_mask.png"]),
    "dash": (["a.jpg"], ["a-seg.png"]),
    "prefix": (["a.jpg", "m1.jpg"], ["mask_a.png", "mask_m1.png"]),
    "CamVid": (["0001TP_1.png", "0016E5_2.png"], ["0001TP_1_L.png", "0016E5_2_L.png"]),
    "both differ at the start": (["image_001.png", "image_002.png"], ["mask_001.png", "mask_002.png"]),
    "both differ at the end": (["7_sat.jpg", "9_sat.jpg"], ["7_mask.png", "9_mask.png"]),
    "shared last letter": (["a_img.png", "b_img.png"], ["a_seg.png", "b_seg.png"]),
    "in the middle": (["x_rgb_1.png", "x_rgb_2.png"], ["x_gt_1.png", "x_gt_2.png"]),
    "image has the suffix": (["a_img.jpg", "b_img.jpg"], ["a.png", "b.png"]),
    "whole file name": (["a.jpg", "b.JPEG"], ["a.jpg.png", "b.JPEG.png"]),
    "other word": (["left1.png", "left2.png"], ["class1.png", "class2.png"]),
    "subfolders": (["s/a.jpg", "t/a.jpg"], ["s/a_mask.png", "t/a_mask.png"]),
    "folders differ": (["s/a.jpg", "t/b.jpg"], ["a.png", "b.png"]),
    "dots": (["a.v1.jpg", "a.v2.jpg"], ["a.v1.png", "a.v2.png"]),
    "JPEG": (["a.jpg", "b.jpg"], ["a_mask.jpg", "b_mask.jpg"]),
    "two kinds of names": (["a.jpg", "b.jpg", "c.jpg"], ["a.png", "b_mask.png", "c_gt.png"]),
    "image named mask": (["mask_1.png", "mask_2.png"], ["mask_1_mask.png", "mask_2_mask.png"]),
}


@pytest.mark.parametrize("name", RULES)
def test_every_image_finds_its_mask(name: str) -> None:
    images, masks = RULES[name]
    matched = match(images, masks)
    assert names(matched) == dict(zip(images, masks))
    assert not matched.images and not matched.masks


def test_a_rule_is_said() -> None:
    (note,) = match(["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png"]).notes
    assert "* and *_mask" in note


@pytest.mark.parametrize(
    "images, masks",
    [
        (["cat.jpg"], ["dog.png"]),
        (["cat_1.jpg"], ["dog_1.png"]),
        (["img_1.jpg", "img_2.jpg"], ["img_3.png", "img_4.png"]),
        (["1.jpg", "2.jpg"], ["11.png", "12.png"]),
        (["a.jpg", "b.jpg"], ["a2.png", "b2.png"]),
    ],
)
def test_other_names_are_no_pairs(images: list[str], masks: list[str]) -> None:
    matched = match(images, masks)
    assert not matched.pairs
    assert len(matched.images) == len(images) and len(matched.masks) == len(masks)


def test_what_is_left_after_equal_names_is_not_forced_together() -> None:
    matched = match(["a.jpg", "cat_1.jpg", "cat_2.jpg"], ["a.png", "dog_1.png", "dog_2.png"])
    assert names(matched) == {"a.jpg": "a.png"}
    assert "2 masks have no image: m/dog_1.png, m/dog_2.png." in masks_without_images(matched.masks)


def test_two_images_of_one_name_are_not_used() -> None:
    matched = match(["a.jpg", "a.png", "b.jpg"], ["a.png", "b.png"])
    assert names(matched) == {"b.jpg": "b.png"}
    assert set(map(str, matched.images)) == {"i/a.jpg", "i/a.png"}
    assert "1 name fits several images or masks" in matched.notes[0] and "i/a.jpg, i/a.png" in matched.notes[0]


def test_only_ambiguous_names_are_refused() -> None:
    with pytest.raises(VocSegError, match=r"Keep one image and one mask of each name"):
        match(["a.jpg", "a.png"], ["a.png"])


def test_a_jpeg_beside_a_mask_is_a_preview() -> None:
    matched = match(["a.jpg"], ["a.png", "a.jpg"])
    assert names(matched) == {"a.jpg": "a.png"}
    assert "previews: m/a.jpg" in matched.notes[0] and not matched.masks


def test_two_masks_for_each_image_are_refused() -> None:
    with pytest.raises(VocSegError, match=r"Each image has several masks.*_gt.*_mask|Each image.*_mask.*_gt"):
        match(["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png", "a_gt.png", "b_gt.png"])


def test_many_names_are_matched_quickly() -> None:
    images = [f"scene_{number // 7}/img_{number:06d}.jpg" for number in range(20_000)]
    masks = [name.replace("img_", "mask_").replace(".jpg", ".png") for name in images]
    assert len(match(images, masks).pairs) == 20_000
