"""Unpacking: good archives are unpacked completely, hostile and damaged ones leave nothing."""

import gzip
import io
import os
import random
import shutil
import tarfile
from pathlib import Path

import pytest

from voc_seg.download import unpack as unpack_module
from voc_seg.download.unpack import unpack
from voc_seg.system.errors import VocSegError

pytestmark = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="Python before 3.10.12 or 3.11.4 cannot check archives"
)
FILES = {
    "VOCdevkit/VOC2012/JPEGImages/a.jpg": random.Random(0).randbytes(30_000),
    "VOCdevkit/VOC2012/JPEGImages/b.jpg": b"",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": b"a\nb\n",
}


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **fields) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def pack(path: Path, *extra: tarfile.TarInfo, mode: str = "w", **options) -> Path:
    """An archive of FILES followed by the extra headers."""
    with tarfile.open(path, mode, **options) as tar:
        tar.addfile(entry("./", tarfile.DIRTYPE, mode=0o755))
        tar.addfile(entry("VOCdevkit", tarfile.DIRTYPE, mode=0o755))
        for name, content in FILES.items():
            tar.addfile(entry(name, size=len(content)), io.BytesIO(content))
        for member in extra:
            header = member.tobuf(tar.format)
            tar.fileobj.write(header)
            tar.offset += len(header)
    return path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if content is not None}


def refused(archive: Path) -> str:
    """The reason for which unpacking is refused; nothing may have changed in the folders around it."""
    around = archive.parent
    before = contents(around)
    with pytest.raises(VocSegError) as caught:
        unpack(archive, around / "out")
    assert contents(around) == before
    message = str(caught.value)
    assert str(archive) in message
    assert "Nothing was unpacked" in message
    return message


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_archive_is_unpacked_completely(tmp_path, mode, layout):
    archive = pack(tmp_path / "voc", mode=mode, format=layout)
    unpack(archive, tmp_path / "new" / "out")
    assert files_of(tmp_path / "new" / "out") == FILES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]


def test_only_the_wanted_members_are_written(tmp_path):
    unpack(pack(tmp_path / "voc.tar"), tmp_path / "out", wanted=lambda name: name.endswith(".txt"))
    assert list(files_of(tmp_path / "out")) == ["VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"]


def test_unwanted_members_are_checked_as_well(tmp_path):
    archive = pack(tmp_path / "voc.tar", entry("../x"))
    with pytest.raises(VocSegError, match=r"'\.\./x' has '\.\.'"):
        unpack(archive, tmp_path / "out", wanted=lambda name: False)


def test_leftovers_of_an_interrupted_run_are_done_again(tmp_path):
    left = tmp_path / ".out.partial" / "VOCdevkit" / "old"
    left.mkdir(parents=True)
    (left / "file").touch()
    unpack(pack(tmp_path / "voc.tar"), tmp_path / "out")
    assert files_of(tmp_path / "out") == FILES
    assert not (tmp_path / ".out.partial").exists()


def test_interruption_leaves_nothing(tmp_path):
    def interrupt(name: str) -> bool:
        if name.endswith("train.txt"):
            raise KeyboardInterrupt
        return True

    archive = pack(tmp_path / "voc.tar")
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", wanted=interrupt)
    assert list(tmp_path.iterdir()) == [archive]


