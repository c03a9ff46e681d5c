"""Masks that are valid one by one but contradict each other."""

import numpy as np
import pytest
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import Classes, name_classes
from voc_seg.voc.consistency import (
    black_value_warning,
    require_consistent_masks,
    require_more_than_void,
    void_objects_warning,
)
from voc_seg.voc.index import index_images
from voc_seg.voc.pairs import Reading
from voc_seg.voc.splits import VOCSplit

NAMES = ("background", "cat", "dog")
COLOURS = ((0, 0, 0), (230, 159, 0), (0, 114, 178))
PLAIN = name_classes(NAMES)
COLOURED = name_classes(NAMES, COLOURS)


@pytest.fixture
def index(tmp_path):
    """Index masks given as Pillow images."""

    def make(*images, classes=PLAIN):
        ids = tuple(f"m{number}" for number in range(len(images)))
        split = VOCSplit("train", "own", ids, tmp_path, tmp_path)
        for image_id, image in zip(ids, images):
            image.save(split.mask_path(image_id))
            Image.new("RGB", image.size).save(split.image_path(image_id))
        return index_images(split, Reading(classes))

    return make


def palette_mask(values, colours):
    image = Image.fromarray(np.array([values], np.uint8))
    image.putpalette(np.array(colours, np.uint8).tobytes())
    return image


def grey(*values):
    return Image.fromarray(np.array([values], np.uint8))


QUANTISED = palette_mask([0, 1], COLOURS), palette_mask([0, 1], [COLOURS[2], COLOURS[0]])
SHORTENED = palette_mask([0, 1], COLOURS), palette_mask([0, 1], [COLOURS[0], COLOURS[2]])


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (QUANTISED, "#000000 is value 0 in m0 and value 1 in m1"),
        (SHORTENED, "value 1 is #e69f00 in m0 and #0072b2 in m1"),
    ],
    ids=["renumbered", "shortened"],
)
def test_palettes_that_differ_are_refused(index, masks, message):
    with pytest.raises(VocSegError, match=f"{message}.*colour in data.classes.*data.values"):
        require_consistent_masks({"train": index(*masks)}, PLAIN)


@pytest.mark.parametrize("masks", [QUANTISED, SHORTENED], ids=["renumbered", "shortened"])
def test_with_colours_declared_they_are_read_by_them(index, masks):
    table = index(*masks, classes=COLOURED)
    require_consistent_masks({"train": table}, COLOURED)
    assert table[list(NAMES)].values.tolist() == [[1, 1, 0], [1, 0, 1]]


def test_over_splits_too(index, tmp_path):
    first, second = index(QUANTISED[0]), index(QUANTISED[1])
    with pytest.raises(VocSegError, match="different palettes"):
        require_consistent_masks({"train": first, "val": second}, PLAIN)


def test_declared_values_are_believed(index):
    classes = Classes(NAMES, PLAIN.colours, coded=False, values=((0, 0), (1, 1)))
    require_consistent_masks({"train": index(*QUANTISED, classes=classes)}, classes)


@pytest.mark.parametrize("values", [((1, 1),), ((4, 255),), ((255, 255),)], ids=["one of both", "another", "void"])
def test_declared_values_do_not_excuse_the_palettes_of_others(index, values):
    classes = Classes(NAMES, PLAIN.colours, coded=False, values=values)
    with pytest.raises(VocSegError, match="different palettes"):
        require_consistent_masks({"train": index(*QUANTISED, classes=classes)}, classes)


def test_a_colour_of_two_values_does_not_hide_the_others(index):
    masks = palette_mask([0, 1, 2], [COLOURS[0], COLOURS[1], COLOURS[0]]), palette_mask([0, 1], COLOURS[1::-1])
    with pytest.raises(VocSegError, match="#e69f00 is value 1 in m0 and value 0 in m1"):
        require_consistent_masks({"train": index(*masks)}, PLAIN)


def test_with_colours_declared_the_remedy_is_not_to_declare_them(index):
    masks = palette_mask([0, 1], [COLOURS[0], (9, 9, 0)]), palette_mask([0, 2], [COLOURS[0], (1, 1, 1), (9, 9, 0)])
    with pytest.raises(VocSegError, match=r"not the colours in data\.classes"):
        require_consistent_masks({"train": index(*masks, classes=COLOURED)}, COLOURED)


def test_black_at_another_value_than_0_is_doubted(index):
    table = {"train": index(palette_mask([0, 1, 2], [COLOURS[1], COLOURS[2], COLOURS[0]]))}
    require_consistent_masks(table, PLAIN)
    assert "show value 2 in black and value 0 in #e69f00 (such as m0)" in black_value_warning(table, PLAIN)
    assert not black_value_warning({"train": index(palette_mask([0, 1, 2], COLOURS))}, PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        palette_mask([0, 1, 2], [(9, 9, 9)] * 3),
        palette_mask([0, 1, 2], [(value,) * 3 for value in range(3)]),
        palette_mask([0, 1, 2], COLOURS),
        grey(0, 1, 2),
    ],
    ids=["one colour", "greys", "the same", "no palette"],
)
def test_palettes_that_tell_nothing_play_no_part(index, other):
    require_consistent_masks({"train": index(palette_mask([0, 1], COLOURS), other)}, PLAIN)


