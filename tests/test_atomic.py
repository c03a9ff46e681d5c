"""A file is the old one or the new one, whatever happens in between."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from voc_seg import atomic
from voc_seg.atomic import recover_folder, replacing, replacing_folder, sync_folder
from voc_seg.errors import VocSegError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("old")
    return path


class TestFile:
    def test_a_new_file_takes_the_place_of_the_old_one(self, path: Path) -> None:
        with replacing(path) as partial:
            partial.write_text("new")
            assert path.read_text() == "old"
            assert partial.parent == path.parent
        assert path.read_text() == "new"
        assert names(path.parent) == ["a.txt"]

    def test_folders_are_made(self, tmp_path: Path) -> None:
        with replacing(tmp_path / "b" / "c" / "d.txt") as partial:
            partial.write_text("new")
        assert (tmp_path / "b/c/d.txt").read_text() == "new"

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), VocSegError("mine")])
    def test_any_error_leaves_the_old_file_alone_and_passes(self, path: Path, error: BaseException) -> None:
        with pytest.raises(type(error)) as caught, replacing(path) as partial:
            partial.write_text("ne")
            raise error
        assert caught.value is error
        assert path.read_text() == "old"
        assert names(path.parent) == ["a.txt"]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_what_the_system_says_becomes_advice(self, path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, call, fail)
        message = r"Could not write .*a\.txt: No space left on device\. It takes about 5\.0 MB\. .* are free there\. "
        with pytest.raises(VocSegError, match=message), replacing(path, size=5_000_000) as partial:
            partial.write_text("new")
        assert path.read_text() == "old"
        assert names(path.parent) == ["a.txt"]

    def test_file_and_folder_are_on_the_disk_before_it_returns(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        replace = os.replace
        monkeypatch.setattr(atomic, "_sync", lambda synced: done.append(f"sync {synced.name}"))
        monkeypatch.setattr(os, "replace", lambda a, b: done.append("replace") or replace(a, b))
        with replacing(path) as partial:
            partial.write_text("new")
        assert done == ["sync a.txt.partial", "replace", f"sync {path.parent.name}"]


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "masks"
        folder.mkdir()
        (folder / "old.png").write_text("old")
        return folder

    def test_a_new_folder_takes_the_place_of_the_old_one_whole(self, folder: Path) -> None:
        with replacing_folder(folder) as partial:
            (partial / "new.png").write_text("new")
            assert names(folder) == ["old.png"]
        assert names(folder) == ["new.png"]
        assert names(folder.parent) == ["masks"]

    def test_an_error_leaves_the_old_one(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="mine"), replacing_folder(folder) as partial:
            (partial / "new.png").write_text("new")
            raise ValueError("mine")
        assert names(folder.parent) == ["masks"]
        assert names(folder) == ["old.png"]

    @pytest.mark.parametrize("failing", [0, 1])
    def test_a_rename_that_fails_leaves_the_old_one(
        self, folder: Path, failing: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls, replace = [], os.replace

        def sometimes(source: Path, target: Path) -> None:
            calls.append(source)
            if len(calls) == failing + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            replace(source, target)

        monkeypatch.setattr(os, "replace", sometimes)
        with pytest.raises(VocSegError, match=r"Could not write .*masks"), replacing_folder(folder) as partial:
            (partial / "new.png").write_text("new")
        assert names(folder.parent) == ["masks"]
        assert names(folder) == ["old.png"]

    def test_killed_between_the_two_renames_the_old_one_is_found_again(self, folder: Path) -> None:
        folder.rename(folder.with_name("masks.old"))
        recover_folder(folder)
        assert names(folder) == ["old.png"]
        recover_folder(folder)  # nothing to do: nothing done
        assert names(folder.parent) == ["masks"]

    def test_killed_after_the_second_rename_the_old_one_does_not_come_back(self, folder: Path) -> None:
        folder.with_name("masks.old").mkdir()
        recover_folder(folder)
        assert names(folder.parent) == ["masks"]


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_file_systems_that_cannot_sync_folders_are_put_up_with(
    tmp_path: Path, number: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "_sync", fail)
    with nullcontext() if passes else pytest.raises(OSError, match=os.strerror(number)):
        sync_folder(tmp_path)