def test_folder_that_exists_is_not_touched(tmp_path):
    archive = pack(tmp_path / "voc.tar")
    (tmp_path / "out").mkdir()
    with pytest.raises(VocSegError, match="out, which exists"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


FILE = "VOCdevkit/VOC2012/JPEGImages/a.jpg"
HOSTILE = {
    "leaves": ([entry("../x")], "'../x' has '..' in its path"),
    "leaves later": ([entry("VOCdevkit/../../x")], "has '..' in its path"),
    "absolute": ([entry("/etc/x")], "'/etc/x' has an absolute path"),
    "backslash": ([entry("..\\x")], "has a Windows path"),
    "drive": ([entry("C:x")], "'C:x' has a Windows path"),
    "symlink out": ([entry("x", tarfile.SYMTYPE, linkname="/etc/passwd")], "symbolic link to '/etc/passwd'"),
    "symlink inside": ([entry("x", tarfile.SYMTYPE, linkname=FILE)], "is a symbolic link to"),
    "hard link out": ([entry("x", tarfile.LNKTYPE, linkname="../voc.tar")], "is a hard link to '../voc.tar'"),
    "hard link inside": ([entry("x", tarfile.LNKTYPE, linkname=FILE)], "is a hard link to"),
    "character device": ([entry("x", tarfile.CHRTYPE, devmajor=1, devminor=3)], "is a device or a pipe"),
    "block device": ([entry("x", tarfile.BLKTYPE, devmajor=8)], "is a device or a pipe"),
    "pipe": ([entry("x", tarfile.FIFOTYPE)], "is a device or a pipe"),
    "setuid": ([entry("x", mode=0o4755)], "(setuid or setgid)"),
    "setgid": ([entry("x", mode=0o2755)], "(setuid or setgid)"),
    "unknown type": ([entry("x", b"Z")], "is of unknown type b'Z'"),
    "terabyte": ([entry("x", size=10**12)], "brings the archive to over 67.1 MB"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_member_is_refused(tmp_path, case):
    members, reason = HOSTILE[case]
    message = refused(pack(tmp_path / "voc.tar", *members, format=tarfile.GNU_FORMAT))
    assert reason in message
    assert "is refused: its member" in message


@pytest.mark.parametrize("name", [f"{FILE}/x", "VOCdevkit/VOC2012", "."])
def test_members_in_each_others_way(tmp_path, name):
    assert "could not be unpacked to" in refused(pack(tmp_path / "voc.tar", entry(name)))


def test_a_file_that_is_there_twice_is_the_later_one(tmp_path):
    unpack(pack(tmp_path / "voc.tar", entry(FILE)), tmp_path / "out")
    assert files_of(tmp_path / "out") == FILES | {FILE: b""}


def test_old_sparse_member_is_refused(tmp_path):
    header = bytearray(entry("x", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = b"%011o\0" % 2**32  # its size when unpacked
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    archive = tmp_path / "voc.tar"
    archive.write_bytes(bytes(header) + bytes(1024))
    assert "'x' is a sparse file" in refused(archive)


@pytest.mark.parametrize(
    "keys",
    [
        {"major": "1", "minor": "0", "name": "x", "realsize": str(2**40)},
        {"map": "0,1", "size": str(2**40)},
        {"size": str(2**40), "numblocks": "0"},
        {"anything": "1"},
    ],
)
def test_pax_sparse_member_is_refused(tmp_path, keys):
    content = b"0\n".ljust(512, b"\0")
    member = entry("x", size=len(content), pax_headers={f"GNU.sparse.{key}": value for key, value in keys.items()})
    with tarfile.open(tmp_path / "voc.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(content))
    assert "'x' is a sparse file" in refused(tmp_path / "voc.tar")


def test_gzip_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack_module, "_ALWAYS_ALLOWED", 2**20)
    with tarfile.open(tmp_path / "voc.tgz", "w:gz") as tar:
        for number in range(8):
            tar.addfile(entry(f"zeros{number}", size=2**18), io.BytesIO(bytes(2**18)))
    assert "'zeros3' brings the archive to over 1.0 MB" in refused(tmp_path / "voc.tgz")


def test_full_disk_is_said_before_it_is_full(tmp_path, monkeypatch):
    archive = pack(tmp_path / "voc.tar")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=20_000))
    with pytest.raises(VocSegError, match=rf"Unpacking voc\.tar needs \d\S+ kB in {tmp_path}, where 20\.0 kB are free"):
        unpack(archive, tmp_path / "out")
    with pytest.raises(VocSegError, match=rf"a\.jpg needs 30\.0 kB in {tmp_path}, where 20\.0 kB are free"):
        unpack(archive, tmp_path / "out", wanted=lambda name: True)
    assert list(tmp_path.iterdir()) == [archive]


# In a header, at the end of a member, in a file, before the mark of the end; of gzip, in its checksum.
@pytest.mark.parametrize("length", [0, 1, 512, 1000, 1024, 1536, 20_000, 33_280, 33_500])
def test_truncated_archive_is_broken(tmp_path, length):
    archive = pack(tmp_path / "voc.tar")
    assert archive.read_bytes()[33_280:].strip(b"\0") == b""
    os.truncate(archive, length)
    assert "is not a tar archive, or is damaged" in refused(archive)


@pytest.mark.parametrize("lost", [1, 8, 20, 5000, 30_000])
def test_truncated_gzip_is_broken(tmp_path, lost):
    archive = pack(tmp_path / "voc.tgz", mode="w:gz")
    os.truncate(archive, archive.stat().st_size - lost)
    assert "is not a tar archive, or is damaged" in refused(archive)


def test_broken_header_is_not_taken_for_the_end(tmp_path):
    archive = pack(tmp_path / "voc.tar")
    content = bytearray(archive.read_bytes())
    content[content.index(b"VOCdevkit/VOC2012/JPEGImages/b.jpg")] ^= 1
    archive.write_bytes(content)
    assert "a header is broken" in refused(archive)


def test_broken_compression(tmp_path):
    archive = pack(tmp_path / "voc.tgz", mode="w:gz")
    content = bytearray(archive.read_bytes())
    content[15_000] ^= 255
    archive.write_bytes(content)
    assert "is not a tar archive, or is damaged" in refused(archive)


@pytest.mark.parametrize(
    "content",
    [b"<html>not here</html>" * 100, gzip.compress(b"text" * 1000), b"PK\3\4" + b"x" * 99],
    ids=["page", "gzip of no archive", "zip"],  # the bytes of gzip hold the time: pytest-xdist needs equal names
)
def test_other_files_are_no_archives(tmp_path, content):
    archive = tmp_path / "voc.tar"
    archive.write_bytes(content)
    assert "is not a tar archive" in refused(archive)


def test_archive_that_is_not_there(tmp_path):
    assert "No such file" in refused(tmp_path / "voc.tar")


def test_python_without_checks_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(VocSegError, match="newer patch release"):
        unpack(pack(tmp_path / "voc.tar"), tmp_path / "out")
