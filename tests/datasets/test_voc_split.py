"""The raw data of a split as a Kedro dataset."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import AbstractDataset, DatasetError
from PIL import Image

from voc_seg.datasets import voc_split
from voc_seg.datasets.voc_split import VOCSplitDataset
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.system.errors import VocSegError


def make_voc(root: Path, year: str = "2012", **lists: str) -> Path:
    folder = root / "VOCdevkit" / f"VOC{year}"
    for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / part).mkdir(parents=True)
    for name, text in lists.items():
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture
def fetched(monkeypatch):
    """Replace fetching by a tiny VOC folder, and record the calls."""
    calls = []

    def fetch(source, root, archives, given):
        calls.append((source, root, list(archives), given))
        if len(calls) == 1:
            make_voc(root, train="a\nb\n", val="c\n")
        return root / "VOCdevkit" / "VOC2012"

    monkeypatch.setattr(voc_split, "fetch", fetch)
    return calls


def test_load_fetches_into_a_folder_of_its_own(tmp_path, fetched):
    split = VOCSplitDataset("voc2012", "train", filepath=str(tmp_path)).load()
    assert fetched == [("voc2012", tmp_path / "voc2012", [], None)]
    assert split.ids == ("a", "b")
    assert split.image_path("a") == tmp_path / "voc2012" / "VOCdevkit" / "VOC2012" / "JPEGImages" / "a.jpg"
    assert VOCSplitDataset("voc2012", "test", filepath=str(tmp_path)).load().ids == ()


def test_voc_root_is_read_as_it_is(tmp_path, fetched):
    folder = make_voc(tmp_path / "mine", train="x\n", val="y\n")
    for source in ("sample", "voc2012"):
        dataset = VOCSplitDataset(source, "train", str(tmp_path / "raw"), voc_root=str(tmp_path / "mine"))
        assert dataset.load().ids == ("x",)
        assert dataset.load().images == folder / "JPEGImages"
        assert VOCSplitDataset(source, "test", str(tmp_path / "raw"), voc_root=str(folder)).load().ids == ()
    assert fetched == []
    assert not (tmp_path / "raw").exists()


def test_voc_root_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    make_voc(tmp_path / "mine", train="x\n")
    monkeypatch.chdir(tmp_path)
    dataset = VOCSplitDataset("sample", "train", voc_root="mine")
    monkeypatch.chdir("/")
    assert dataset.load().ids == ("x",)


def test_own_data_is_called_by_its_folder_as_its_packed_samples_are(tmp_path):
    folder = make_voc(tmp_path / "mine", train="x\n").rename(tmp_path / "street_scenes")
    dataset = VOCSplitDataset("own", "train", str(tmp_path), voc_root=str(folder))
    assert dataset.data_name() == DecodedSamples(dataset.load(), ()).origin.name == "street_scenes"
    (folder / "JPEGImages").rmdir()
    (tmp_path / "photos/JPEGImages").mkdir(parents=True)
    (folder / "JPEGImages").symlink_to(tmp_path / "photos/JPEGImages")
    assert dataset.data_name() == DecodedSamples(dataset.load(), ()).origin.name == "photos"


def test_other_data_is_called_by_its_source(tmp_path):
    make_voc(tmp_path / "mine", train="x\n")
    assert VOCSplitDataset("voc2012", "train", voc_root=str(tmp_path / "mine")).data_name() == "voc2012"
    assert VOCSplitDataset("sample", "train", str(tmp_path)).data_name() == "sample", "not drawn yet"
    assert VOCSplitDataset("own", "train", voc_root=str(tmp_path / "absent")).data_name() == "own"


def test_wrong_voc_root_is_the_users_error(tmp_path):
    with pytest.raises(DatasetError, match="No VOC2007 data") as caught:
        VOCSplitDataset("voc2007", "train", voc_root=str(tmp_path)).load()
    assert isinstance(caught.value.__cause__, VocSegError)


def test_unknown_source_is_refused_at_once():
    with pytest.raises(VocSegError, match="Unknown source 'coco'"):
        VOCSplitDataset("coco", "train")


def test_raw_data_is_read_only(tmp_path):
    with pytest.raises(DatasetError, match="sample train is raw data"):
        VOCSplitDataset("sample", "train", str(tmp_path)).save("anything")


def test_comes_out_of_a_catalog_entry(tmp_path):
    entry = {
        "type": "voc_seg.datasets.voc_split.VOCSplitDataset",
        "source": "sample",
        "split": "val",
        "filepath": str(tmp_path),
        "voc_root": None,
        "metadata": {"kedro-viz": {"layer": "raw"}},
    }
    dataset = AbstractDataset.from_config("val_split", entry)
    assert dataset.exists()
    assert dataset.metadata == entry["metadata"]
    assert dataset._describe() == {"source": "sample", "split": "val", "filepath": str(tmp_path / "sample")}


def test_preview_shows_the_first_pictures_with_their_masks_and_fetches_nothing(tmp_path, fetched, decoded):
    folder = make_voc(tmp_path / "voc2012", train="a\nb\nc\n")
    for name in "ab":
        Image.new("RGB", (100, 50), "red").save(folder / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (100, 50), 255).save(folder / "SegmentationClass" / f"{name}.png")
    sheet = decoded(VOCSplitDataset("voc2012", "train", str(tmp_path)).preview(images=2))
    assert sheet.size == (4 * 180 + 3 * 6, 90)
    assert sheet.getpixel((90, 45))[0] > 250 > sheet.getpixel((90, 45))[1]  # a.jpg
    assert sheet.getpixel((180 + 6 + 90, 45)) == (255, 255, 255, 255)  # its mask
    assert VOCSplitDataset.preview.__annotations__["return"].__name__ == "ImagePreview"
    assert fetched == []


ARCHIVES = {"a.tar": {"md5": "0" * 32, "addresses": ["https://host/a.tar"]}}


def test_archives_and_an_archive_on_disk_are_handed_on(tmp_path, fetched):
    VOCSplitDataset("voc2012_aug", "val", str(tmp_path), voc_archive="~/a.tar", archives=ARCHIVES).load()
    assert fetched == [("voc2012_aug", tmp_path / "voc2012", ["a.tar"], Path("~/a.tar").expanduser())]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a.tar": {"md5": "zz", "addresses": ["https://host/a.tar"]}}, r"a\.tar > md5 = 'zz'"),
        ({"a.tar": {"md5": "0" * 32, "addresses": []}}, r"a\.tar > addresses = \[\]"),
        ({"a.tar": {"md5": "0" * 32, "addresses": ["ftp://host/a.tar"]}}, r"a\.tar > addresses > 0 = 'ftp://host/a"),
        ({"a.tar": {"md5": "0" * 32, "addresses": ["https://host"], "sha": 1}}, r"a\.tar > sha = 1"),
    ],
)
def test_a_wrong_block_of_archives_is_named(tmp_path, wrong, message):
    with pytest.raises(DatasetError, match=rf"archives in conf/base/globals\.yml is invalid:\n  {message}"):
        VOCSplitDataset("voc2012", "train", str(tmp_path), archives=wrong).load()


def test_voc_root_and_voc_archive_exclude_each_other(tmp_path):
    dataset = VOCSplitDataset("voc2012", "train", voc_root=str(tmp_path), voc_archive="a.tar")
    with pytest.raises(DatasetError, match=r"voc_archive \(.*a\.tar\) would be ignored: give only one of them"):
        dataset.load()


def test_the_index_of_an_earlier_run_comes_with_the_split_and_is_read_when_asked_for(tmp_path):
    make_voc(tmp_path, train="a\n")
    path = tmp_path / "index.parquet"
    entry = {"source": "voc2012", "split": "train", "voc_root": str(tmp_path)}
    assert VOCSplitDataset(**entry).load().read_index is None
    split = VOCSplitDataset(**entry, index={"filepath": str(path)}).load()
    assert split == VOCSplitDataset(**entry).load()
    assert split.read_index().empty
    pd.DataFrame({"image_id": ["a"]}).to_parquet(path)
    assert split.read_index()["image_id"].tolist() == ["a"]


def test_a_preview_shows_grey_for_images_that_pillow_does_not_read(tmp_path):
    folder = make_voc(tmp_path, train="a\n")
    (folder / "JPEGImages/a.jpg").write_bytes(b"bands")
    Image.new("P", (4, 3)).save(folder / "SegmentationClass/a.png")
    assert VOCSplitDataset("voc2012", "train", voc_root=str(tmp_path)).preview()
