"""Atomic writes: after any failure there is the old file or the new one."""

import errno
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from voc_seg.system import atomic
from voc_seg.system.atomic import atomic_write, sync_folder
from voc_seg.system.atomic_folder import atomic_write_folder, recover_folder
from voc_seg.system.errors import VocSegError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def seen(folder: Path) -> list[str]:
    return [name for name in names(folder) if not name.startswith(".")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("old")
    return path


class TestFile:
    def test_a_new_file_takes_the_place_of_the_old_one(self, path: Path) -> None:
        with atomic_write(path) as partial:
            partial.write_text("new")
            assert path.read_text() == "old"
            assert partial.parent == path.parent
        assert path.read_text() == "new"
        assert names(path.parent) == ["a.txt"]

    def test_folders_are_made(self, tmp_path: Path) -> None:
        with atomic_write(tmp_path / "b" / "c" / "d.txt") as partial:
            partial.write_text("new")
        assert (tmp_path / "b/c/d.txt").read_text() == "new"

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), VocSegError("mine")])
    def test_any_error_leaves_the_old_file_alone_and_passes(self, path: Path, error: BaseException) -> None:
        with pytest.raises(type(error)) as caught, atomic_write(path) as partial:
            partial.write_text("ne")
            raise error
        assert caught.value is error
        assert path.read_text() == "old"
        assert names(path.parent) == ["a.txt"]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_system_errors_become_advice(self, path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, call, fail)
        message = r"Could not write .*a\.txt: No space left on device\. It takes about 5\.0 MB\. .* are free there\. "
        with pytest.raises(VocSegError, match=message), atomic_write(path, size=5_000_000) as partial:
            partial.write_text("new")
        assert path.read_text() == "old"
        assert names(path.parent) == ["a.txt"]

    def test_file_and_folder_are_on_the_disk_before_it_returns(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        replace = os.replace
        monkeypatch.setattr(atomic, "sync_file", lambda synced: done.append(f"sync {synced.name}"))
        monkeypatch.setattr(os, "replace", lambda a, b: done.append("replace") or replace(a, b))
        with atomic_write(path) as partial:
            partial.write_text("new")
        assert done == ["sync .a.txt.voc_seg-partial", "replace", f"sync {path.parent.name}"]

    def test_a_link_stays_and_the_file_it_leads_to_is_replaced(self, path: Path, tmp_path: Path) -> None:
        link = tmp_path / "linked" / "b.txt"
        link.parent.mkdir()
        link.symlink_to(path)
        with atomic_write(link) as partial:
            partial.write_text("new")
            assert partial.parent == path.parent
        assert link.is_symlink()
        assert path.read_text() == "new"

    def test_a_link_to_a_folder_that_is_not_there_makes_it(self, tmp_path: Path) -> None:
        (tmp_path / "models").symlink_to(tmp_path / "disk" / "models")
        with atomic_write(tmp_path / "models" / "a.txt") as partial:
            partial.write_text("new")
        assert (tmp_path / "models").is_symlink()
        assert (tmp_path / "disk/models/a.txt").read_text() == "new"

    def test_files_of_others_are_not_taken_for_our_own_scratch(self, path: Path) -> None:
        for ending in ("partial", "old"):
            path.with_name(f"a.txt.{ending}").write_text("theirs")
        with atomic_write(path) as partial:
            partial.write_text("new")
        assert names(path.parent) == ["a.txt", "a.txt.old", "a.txt.partial"]

    def test_the_longest_names_can_be_written(self, tmp_path: Path) -> None:
        with atomic_write(tmp_path / ("ü" * 127)) as partial:
            partial.write_text("new")
        assert names(tmp_path) == ["ü" * 127]


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "masks"
        with atomic_write_folder(folder) as filling:
            (filling / "old.png").write_text("old")
        return folder

    def test_a_new_folder_replaces_the_old_one_completely(self, folder: Path) -> None:
        with atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
            assert seen(folder) == ["old.png"]
        assert seen(folder) == ["new.png"]
        assert names(folder.parent) == ["masks"]

    def test_an_error_leaves_the_old_one(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="mine"), atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
            raise ValueError("mine")
        assert names(folder.parent) == ["masks"]
        assert seen(folder) == ["old.png"]

    def test_an_error_before_there_was_one_leaves_none(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="mine"), atomic_write_folder(tmp_path / "masks") as partial:
            (partial / "new.png").write_text("new")
            raise ValueError("mine")
        assert names(tmp_path) == []

    def test_a_rename_that_fails_leaves_the_old_one(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fail_after(0, monkeypatch)
        with pytest.raises(VocSegError, match=r"Could not write .*masks"), atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        assert names(folder.parent) == ["masks"]
        assert seen(folder) == ["old.png"]

    @pytest.mark.parametrize("renames", [1, 2, 3, 4])
    def test_once_all_is_there_it_comes_whatever_happens(
        self, folder: Path, renames: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("sub/a.png", "theirs.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("theirs")
        with monkeypatch.context() as patched:
            fail_after(renames, patched)
            with pytest.raises(VocSegError, match="Could not move all files into"), atomic_write_folder(folder) as new:
                (new / "sub").mkdir()
                for name in ("new.png", "sub/a.png"):
                    (new / name).write_text("new")
        recover_folder(folder)
        assert {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("[!.]*.png")} == {
            "new.png": "new", "sub/a.png": "new", "sub/a.kept.png": "theirs", "theirs.png": "theirs",
        }  # fmt: skip
        assert names(folder) == [".voc_seg-files", "new.png", "sub", "theirs.png"]
        recover_folder(folder)  # nothing to do

    def test_a_copy_is_not_taken_for_ours(self, folder: Path) -> None:
        for ending in ("old", "partial"):
            shutil.copytree(folder, folder.with_name(f"masks.{ending}"))
        recover_folder(folder)
        with atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        for ending in ("old", "partial"):
            assert seen(folder.with_name(f"masks.{ending}")) == ["old.png"]

    def test_a_folder_that_was_moved_away_does_not_come_back(self, folder: Path) -> None:
        folder.rename(folder.with_name("masks.old"))
        recover_folder(folder)
        assert names(folder.parent) == ["masks.old"]

    def test_files_of_others_stay(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        (folder / "notes.txt").write_text("mine")
        shutil.copy(folder / "old.png", folder / "old corrected.png")
        (folder / "mine").mkdir()
        (folder / "mine" / "new.png").write_text("mine")
        with atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        assert seen(folder) == ["mine", "new.png", "notes.txt", "old corrected.png"]
        assert names(folder / "mine") == ["new.png"]
        assert not caplog.records

    def test_of_an_earlier_version_files_of_the_same_name_are_replaced(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (folder / ".voc_seg-files").unlink()
        (folder / "new.png").write_text("old")
        with atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        assert seen(folder) == ["new.png", "old.png"]
        assert (folder / "new.png").read_text() == "new"
        assert "has 1 file not of this run, such as old.png" in caplog.text

    @pytest.mark.parametrize("listed", ['["../outside.txt", "/etc/passwd", ""]', "{}", "[", "7"])
    def test_a_list_that_is_wrong_removes_nothing_elsewhere(self, folder: Path, listed: str) -> None:
        (folder.parent / "outside.txt").write_text("theirs")
        (folder / ".voc_seg-files").write_text(listed)
        with atomic_write_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        assert names(folder.parent) == ["masks", "outside.txt"]
        assert seen(folder) == ["new.png", "old.png"]

    def test_links_stay(self, tmp_path: Path) -> None:
        link = tmp_path / "masks"
        link.symlink_to(tmp_path / "disk" / "masks")
        for name in ("old.png", "new.png"):  # at first it is a broken link
            with atomic_write_folder(link) as partial:
                (partial / name).write_text(name)
        assert link.is_symlink()
        assert seen(tmp_path / "disk" / "masks") == ["new.png"]
        assert names(tmp_path) == ["disk", "masks"]

    def test_a_mounted_folder_is_neither_renamed_nor_removed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace, before = os.replace, folder.stat().st_ino

        def busy(source: Path, target: Path) -> None:
            if folder in (Path(source), Path(target)):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            if Path(target).parent.name == "disk" and Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            replace(source, target)

        (folder / "disk").mkdir()
        monkeypatch.setattr(os, "replace", busy)
        with atomic_write_folder(folder) as partial:
            (partial / "disk").mkdir()
            for name in ("new.png", "disk/new.png"):
                (partial / name).write_text("new")
        assert folder.stat().st_ino == before
        assert names(folder) == [".voc_seg-files", "disk", "new.png"]
        assert names(folder / "disk") == ["new.png"]


def fail_after(renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this number of renames pass, and fail the next one."""
    calls, replace = [], os.replace

    def sometimes(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == renames + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", sometimes)


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_file_systems_that_cannot_sync_folders_are_tolerated(
    tmp_path: Path, number: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "sync_file", fail)
    with nullcontext() if passes else pytest.raises(OSError, match=os.strerror(number)):
        sync_folder(tmp_path)


def test_a_file_that_is_mounted_by_itself_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.csv"
    path.write_text("old")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    mounts = f"1 2 3:4 / /proc rw\n5 6 7:8 /x {tmp_path}/a\\040b.csv rw - ext4 /dev/x rw\n"
    real = Path.read_bytes
    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(
        Path, "read_bytes", lambda one: mounts.encode() if one == Path("/proc/self/mountinfo") else real(one)
    )
    with pytest.raises(VocSegError, match="mounted as a single file"), atomic_write(path) as partial:
        partial.write_text("new")
    assert [one.name for one in tmp_path.iterdir()] == ["a b.csv"]
    assert path.read_text() == "old"
