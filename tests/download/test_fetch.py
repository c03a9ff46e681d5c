"""Fetching whole sources: small stand-in archives from a server on this machine."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.download import fetch as download
from voc_seg.download import sbd
from voc_seg.download.archives import Archive
from voc_seg.download.connection import RetryPolicy
from voc_seg.download.fetch import fetch, is_complete
from voc_seg.download.sbd import read_mat, train_aug_ids
from voc_seg.system.errors import VocSegError
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.masks import palette_image
from voc_seg.voc.sources import SOURCES
from voc_seg.voc.splits import read_split

pytestmark = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="Python before 3.10.12 or 3.11.4 cannot check archives"
)
SHARED = Path(__file__).parents[3] / "shared" / "voc"
HURRY = RetryPolicy(connect_seconds=1, read_seconds=0.5, attempts=2, backoff_seconds=0.01)
VOC2012, SBD = SOURCES["voc2012_aug"].archives
TRAINVAL, TEST = SOURCES["voc2007"].archives


def png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    palette_image(mask).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4)).save(buffer, "JPEG")
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def voc_files(year: str, other: str = "", **lists: str) -> dict[str, bytes]:
    """A VOC folder: the lists, an image and a mask of class 1 for each id, images without mask for ``other``."""
    files = {}
    for name, ids in lists.items():
        files[f"ImageSets/Segmentation/{name}.txt"] = "".join(f"{image_id}\n" for image_id in ids.split()).encode()
        for image_id in ids.split():
            files[f"JPEGImages/{image_id}.jpg"] = jpeg()
            files[f"SegmentationClass/{image_id}.png"] = png(np.full((4, 6), 1, np.uint8))
    files |= {f"JPEGImages/{image_id}.jpg": jpeg() for image_id in other.split()}
    return {f"VOCdevkit/VOC{year}/{name}": content for name, content in files.items()}


def mat(mask: np.ndarray) -> bytes:
    """A mask as SBD stores it."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {"GTcls": {"Segmentation": mask, "Boundaries": np.zeros(20), "CategoriesPresent": [1]}})
    return buffer.getvalue()


def sbd_files(train: str, val: str, value: int = 7) -> dict[str, bytes]:
    """SBD's folder with a mask of one class for each id, and files that are not needed."""
    files = {"train.txt": train, "val.txt": val}
    files = {name: "".join(f"{image_id}\n" for image_id in ids.split()).encode() for name, ids in files.items()}
    for image_id in (train + " " + val).split():
        files[f"cls/{image_id}.mat"] = mat(np.full((4, 6), value, np.uint8))
        files[f"inst/{image_id}.mat"] = files[f"img/{image_id}.jpg"] = b"not needed"
    return {f"benchmark_RELEASE/dataset/{name}": content for name, content in files.items()}


@pytest.fixture
def offer(archive_server):
    """Serves an archive and declares it."""

    def offer(name: str, content: bytes, **behaviour: object) -> Archive:
        return Archive(name, hashlib.md5(content).hexdigest(), (archive_server.serve(name, content, **behaviour),))

    return offer


@pytest.fixture
def archives(offer):
    """All four, small."""
    every = (
        offer(VOC2012, tar(voc_files("2012", other="s1 s2", train="a b", val="c d"))),
        offer(TRAINVAL, tar(voc_files("2007", train="000001", val="000002"))),
        offer(TEST, tar(voc_files("2007", test="000003 000004"))),
        offer(SBD, tar(sbd_files("a c s1", "d s2"), "w:gz")),
    )
    return {archive.name: archive for archive in every}


@pytest.fixture
def small_aug(monkeypatch):
    """voc2012_aug with as many training images as the stand-ins have."""
    monkeypatch.setitem(SOURCES, "voc2012_aug", replace(SOURCES["voc2012_aug"], sizes={"train": 4}))


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.name.startswith(".") or path.name.endswith(".partial"))


def test_voc2012_is_fetched_once(tmp_path, archives, archive_server):
    folder = fetch("voc2012", tmp_path, archives)
    assert folder == tmp_path / "VOCdevkit" / "VOC2012"
    assert read_split(folder, "voc2012", "train").ids == ("a", "b")
    assert fetch("voc2012", tmp_path, archives) == folder
    assert [request.name for request in archive_server.requests] == [VOC2012]
    assert hidden(tmp_path) == [".complete.json", ".lock"]


