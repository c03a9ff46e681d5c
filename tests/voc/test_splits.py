"""Finding VOC folders and reading their image lists."""

import os
from pathlib import Path

import pytest

from voc_seg.system.errors import VocSegError
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.sources import SOURCES
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split, resolve_path

SHARED = Path(__file__).parents[3] / "shared" / "voc"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs official VOC data in ../shared/voc")


def make_lists(folder: Path, **lists: str) -> Path:
    for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_paths_follow_from_the_id():
    split = VOCSplit("val", "voc2012", ("2007_000033",), Path("images"), Path("masks"))
    assert split.image_path("2007_000033") == Path("images/2007_000033.jpg")
    assert split.mask_path("2007_000033") == Path("masks/2007_000033.png")
    assert len(split) == 1


@pytest.mark.parametrize("start", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_folder_is_found_from_each_level(tmp_path, start):
    folder = make_lists(tmp_path / "VOCdevkit" / "VOC2012")
    assert find_voc_folder(tmp_path / start, "2012").resolve() == folder.resolve()


def test_own_folder_may_have_any_name_but_that_of_another_year(tmp_path):
    own = make_lists(tmp_path / "street_scenes")
    assert find_voc_folder(own, "2012") == own
    with pytest.raises(VocSegError, match="No VOC2012 data"):
        find_voc_folder(make_lists(tmp_path / "VOC2007"), "2012")


def test_error_names_the_expected_and_found_folders(tmp_path):
    (tmp_path / "VOC2007").mkdir()
    with pytest.raises(VocSegError, match=r"holds VOC2007.*VOCdevkit/VOC2012.*voc_root") as caught:
        find_voc_folder(tmp_path, "2012")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(VocSegError, match="does not exist"):
        find_voc_folder(tmp_path / "absent", "2012")
    (tmp_path / "file").touch()
    with pytest.raises(VocSegError, match="not a folder"):
        find_voc_folder(tmp_path / "file", "2012")


def test_list_keeps_its_order_without_blanks_and_byte_order_mark(tmp_path):
    folder = make_lists(tmp_path, train="\ufeffb\r\n\n  a \n")
    assert read_split(folder, "voc2012", "train") == VOCSplit(
        "train", "voc2012", ("b", "a"), tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\na\n", r"Line 3 .*train\.txt repeats the image id 'a'"),
        ("\n \n", r"train\.txt is empty"),
        ("images/a.jpg\n", "Line 1 .* it names a file in images, but files are only read from JPEGImages"),
        ("a\0\n\0b\0\n", r"Line 1 of .* is 'a\\x00'"),  # UTF-16, say
    ],
)
def test_bad_list_is_named(tmp_path, text, message):
    with pytest.raises(VocSegError, match=message):
        read_split(make_lists(tmp_path, train=text), "voc2012", "train")


def test_missing_list_and_missing_masks_are_named(tmp_path):
    folder = make_lists(tmp_path, train="a\n")
    with pytest.raises(VocSegError, match=r"val list of voc2012 .*val\.txt"):
        read_split(folder, "voc2012", "val")
    (folder / "SegmentationClass").rmdir()
    with pytest.raises(VocSegError, match="SegmentationClass, which does not exist"):
        read_split(folder, "voc2012", "train")


def test_unknown_source_and_split_name_the_known_ones(tmp_path):
    with pytest.raises(VocSegError, match=r"'voc2010'.*voc2007"):
        read_split(tmp_path, "voc2010", "train")
    with pytest.raises(VocSegError, match=r"'trainval'.*train, val, test"):
        read_split(tmp_path, "voc2012", "trainval")


def test_test_split_is_empty_where_its_masks_are_not_public(tmp_path):
    folder = make_lists(tmp_path, train="a\n", test="t\n")
    assert read_split(folder, "voc2012", "test").ids == ()
    (folder / "SegmentationClass" / "t.png").touch()
    assert read_split(folder, "voc2012", "test").ids == ()
    assert read_split(folder, "voc2007", "test").ids == ("t",)


def test_sample_takes_a_test_split_only_when_it_has_masks(tmp_path):
    folder = make_lists(tmp_path, train="a\n")
    assert read_split(folder, "sample", "test").ids == ()
    make_lists(tmp_path, test="t\nu\n")
    assert read_split(folder, "sample", "test").ids == ()
    (folder / "SegmentationClass" / "u.png").touch()
    assert read_split(folder, "sample", "test").ids == ("t", "u")


@pytest.mark.parametrize("spelling", ["trainaug", "train_aug"])
def test_train_aug_has_its_own_masks_and_val_the_official_ones(tmp_path, spelling):
    folder = make_lists(tmp_path, **{spelling: "a\nb\n", "val": "c\n"})
    (folder / "SegmentationClassAug").mkdir()
    train = read_split(folder, "voc2012_aug", "train")
    assert train.ids == ("a", "b")
    assert train.mask_path("a") == folder / "SegmentationClassAug" / "a.png"
    assert read_split(folder, "voc2012_aug", "val").masks == folder / "SegmentationClass"


