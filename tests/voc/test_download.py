"""Fetching data; no test touches the network."""

import urllib.error
from pathlib import Path

import pytest

from voc_seg.errors import VocSegError
from voc_seg.voc import download


def make_voc(root: Path, year: str = "2012", **lists: str) -> Path:
    """A VOC folder with the files that its lists name, all empty."""
    folder = root / "VOCdevkit" / f"VOC{year}"
    for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(ids.split()))
        masks = "SegmentationClassAug" if name == "trainaug" else "SegmentationClass"
        for image_id in ids.split():
            (folder / "JPEGImages" / f"{image_id}.jpg").touch()
            (folder / masks / f"{image_id}.png").touch()
    return folder


@pytest.fixture
def downloads(monkeypatch):
    """Records what torchvision is asked for, and gives it."""
    import torchvision.datasets

    asked = []

    def download(root, year, image_set, download):
        assert download
        asked.append((year, image_set))
        make_voc(Path(root), year, **({"test": "t"} if image_set == "test" else {"train": "a", "val": "b"}))

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", download)
    return asked


def test_voc2012_is_downloaded_once(tmp_path, downloads):
    folder = download.fetch("voc2012", tmp_path)
    assert folder == tmp_path / "VOCdevkit" / "VOC2012"
    assert downloads == [("2012", "train")]
    assert download.fetch("voc2012", tmp_path) == folder
    assert len(downloads) == 1


def test_voc2007_needs_two_archives(tmp_path, downloads):
    assert download.fetch("voc2007", tmp_path) == tmp_path / "VOCdevkit" / "VOC2007"
    assert downloads == [("2007", "train"), ("2007", "test")]


@pytest.mark.parametrize("lost", ["JPEGImages/b.jpg", "SegmentationClass/a.png", "ImageSets/Segmentation/val.txt"])
def test_incomplete_folder_is_fetched_again(tmp_path, downloads, lost):
    folder = make_voc(tmp_path, train="a", val="b")
    (folder / lost).unlink()
    download.fetch("voc2012", tmp_path)
    assert downloads == [("2012", "train")]


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError("File not found or corrupted."),
        EOFError("cut short"),
    ],
)
def test_failed_download_gives_address_reason_and_ways_out(tmp_path, monkeypatch, failure):
    import torchvision.datasets

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", fail)
    with pytest.raises(VocSegError) as caught:
        download.fetch("voc2007", tmp_path)
    message = str(caught.value)
    assert "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar" in message
    assert str(failure) in message
    assert str(tmp_path) in message
    assert "--params voc_root=PATH" in message
    assert "sample" in message
    assert caught.value.__cause__ is failure


def test_archive_of_the_2007_test_split_is_named(tmp_path, monkeypatch):
    import torchvision.datasets

    def fail_on_test(root, year, image_set, download):
        if image_set == "test":
            raise OSError("gone")

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", fail_on_test)
    with pytest.raises(VocSegError, match=r"VOCtest_06-Nov-2007\.tar"):
        download.fetch("voc2007", tmp_path)


def test_train_aug_is_taken_when_there_and_explained_when_not(tmp_path, downloads):
    with pytest.raises(VocSegError, match=r"SegmentationClassAug.*trainaug\.txt.*voc_root=PATH"):
        download.fetch("voc2012_aug", tmp_path)
    folder = make_voc(tmp_path, trainaug="a b", val="c")
    assert download.fetch("voc2012_aug", tmp_path) == folder
    assert downloads == []


def test_sample_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "write_scenes", lambda root: root / "VOCdevkit" / "VOC2012")
    assert download.fetch("sample", tmp_path) == tmp_path / "VOCdevkit" / "VOC2012"


def test_sample_that_cannot_be_written_says_so(tmp_path):
    make_voc(tmp_path, train="a")
    with pytest.raises(VocSegError, match=r"could not be written to .*voc_root=PATH"):
        download.fetch("sample", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(VocSegError, match="could not be written"):
        download.fetch("sample", tmp_path / "file")


def test_unknown_source(tmp_path):
    with pytest.raises(VocSegError, match="Unknown source 'coco'"):
        download.fetch("coco", tmp_path)