def test_voc2007_is_put_together_from_two_archives(tmp_path, archives, archive_server):
    folder = fetch("voc2007", tmp_path, archives)
    assert [read_split(folder, "voc2007", split).ids for split in ("train", "val", "test")] == [
        ("000001",), ("000002",), ("000003", "000004"),
    ]  # fmt: skip
    assert sorted(json.loads((folder / ".complete.json").read_text())) == sorted([TRAINVAL, TEST])
    assert len(archive_server.requests) == 2
    assert hidden(tmp_path) == [".complete.json", ".lock"]


def test_a_cut_connection_does_not_matter(tmp_path, offer, archive_server):
    content = tar(voc_files("2012", train="a", val="b"))
    archives = {VOC2012: offer(VOC2012, content, cuts=[len(content) // 3, len(content) // 3])}
    fetch("voc2012", tmp_path, archives, policy=replace(HURRY, attempts=4))
    assert [request.range for request in archive_server.requests][1] == f"bytes={len(content) // 3}-"
    assert is_complete(tmp_path, SOURCES["voc2012"])


def test_a_complete_folder_is_not_touched(tmp_path, archives, archive_server):
    folder = fetch("voc2012", tmp_path, archives)
    # Files that disappear later are reported by the index, not downloaded again.
    (folder / "JPEGImages" / "a.jpg").unlink()
    (tmp_path / VOC2012).unlink()
    assert fetch("voc2012", tmp_path, {}) == folder
    assert len(archive_server.requests) == 1


def test_a_folder_unpacked_by_hand_is_complete_when_every_file_is_there(tmp_path, archive_server):
    for name, content in voc_files("2012", train="a", val="b").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert fetch("voc2012", tmp_path, {}) == tmp_path / "VOCdevkit" / "VOC2012"
    assert archive_server.requests == []
    assert hidden(tmp_path) == []


def test_data_of_an_archive_that_is_no_longer_declared(tmp_path, archives):
    folder = fetch("voc2012", tmp_path, archives)
    other = archives | {VOC2012: replace(archives[VOC2012], md5="f" * 32)}
    with pytest.raises(VocSegError, match=rf"{folder} was unpacked from a {VOC2012} of md5 \w+, but .* declares f+\."):
        fetch("voc2012", tmp_path, other)


def test_an_archive_that_is_not_needed_is_passed_over_aloud(tmp_path, archives, caplog):
    fetch("voc2012", tmp_path, archives)
    with caplog.at_level("INFO"):
        fetch("voc2012", tmp_path, archives, given=tmp_path / "any.tar")
    assert "any.tar) is not needed" in caplog.text


@pytest.mark.parametrize("lost", ["JPEGImages/b.jpg", "SegmentationClass/a.png", "ImageSets/Segmentation/val.txt"])
def test_an_incomplete_folder_of_other_origin_is_refused(tmp_path, archives, archive_server, lost):
    for name, content in voc_files("2012", train="a", val="b").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "VOCdevkit/VOC2012" / lost).unlink()
    with pytest.raises(VocSegError, match=rf"VOC2012 exists, but is incomplete: {lost} is missing\. .*voc_root="):
        fetch("voc2012", tmp_path, archives)
    assert archive_server.requests == []


def test_an_empty_devkit_is_named(tmp_path, archives):
    (tmp_path / "VOCdevkit").mkdir()
    with pytest.raises(VocSegError, match=r"VOCdevkit exists, but has no VOC2012\. .*voc_root="):
        fetch("voc2012", tmp_path, archives)


def test_an_interrupted_unpacking_is_done_again(tmp_path, archives, archive_server, monkeypatch):
    def interrupted(*args):
        real(*args)
        raise KeyboardInterrupt

    real = download.unpack
    monkeypatch.setattr(download, "unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("voc2012", tmp_path, archives)
    assert not (tmp_path / "VOCdevkit").exists()
    # The same after a kill, without time to clean up.
    left = tmp_path / ".unpacking" / "0" / "VOCdevkit" / "VOC2012"
    left.mkdir(parents=True)
    (left / "leftover").touch()
    monkeypatch.undo()
    folder = fetch("voc2012", tmp_path, archives)
    assert not (folder / "leftover").exists()
    assert len(archive_server.requests) == 1  # the archive itself was complete


def test_a_wrong_checksum_is_never_unpacked(tmp_path, offer):
    good = offer(VOC2012, tar(voc_files("2012", train="a", val="b")))
    with pytest.raises(VocSegError, match=r"md5 is \w{32}, not 0{32}(.|\n)*yourself(.|\n)*voc_archive=PATH"):
        fetch("voc2012", tmp_path, {VOC2012: replace(good, md5="0" * 32)}, policy=HURRY)
    assert not (tmp_path / "VOCdevkit").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_archive_of_something_else(tmp_path, offer):
    archives = {VOC2012: offer(VOC2012, tar(voc_files("2007", train="a", val="b")))}
    with pytest.raises(VocSegError, match=r"has no folder VOCdevkit/VOC2012: it is a different archive"):
        fetch("voc2012", tmp_path, archives)
    assert not (tmp_path / "VOCdevkit").exists()


def test_an_undeclared_archive(tmp_path):
    with pytest.raises(VocSegError, match=rf"globals\.yml has no archive {VOC2012}; it has none"):
        fetch("voc2012", tmp_path, {})


class TestGiven:
    """voc_archive=PATH."""

    def test_a_file_under_any_name(self, tmp_path, archives, archive_server):
        path = tmp_path / "downloads" / "voc (1).tar"
        path.parent.mkdir()
        path.write_bytes(tar(voc_files("2012", other="s1 s2", train="a b", val="c d")))
        folder = fetch("voc2012", tmp_path / "raw", archives, given=path)
        assert read_split(folder, "voc2012", "val").ids == ("c", "d")
        assert archive_server.requests == []
        assert path.exists()

    def test_a_folder_and_the_rest_is_fetched(self, tmp_path, archives, archive_server):
        (tmp_path / TEST).write_bytes(tar(voc_files("2007", test="000003 000004")))
        fetch("voc2007", tmp_path / "raw", archives, given=tmp_path)
        assert [request.name for request in archive_server.requests] == [TRAINVAL]

    def test_another_file(self, tmp_path, archives, archive_server):
        (tmp_path / "holidays.tar").write_bytes(b"sand")
        with pytest.raises(
            VocSegError, match=rf"holidays\.tar, which is neither {TRAINVAL} \(md5 \w+\) nor {TEST} \(md5"
        ):
            fetch("voc2007", tmp_path / "raw", archives, given=tmp_path / "holidays.tar")
        assert archive_server.requests == []
        assert not (tmp_path / "raw").exists()

    @pytest.mark.parametrize("source", ["sample", "own"])
    def test_sources_without_archives(self, tmp_path, source):
        with pytest.raises(VocSegError, match=rf"'{source}' is not unpacked from an archive.*--env voc2012"):
            fetch(source, tmp_path, {}, given=tmp_path / "a.tar")


@pytest.mark.usefixtures("small_aug")
class TestTrainAug:
    """train_aug = (train + SBD) minus val."""

    def test_ids_and_masks(self, tmp_path, archives, archive_server):
        folder = fetch("voc2012_aug", tmp_path, archives)
        split = read_split(folder, "voc2012_aug", "train")
        assert split.ids == ("a", "b", "s1", "s2")
        values = {image_id: np.unique(Image.open(split.mask_path(image_id))).tolist() for image_id in split.ids}
        # Images with a VOC mask keep it, including its void pixels.
        assert values == {"a": [1], "b": [1], "s1": [7], "s2": [7]}
        assert Image.open(split.mask_path("s1")).mode == "P"
        assert np.array_equal(np.asarray(Image.open(split.mask_path("s1")).convert("RGB"))[0, 0], (128, 128, 128))
        assert sorted(path.stem for path in split.masks.iterdir()) == list(split.ids)
        assert read_split(folder, "voc2012_aug", "val").masks.name == "SegmentationClass"
        assert hidden(tmp_path) == [".complete.json", ".lock"]
        fetch("voc2012_aug", tmp_path, archives)
        assert [request.name for request in archive_server.requests] == [VOC2012, SBD]

    def test_it_is_added_to_a_voc2012_that_is_there(self, tmp_path, archives, archive_server):
        fetch("voc2012", tmp_path, archives)
        fetch("voc2012_aug", tmp_path, archives)
        assert [request.name for request in archive_server.requests] == [VOC2012, SBD]
        assert SOURCES["voc2012"].home == SOURCES["voc2012_aug"].home

    def test_an_interruption_while_masks_are_made(self, tmp_path, archives, monkeypatch):
        def interrupted(path):
            raise KeyboardInterrupt

        monkeypatch.setattr(sbd, "read_mat", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("voc2012_aug", tmp_path, archives)
        folder = tmp_path / "VOCdevkit/VOC2012"
        assert not (folder / "SegmentationClassAug").exists()
        assert not (folder / "ImageSets/Segmentation/trainaug.txt").exists()
        monkeypatch.undo()
        monkeypatch.setitem(SOURCES, "voc2012_aug", replace(SOURCES["voc2012_aug"], sizes={"train": 4}))
        assert len(read_split(fetch("voc2012_aug", tmp_path, archives), "voc2012_aug", "train")) == 4

    def test_another_number_of_images_is_refused(self, tmp_path, archives, monkeypatch):
        monkeypatch.undo()
        with pytest.raises(VocSegError, match=r"train_aug has 4 images, not 10582"):
            fetch("voc2012_aug", tmp_path, archives)
        assert not (tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug").exists()

    def test_masks_of_other_origin_are_kept(self, tmp_path, archives):
        masks = fetch("voc2012", tmp_path, archives) / "SegmentationClassAug"
        masks.mkdir()
        (masks / "a.png").write_bytes(b"mine")
        with pytest.raises(VocSegError, match=r"SegmentationClassAug exists, but does not have the masks of all 4"):
            fetch("voc2012_aug", tmp_path, archives)
        assert (masks / "a.png").read_bytes() == b"mine"

    @pytest.mark.parametrize("lost", ["SegmentationClassAug", "ImageSets/Segmentation/trainaug.txt"])
    def test_deleted_outputs_are_created_again(self, tmp_path, archives, lost):
        folder = fetch("voc2012_aug", tmp_path, archives)
        path = folder / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        fetch("voc2012_aug", tmp_path, archives)
        assert len(read_split(folder, "voc2012_aug", "train")) == 4

    def test_a_list_of_other_origin_is_kept(self, tmp_path, archives):
        path = fetch("voc2012", tmp_path, archives) / "ImageSets/Segmentation/trainaug.txt"
        path.write_text("a\n")
        with pytest.raises(VocSegError, match=r"trainaug\.txt exists and lists other images than train_aug"):
            fetch("voc2012_aug", tmp_path, archives)
        assert path.read_text() == "a\n"

    def test_a_set_made_by_hand_must_have_all_images(self, tmp_path, archives, archive_server):
        folder = fetch("voc2012", tmp_path, archives)
        masks = folder / "SegmentationClassAug"
        masks.mkdir()
        for image_id in "abs":
            (masks / f"{image_id}.png").write_bytes(b"")
        (folder / "ImageSets/Segmentation/trainaug.txt").write_text("a\nb\n")
        assert not is_complete(tmp_path, SOURCES["voc2012_aug"])

    def test_images_that_a_folder_made_by_hand_lacks_are_named(self, tmp_path, archives, archive_server):
        folder = fetch("voc2012", tmp_path, archives)
        (folder / ".complete.json").unlink()
        (folder / "JPEGImages/s2.jpg").unlink()
        with pytest.raises(VocSegError, match=r"VOC2012 exists, but is incomplete: JPEGImages/s2\.jpg is missing"):
            fetch("voc2012_aug", tmp_path, archives)

    def test_a_list_in_another_order_is_left_alone(self, tmp_path, archives):
        lists = fetch("voc2012", tmp_path, archives) / "ImageSets/Segmentation"
        fetch("voc2012_aug", tmp_path / "other", archives)
        ids = read_ids(tmp_path / "other/VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt")
        (lists / "trainaug.txt").write_text("\n".join(reversed(ids)))
        fetch("voc2012_aug", tmp_path, archives)
        assert read_ids(lists / "trainaug.txt") == ids[::-1]

    def test_an_archive_of_something_else(self, tmp_path, archives, offer):
        with pytest.raises(VocSegError, match=r"benchmark\.tgz has no folder dataset/cls"):
            fetch("voc2012_aug", tmp_path, archives | {SBD: offer(SBD, tar({"a.txt": b""}))})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.mat cannot be read"),
        (b"not matlab" * 100, r"x\.mat cannot be read"),
        (mat(np.full((4, 6), 21, np.uint8)), r"uint8 \(4, 6\) with values up to 21"),
        (mat(np.zeros((4, 6))), r"float64 \(4, 6\)"),
        (mat(np.zeros((4, 6), np.uint8))[:-30], r"x\.mat cannot be read"),
    ],
)
def test_bad_mat_files_are_named(tmp_path, content, message):
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(VocSegError, match=message):
        read_mat(tmp_path / "x.mat")


def test_a_mat_file_that_is_listed_but_not_there(tmp_path):
    with pytest.raises(VocSegError, match=r"SBD's archive lists x, but has no .*/x\.mat"):
        read_mat(tmp_path / "x.mat")


def test_the_rule_of_train_aug():
    assert train_aug_ids(["b", "a"], ["v", "w"], ["v", "c", "a"]) == ("a", "b", "c")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the official lists in ../shared/voc/splits")
def test_the_official_train_aug():
    official = {name: read_ids(SHARED / "splits" / f"{name}.txt") for name in ("train", "val", "trainaug")}
    assert len(official["trainaug"]) == SOURCES["voc2012_aug"].sizes["train"] == 10_582
    # SBD must have masks for the images of train_aug that VOC has no mask of. SBD's own lists are not available.
    beyond = set(official["trainaug"]) - set(official["train"])
    assert len(beyond) == 10_582 - 1464
    assert train_aug_ids(official["train"], official["val"], beyond | set(official["val"])) == official["trainaug"]


def test_two_processes_at_once_fetch_once(tmp_path, archives, archive_server):
    archive = archives[VOC2012]
    code = (
        "import sys; from pathlib import Path; from voc_seg.download.fetch import fetch\n"
        "from voc_seg.download.archives import Archive\n"
        f"archive = Archive({archive.name!r}, {archive.md5!r}, {archive.addresses!r})\n"
        "print(fetch('voc2012', Path(sys.argv[1]), {archive.name: archive}))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in both] == [str(tmp_path / "VOCdevkit/VOC2012")] * 2
    assert [process.returncode for process in both] == [0, 0]
    assert [request.name for request in archive_server.requests] == [VOC2012]


def test_own_data_needs_voc_root(tmp_path):
    with pytest.raises(VocSegError, match=r"'own' is your own folder.*--params voc_root=PATH"):
        fetch("own", tmp_path, {})


def test_sample_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "write_scenes", lambda root: root / "VOCdevkit" / "VOC2012")
    assert fetch("sample", tmp_path, {}) == tmp_path / "VOCdevkit" / "VOC2012"


def test_two_processes_at_once_draw_the_sample_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from voc_seg.download import fetch as download\n"
        "from voc_seg.scenes.sample import write_scenes\n"
        "counts = {'train': 2, 'val': 1, 'test': 1}\n"
        "download.drawn_scenes = lambda root: None\n"  # as if both had looked before either began
        "download.write_scenes = lambda root: write_scenes(root, counts)\n"
        "folder = download.fetch('sample', Path(sys.argv[1]), {})\n"
        "print((folder / 'scenes.json').stat().st_ino)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = [process.communicate()[0].strip() for process in both]
    assert found[0] and found[0] == found[1]


def test_sample_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "VOCdevkit" / "VOC2012").mkdir(parents=True)
    with pytest.raises(VocSegError, match=r"could not be written to .*voc_root=PATH"):
        fetch("sample", tmp_path, {})
    (tmp_path / "file").touch()
    with pytest.raises(VocSegError, match="cannot be written to"):
        fetch("sample", tmp_path / "file", {})


def test_unknown_source(tmp_path):
    with pytest.raises(VocSegError, match="Unknown source 'coco'"):
        fetch("coco", tmp_path, {})