def test_missing_train_aug_names_the_expected_files(tmp_path):
    folder = make_lists(tmp_path, train="a\n", val="c\n")
    with pytest.raises(VocSegError, match=r"trainaug\.txt.*train_aug\.txt.*SegmentationClassAug"):
        read_split(folder, "voc2012_aug", "train")


def test_every_source_has_the_three_splits():
    assert set(SOURCES) == {"sample", "voc2012", "voc2007", "voc2012_aug", "own"}
    assert all(set(source.lists) == {"train", "val", "test"} for source in SOURCES.values())


@needs_shared
@pytest.mark.parametrize(("split", "count"), [("train", 330), ("val", 173)])
def test_real_split_is_part_of_the_official_one(split, count):
    found = read_split(find_voc_folder(SHARED, "2012"), "voc2012", split)
    assert len(found) == count
    assert set(found.ids) <= set((SHARED / "splits" / f"{split}.txt").read_text().split())
    assert all(found.image_path(name).is_file() and found.mask_path(name).is_file() for name in found.ids)


@needs_shared
@pytest.mark.parametrize(
    ("source", "split", "name", "count"),
    [
        ("voc2012", "train", "train", 1464),
        ("voc2012", "val", "val", 1449),
        ("voc2012_aug", "train", "trainaug", 10582),
    ],
)
def test_official_lists_are_read_completely(tmp_path, source, split, name, count):
    folder = make_lists(tmp_path, **{name: (SHARED / "splits" / f"{name}.txt").read_text()})
    (folder / "SegmentationClassAug").mkdir()
    assert len(read_split(folder, source, split)) == count


def test_own_data_may_bear_any_name(tmp_path):
    folder = make_lists(tmp_path / "raw" / "VOCdevkit" / "cracks", train="x\n", val="y\n")
    for root in (folder, folder.parent, folder.parent.parent):
        assert find_voc_folder(root, None) == folder
    assert read_split(folder, "own", "train").ids == ("x",)
    assert read_split(folder, "own", "test").ids == ()


def test_own_data_that_is_not_there_or_not_alone(tmp_path):
    with pytest.raises(VocSegError, match=r"No data in VOC layout in .* \(which is empty\).*--params voc_root="):
        find_voc_folder(tmp_path, None)
    for name in ("a", "b"):
        (tmp_path / name / "ImageSets" / "Segmentation").mkdir(parents=True)
    with pytest.raises(VocSegError, match=r"Several folders of .* have it: a, b\. Point voc_root"):
        find_voc_folder(tmp_path, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "cannot be read: 'utf-8' codec"), (None, "cannot be read: .*No such file")],
)
def test_lists_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VocSegError, match=rf"The image list .*train\.txt {message}"):
        read_ids(path)


@needs_shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_official_sizes(split):
    assert SOURCES["voc2012"].sizes[split] == len(read_ids(SHARED / "splits" / f"{split}.txt"))


def test_a_pipe_as_image_list_is_refused(tmp_path):
    os.mkfifo(tmp_path / "train.txt")
    with pytest.raises(VocSegError, match="not a regular file"):
        read_ids(tmp_path / "train.txt")


@pytest.mark.parametrize("what", ["pipe", "link in a circle", "folder"])
def test_a_test_list_that_is_no_file_does_not_count_as_none(tmp_path, what):
    folder = make_lists(tmp_path, train="a\n")
    path = folder / "ImageSets/Segmentation/test.txt"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name)
    message = "is a link to test.txt, which does not exist" if what == "link in a circle" else "cannot be read"
    with pytest.raises(VocSegError, match=rf"test\.txt.* {message}"):
        read_split(folder, "sample", "test")


def test_a_list_of_another_kind_is_called_so(tmp_path):
    folder = make_lists(tmp_path, train="a -1\nb  1\n")
    (folder / "JPEGImages/a.jpg").touch()
    with pytest.raises(VocSegError, match=r"train\.txt is 'a -1': this looks like .*ImageSets/Main.*the image is 'a'"):
        read_split(folder, "voc2012", "train")


@pytest.mark.parametrize("image_id", ["a 1", "a.png"])
def test_ids_that_only_look_like_another_kind_are_taken(tmp_path, image_id):
    folder = make_lists(tmp_path, train=f"{image_id}\n")
    for name in (image_id, "a"):
        (folder / f"JPEGImages/{name}.jpg").touch()
    assert read_split(folder, "voc2012", "train").ids == (image_id,)


@pytest.mark.parametrize("year", ["2012", None])
@pytest.mark.parametrize("root", ["circle", "x" * 300, "~nobody of that name/x", "file"])
def test_a_root_that_leads_nowhere_is_no_traceback(tmp_path, monkeypatch, root, year):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    with pytest.raises(VocSegError, match=r"data in .*\(which (is not a folder|does not exist)\)"):
        find_voc_folder(resolve_path(root), year)


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff\n"], ids=["nothing", "blank lines", "byte order mark"])
def test_an_empty_test_list_is_no_test_split(tmp_path, text):
    folder = make_lists(tmp_path, train="a\n", val="b\n", test=text)
    assert read_split(folder, "own", "test").ids == ()
    assert read_split(folder, "sample", "test").ids == ()
    with pytest.raises(VocSegError, match=r"test\.txt is empty"):
        read_split(folder, "voc2007", "test")


