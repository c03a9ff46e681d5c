"""Samples decoded directly from their files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import Origin
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import name_classes
from voc_seg.voc.index import combined_fingerprint, fingerprints
from voc_seg.voc.pairs import Reading
from voc_seg.voc.splits import VOCSplit


@pytest.fixture
def split(tmp_path: Path) -> VOCSplit:
    """Two images; the masks are RGB, all of class 1 in its own colour."""
    found = VOCSplit("train", "own", ("a", "b"), tmp_path, tmp_path)
    for number, image_id in enumerate(found.ids):
        Image.new("RGB", (5 + number, 4)).save(found.image_path(image_id))
        Image.new("RGB", (5 + number, 4), (9, 8, 7)).save(found.mask_path(image_id))
    return found


def test_masks_are_read_by_the_colours_of_their_classes(split: VOCSplit) -> None:
    classes = name_classes(("background", "crack"), ((0, 0, 0), (9, 8, 7)))
    prints = fingerprints(split, Reading(classes))
    samples = DecodedSamples(split, ("b", "a"), Reading(classes), (prints["b"], prints["a"]))
    joint = combined_fingerprint(("b", "a"), (prints["b"], prints["a"]))
    assert samples.origin == Origin(
        "own", str(split.images.resolve()), ("background", "crack"), joint, Reading(classes).settings
    )
    assert len(samples) == 2
    first, second = samples
    assert (first.id, first.image.shape, second.id) == ("b", (4, 6, 3), "a")
    np.testing.assert_array_equal(first.mask, np.ones((4, 6)))
    assert first.mask.dtype == np.uint8


def test_a_mask_that_is_replaced_after_it_was_looked_into_is_not_packed(split: VOCSplit) -> None:
    classes = name_classes(("background", "crack"), ((0, 0, 0), (9, 8, 7)))
    prints = fingerprints(split, Reading(classes))
    Image.new("RGB", (6, 4), (0, 0, 0)).save(split.masks / "new.png")
    (split.masks / "new.png").replace(split.mask_path("b"))
    rest = iter(DecodedSamples(split, split.ids, Reading(classes), tuple(prints.values())))
    assert next(rest).id == "a"
    with pytest.raises(VocSegError, match=r"The files of b.*changed since.*data_processing"):
        next(rest)


def test_a_file_that_has_gone_since_is_named(split: VOCSplit) -> None:
    split.image_path("b").unlink()
    classes = name_classes(("background", "crack"), ((0, 0, 0), (9, 8, 7)))
    rest = iter(DecodedSamples(split, split.ids, Reading(classes)))
    assert next(rest).id == "a"
    with pytest.raises(VocSegError, match="missing image"):
        next(rest)


@pytest.mark.parametrize(("shard_images", "parts"), [(1, ["b", "a", "c"]), (2, ["ba", "c"]), (3, ["bac"])])
def test_parts_are_the_samples_in_order(split: VOCSplit, shard_images: int, parts: list[str]) -> None:
    samples = DecodedSamples(
        split, ("b", "a", "c"), prints=("2", "1", "3"), sizes=(10, 10, 10), shard_images=shard_images
    )
    found = samples.split_into_shards()
    assert ["".join(part.ids) for part in found] == parts
    assert "".join(print_ for part in found for print_ in part.prints) == "213"
    assert sum(part.nbytes for part in found) == 30
    assert len({part.origin.fingerprint for part in found}) == len(parts)


def test_no_samples_are_one_part(split: VOCSplit) -> None:
    (part,) = DecodedSamples(split, ()).split_into_shards()
    assert part.ids == ()
    assert part.origin.fingerprint == combined_fingerprint((), ())


def test_files_that_nobody_looked_at_have_no_fingerprint(split: VOCSplit) -> None:
    assert DecodedSamples(split, split.ids).origin.fingerprint == ""