def test_greys_must_be_colours_in_all_files_or_in_none(index):
    classes = name_classes(("background", "object"), ((0, 0, 0), (255, 255, 255)))
    require_consistent_masks({"train": index(grey(0, 255), grey(0, 0), classes=classes)}, classes)
    with pytest.raises(VocSegError, match=r"greys of m0 are the colours of classes, those of m1 are class indices"):
        require_consistent_masks({"train": index(grey(0, 255), grey(0, 1), classes=classes)}, classes)


def test_greys_with_a_palette_count_as_well(index):
    classes = name_classes(("background", "object"), ((0, 0, 0), (255, 255, 255)))
    plain = palette_mask([0, 1], [(value,) * 3 for value in range(3)])
    with pytest.raises(VocSegError, match="greys of m0 are the colours of classes, those of m1 are class indices"):
        require_consistent_masks({"train": index(grey(0, 255), plain, classes=classes)}, classes)


def test_background_and_void_alone_are_refused_with_the_remedy(index):
    two = name_classes(("background", "object"))
    with pytest.raises(VocSegError, match=r"255 is a class .*data\.values=\{0: background, 255: object\}"):
        require_more_than_void(index(grey(0, 255), grey(0, 0), classes=two), two)
    with pytest.raises(VocSegError, match=r"data\.values\.0=background,data\.values\.255=object"):
        require_more_than_void(index(grey(0, 0), grey(255, 255), classes=two), two)
    require_more_than_void(index(grey(0, 1, 255), classes=two), two)
    require_more_than_void(index(grey(0, 0), classes=two), two)  # no void: another message


def test_masks_whose_objects_are_void_are_warned_of_beside_others(index):
    two = name_classes(("background", "object"))
    mixed = index(grey(0, 1), grey(0, 255), grey(0, 1), grey(255, 0), classes=two)
    said = void_objects_warning({"train": mixed}, two)
    assert "2 masks of train hold only background and void, such as m1" in said
    assert "data.values.255=object,data.values.1=object" in said
    assert not void_objects_warning({"train": index(grey(0, 1, 255), grey(0, 0), classes=two)}, two)


@pytest.mark.parametrize("names", [NAMES[:2], NAMES], ids=["two classes", "three"])
def test_a_split_whose_objects_are_void_is_warned_of(index, names):
    classes = name_classes(names)
    indices = {"train": index(grey(0, 1), classes=classes), "val": index(grey(0, 255), classes=classes)}
    said = void_objects_warning(indices, classes)
    assert "1 masks of val hold only background and void, such as m0" in said
    assert "data.values.255=cat,data.values.1=cat" in said
    assert not void_objects_warning({"train": indices["train"], "val": index(grey(0, 0), classes=classes)}, classes)


def test_void_is_doubted_where_the_last_class_is_missing(index):
    said = void_objects_warning({"train": index(grey(0, 1, 255), grey(0, 1))}, PLAIN)
    assert "no pixel of dog, but 20 % of its pixels are void" in said
    assert said.endswith("data.values.255=dog")
    assert not void_objects_warning({"train": index(grey(0, 1, 2, 255))}, PLAIN)
    assert not void_objects_warning({"train": index(grey(0, 1), grey(1, 1))}, PLAIN)


def test_a_mostly_white_mask_gets_advice_for_both_orders(index):
    two = name_classes(("background", "object"))
    with pytest.raises(VocSegError, match="object and background exchanged"):
        require_more_than_void(index(grey(0, 255, 255), classes=two), two)


def rgb_mask(*colours):
    return Image.fromarray(np.array([colours], np.uint8))


BLACK_LAST = name_classes(NAMES, ((255, 255, 255), (230, 159, 0), (0, 0, 0)))


@pytest.mark.parametrize(
    ("masks", "classes"),
    [
        ((rgb_mask((0, 0, 0), (1, 1, 1)), rgb_mask((0, 0, 0), (0, 0, 0))), BLACK_LAST),  # black: 0 there, a dog here
        ((rgb_mask((0, 0, 0), (1, 1, 1)), rgb_mask((0, 0, 0), (230, 159, 0))), COLOURED),
    ],
    ids=["black alone", "colours"],
)
def test_indices_and_colours_in_rgb_are_not_mixed(index, masks, classes):
    with pytest.raises(VocSegError, match="The RGB values of m1 are the colours of classes, those of m0 are class in"):
        require_consistent_masks({"train": index(*masks, classes=classes)}, classes)


def test_masks_of_background_alone_go_with_indices_in_rgb(index):
    masks = rgb_mask((0, 0, 0), (1, 1, 1)), rgb_mask((0, 0, 0), (0, 0, 0))
    require_consistent_masks({"train": index(*masks, classes=COLOURED)}, COLOURED)