def test_deeplabs_lists(tmp_path):
    lines = [f"/JPEGImages/weed ({number}).jpg /SegmentationClass/weed ({number}).png" for number in range(2)]
    assert read_split(make_lists(tmp_path, train="\n".join(lines)), "own", "train").ids == ("weed (0)", "weed (1)")
    with pytest.raises(
        VocSegError, match=r"Line 2 of .*names a file in /SegmentationClassAug, but files are only read from"
    ):
        read_split(make_lists(tmp_path, train="a\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n"), "own", "train")
    with pytest.raises(VocSegError, match=r"Line 2 of .*repeats the image id 'a'"):
        read_split(make_lists(tmp_path, train="a\na.jpg\n"), "own", "train")


def test_a_blank_within_a_name_is_no_second_column(tmp_path):
    folder = make_lists(tmp_path, train="cat cat\ndog dog\n")
    (folder / "JPEGImages" / "cat cat.png").touch()
    assert read_split(folder, "own", "train").ids == ("cat cat", "dog")


def test_paths_follow_the_files_found(tmp_path):
    folder = make_lists(tmp_path, train="a\nb\nc\n")
    for name in ("JPEGImages/a.JPG", "JPEGImages/b.jpg", "JPEGImages/b.png", "SegmentationClass/a.tif"):
        (folder / name).touch()
    split = read_split(folder, "own", "train")
    assert (split.image_path("a"), split.mask_path("a")) == (
        folder / "JPEGImages/a.JPG", folder / "SegmentationClass/a.tif",
    )  # fmt: skip
    assert split.problem("a") == split.problem("c") == ""
    assert split.problem("b") == "ambiguous image: JPEGImages has b.jpg and b.png; delete all but one"
    assert hash(split) == hash(split)


def test_cvats_list_is_named(tmp_path):
    with pytest.raises(VocSegError, match=r"Found default\.txt, in which CVAT lists all images: copy about 80%"):
        read_split(make_lists(tmp_path, default="a\n"), "own", "train")


@pytest.mark.parametrize("linked", ["JPEGImages", "SegmentationClass", "ImageSets", "ImageSets/Segmentation"])
def test_links_to_folders_that_are_not_there(tmp_path, linked):
    folder = make_lists(tmp_path / "mine", train="a\n")
    (folder / linked).rename(tmp_path / "away")
    (folder / linked).symlink_to("/not/mounted")
    message = f"mine/{linked} is a link to /not/mounted, which does not exist: mount the disk"
    for source, year in (("own", None), ("voc2012", "2012")):
        with pytest.raises(VocSegError, match=message):
            read_split(find_voc_folder(folder, year), source, "train")


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_list_that_is_a_dead_link(tmp_path, name):
    folder = make_lists(tmp_path)
    (folder / f"ImageSets/Segmentation/{name}.txt").symlink_to("/not/mounted.txt")
    with pytest.raises(VocSegError, match=rf"{name}\.txt is a link to /not/mounted\.txt, which does not exist"):
        read_split(folder, "own", name)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("SegmentationClassPNG", "Found SegmentationClassPNG instead: if that is the folder, rename it to Seg"),
        ("SegmentationClass.dvc", "which DVC has not fetched yet. Run: dvc pull"),
        ("masks", r"which does not exist\. Put the PNG masks"),
    ],
)
def test_a_missing_folder_names_similar_ones(tmp_path, there, message):
    folder = make_lists(tmp_path, train="a\n")
    (folder / "SegmentationClass").rename(folder / there)
    with pytest.raises(VocSegError, match=message):
        read_split(folder, "own", "train")


def test_a_missing_folder_of_images(tmp_path):
    folder = make_lists(tmp_path, train="a\n")
    (folder / "JPEGImages").rmdir()
    with pytest.raises(VocSegError, match=r"The images of own train should be in .*JPEGImages, which does not exist"):
        read_split(folder, "own", "train")
    (folder / "JPEGImages").write_text("../elsewhere")  # what Git makes of a link on Windows
    with pytest.raises(VocSegError, match="JPEGImages, which is not a folder"):
        read_split(folder, "own", "train")


def test_images_without_lists(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(VocSegError, match=r"has JPEGImages, but no image lists: write train\.txt and val\.txt"):
        find_voc_folder(tmp_path, None)


def test_a_list_that_git_lfs_has_not_fetched(tmp_path):
    folder = make_lists(tmp_path, train="version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(VocSegError, match=r"train\.txt is a Git LFS pointer; fetch the files with: git lfs pull"):
        read_split(folder, "own", "train")
