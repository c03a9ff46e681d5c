"""The index reads every image and mask, and names every bad one."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc import index as index_module
from voc_seg.voc.classes import CLASS_NAMES, RESERVED_NAMES, VOID, name_classes, voc_palette
from voc_seg.voc.images import decode_dataset_image
from voc_seg.voc.index import fingerprint_of, index_images
from voc_seg.voc.masks import decode_mask, palette_image
from voc_seg.voc.pairs import Reading
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

SHARED = Path(__file__).parents[3] / "shared" / "voc"
HEIGHT, WIDTH = 12, 20


def save_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


@pytest.fixture
def split(tmp_path) -> VOCSplit:
    """Three good images; masks with background, aeroplane (5 pixels) and void (2)."""
    found = VOCSplit("train", "sample", ("a", "b", "c"), tmp_path / "JPEGImages", tmp_path / "SegmentationClass")
    found.images.mkdir()
    found.masks.mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3, 4:9] = 1
    mask[5, 5:7] = VOID
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for image_id in found.ids:
        Image.fromarray(noise).save(found.image_path(image_id))
        save_mask(found.mask_path(image_id), mask)
    return found


def reason_for(split: VOCSplit, image_id: str = "b") -> str:
    """The reason for which one image is rejected; its row must stay, without counts, and the others be usable."""
    index = index_images(split).set_index("image_id")
    assert list(index.index) == list(split.ids)
    assert (index.loc[index.index != image_id, "rejected"] == "").all()
    assert index.loc[image_id, [*CLASS_NAMES, "void"]].sum() == 0
    return index.loc[image_id, "rejected"]


def test_good_images_are_counted(split):
    index = index_images(split)
    first, last = (
        ["image_id", "split", "height", "width", "mask_mode"],
        [
            "void",
            "note",
            "rejected",
            "mask_palette",
            "channel_sums",
            "image_file",
            "mask_file",
            "fingerprint",
            "traits",
        ],
    )
    assert list(index.columns) == [*first, *CLASS_NAMES, *last]
    assert {*first, *last, "truth", "image", "file"} == RESERVED_NAMES  # the last three of other tables
    assert (index["mask_mode"] == "P").all()
    assert (index["note"] == "").all()
    assert list(index["image_id"]) == ["a", "b", "c"]
    assert list(index["image_file"]) == ["JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg"]
    assert index["mask_file"].iloc[0] == "SegmentationClass/a.png"
    assert (index["split"] == "train").all()
    assert (index["rejected"] == "").all()
    row = index.iloc[0]
    assert (row["height"], row["width"]) == (HEIGHT, WIDTH)
    assert (row["background"], row["aeroplane"], row["void"]) == (HEIGHT * WIDTH - 7, 5, 2)
    assert (index[["height", "width", *CLASS_NAMES, "void"]].dtypes == "int64").all()
    assert (index[list(CLASS_NAMES[2:])] == 0).all(axis=None)


def test_missing_files(split):
    split.image_path("b").unlink()
    assert reason_for(split) == "missing image: JPEGImages/b.jpg"
    split.image_path("a").rename(split.image_path("b"))
    split.mask_path("b").unlink()
    split = VOCSplit(split.name, split.source, ("b", "c"), split.images, split.masks)
    assert reason_for(split) == "missing mask: SegmentationClass/b.png"


def test_labels_outside_the_classes_are_listed(split):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[0, :4] = 20, 21, 254, VOID
    save_mask(split.mask_path("b"), mask)
    assert reason_for(split).startswith(
        "unknown labels: SegmentationClass/b.png has 21, 254 (known are 0 to 20 and 255; data.values"
    )
    save_mask(split.mask_path("b"), np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH))
    assert "has 21, 22, 23, 24, 25 and 214 more (known" in reason_for(split)


def test_mask_without_a_label(split):
    save_mask(split.mask_path("b"), np.full((HEIGHT, WIDTH), VOID, np.uint8))
    assert reason_for(split).startswith("no labelled pixel")


def test_large_images_are_no_reason_to_warn(split, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    assert (index_images(split)["rejected"] == "").all()
    assert not recwarn.list


def test_fewer_classes(split):
    index = index_images(split, Reading(name_classes(("background", "plane"))))
    assert index["plane"].tolist() == [5, 5, 5]
    index = index_images(split, Reading(name_classes(("background",))))
    assert (index["rejected"].str.contains("png has 1 \\(known")).all()


def test_empty_split_keeps_columns_and_types(split, tmp_path):
    full = index_images(split)
    empty = index_images(VOCSplit("test", "sample", (), split.images, split.masks))
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)
    empty.to_parquet(tmp_path / "empty.parquet")
    assert pd.read_parquet(tmp_path / "empty.parquet").dtypes.equals(full.dtypes)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs official VOC data in ../shared/voc")
def test_official_val_images_are_all_usable():
    index = index_images(read_split(find_voc_folder(SHARED, "2012"), "voc2012", "val"))
    assert (index["rejected"] == "").all()
    assert (index[[*CLASS_NAMES, "void"]].sum(axis=1) == index["height"] * index["width"]).all()
    assert (index[list(CLASS_NAMES)].sum() > 0).all()


def read_own(split: VOCSplit) -> VOCSplit:
    """The split as the catalog reads it, from its folder and its list."""
    lists = split.images.parent / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "train.txt").write_text("\n".join(split.ids))
    return read_split(split.images.parent, "own", "train")


def test_other_endings_are_used_and_written_down(split):
    Image.open(split.image_path("a")).save(split.images / "a.JPG", format="JPEG")
    Image.open(split.image_path("b")).save(split.images / "b.tif")
    for image_id in "ab":
        split.image_path(image_id).unlink()
    split.mask_path("b").rename(split.masks / "b.PNG")
    index = index_images(read_own(split))
    assert index["rejected"].tolist() == ["", "", ""]
    assert index["image_file"].tolist() == ["JPEGImages/a.JPG", "JPEGImages/b.tif", "JPEGImages/c.jpg"]
    assert index["mask_file"].tolist()[:2] == ["SegmentationClass/a.png", "SegmentationClass/b.PNG"]


class TestRepeat:
    """A second run reads only files that have changed."""

    @pytest.fixture
    def reads(self, monkeypatch):
        """Names of the files that are decoded."""
        names = []

        def noted(decode):
            def call(path, *rest):
                names.append(path.name)
                return decode(path, *rest)

            return call

        monkeypatch.setattr(index_module, "decode_dataset_image", noted(decode_dataset_image))
        monkeypatch.setattr(index_module, "decode_mask", noted(decode_mask))
        return names

    def test_unchanged_files_are_not_decoded(self, split, reads, tmp_path):
        first = index_images(split)
        first.to_parquet(tmp_path / "index.parquet")
        reads.clear()
        again = index_images(split, previous=pd.read_parquet(tmp_path / "index.parquet"))
        assert reads == []
        pd.testing.assert_frame_equal(first, again)
        assert fingerprint_of(first) == fingerprint_of(again)

    @pytest.mark.parametrize("kind", ["image", "mask"])
    def test_a_changed_file_is_read_again(self, split, reads, kind):
        first = index_images(split)
        path = split.image_path("b") if kind == "image" else split.mask_path("b")
        path.write_bytes(path.read_bytes() + b" ")
        reads.clear()
        again = index_images(split, previous=first)
        assert sorted(reads) == ["b.jpg", "b.png"]
        assert fingerprint_of(first) != fingerprint_of(again)

    def test_the_time_alone_is_enough(self, split, reads):
        first = index_images(split)
        stat = split.mask_path("a").stat()
        os.utime(split.mask_path("a"), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
        reads.clear()
        index_images(split, previous=first)
        assert sorted(reads) == ["a.jpg", "a.png"]

    def test_removed_and_added_images_are_noticed(self, split, reads):
        first = index_images(split)
        fewer = index_images(replace(split, ids=("c", "a")), previous=first)
        assert list(fewer["image_id"]) == ["c", "a"]
        reads.clear()
        more = index_images(split, previous=fewer)
        assert sorted(reads) == ["b.jpg", "b.png"]
        pd.testing.assert_frame_equal(more, first)
        assert fingerprint_of(fewer) != fingerprint_of(first)

    def test_a_file_that_vanishes_or_comes_back_is_noticed(self, split):
        first = index_images(split)
        moved = split.image_path("a").rename(split.images / "away.jpg")
        without = index_images(split, previous=first)
        assert without["rejected"].tolist() == ["missing image: JPEGImages/a.jpg", "", ""]
        moved.rename(split.image_path("a"))
        again = index_images(split, previous=without).drop(columns="fingerprint")
        pd.testing.assert_frame_equal(again, first.drop(columns="fingerprint"))

    def test_a_failed_read_is_retried(self, split, monkeypatch):
        """Too many open files, a disk that was away, a permission: the files themselves show none of these."""

        def fail(path):
            raise VocSegError("damaged image: a.jpg ([Errno 24] Too many open files)")

        with monkeypatch.context() as patch:
            patch.setattr(index_module, "decode_dataset_image", fail)
            first = index_images(split)
        assert (first["rejected"] != "").all()
        assert (index_images(split, previous=first)["rejected"] == "").all()

    def test_a_verdict_on_a_decoded_pair_is_kept(self, split, reads):
        palette_image(np.full((HEIGHT, WIDTH), VOID, np.uint8)).save(split.mask_path("a"))
        first = index_images(split)
        assert first["rejected"][0].startswith("no labelled pixel")
        reads.clear()
        pd.testing.assert_frame_equal(index_images(split, previous=first), first)
        assert reads == []

    def test_no_file_can_stop_the_others(self, split, monkeypatch):
        def fail(path, classes):
            raise MemoryError("too large")

        monkeypatch.setattr(index_module, "decode_mask", fail)
        reasons = index_images(split)["rejected"].tolist()
        assert reasons[0] == "unreadable: JPEGImages/a.jpg or its mask (MemoryError: too large)"

    def test_a_file_put_in_place_of_another_is_noticed_by_its_change(self, split, reads):
        first = index_images(split)
        path = split.mask_path("a")
        stat = path.stat()
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        reads.clear()
        index_images(split, previous=first)
        assert sorted(reads) == ["a.jpg", "a.png"]

    def test_the_same_names_and_times_elsewhere_are_other_files(self, split, tmp_path):
        first = index_images(split)
        shutil.copytree(split.images, tmp_path / "b" / "JPEGImages")
        (tmp_path / "b" / "SegmentationClass").mkdir()
        for image_id in split.ids:
            save_mask(tmp_path / "b" / "SegmentationClass" / f"{image_id}.png", np.full((HEIGHT, WIDTH), 2, np.uint8))
        other = replace(split, images=tmp_path / "b" / "JPEGImages", masks=tmp_path / "b" / "SegmentationClass")
        assert fingerprint_of(index_images(other)) != fingerprint_of(first)
        assert (index_images(other, previous=first)["bicycle"] == HEIGHT * WIDTH).all()

    def test_other_classes_read_all_again(self, split, reads):
        first = index_images(split)
        colours = [None] * 20 + [(1, 2, 3)]
        for classes in (name_classes(("background", "plane")), name_classes(CLASS_NAMES, colours)):
            reads.clear()
            index_images(split, Reading(classes), previous=first)
            assert len(reads) == 6

    @pytest.mark.parametrize("previous", [None, pd.DataFrame(), pd.DataFrame({"image_id": ["a"], "rejected": [""]})])
    def test_a_table_of_another_kind_is_no_help(self, split, previous):
        pd.testing.assert_frame_equal(index_images(split, previous=previous), index_images(split))

    def test_a_twin_that_comes_and_goes_is_noticed(self, split, reads):
        first = index_images(read_own(split))
        (split.images / "a.png").write_bytes(split.image_path("a").read_bytes())
        twins = index_images(read_own(split), previous=first)
        assert twins["rejected"].tolist() == [
            "ambiguous image: JPEGImages has a.jpg and a.png; delete all but one",
            "",
            "",
        ]
        (split.images / "a.png").unlink()
        pd.testing.assert_frame_equal(index_images(read_own(split), previous=twins), first)

    def test_another_ending_is_another_file(self, split, reads):
        first = index_images(read_own(split))
        split.image_path("a").rename(split.images / "a.jpeg")
        reads.clear()
        again = index_images(read_own(split), previous=first)
        assert reads == ["a.jpeg", "a.png"]
        assert again["image_file"][0] == "JPEGImages/a.jpeg"
        assert fingerprint_of(again) != fingerprint_of(first)

    def test_order_of_the_list_is_part_of_the_fingerprint(self, split):
        first = index_images(split)
        assert fingerprint_of(first) != fingerprint_of(index_images(replace(split, ids=("b", "a", "c"))))
