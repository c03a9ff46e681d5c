"""Files that a table or an annotation file names by a path, perhaps one of another machine."""

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed, name_key

from ..files import Files
from .folder_names import split_of_folders

_NO_IMAGES = re.compile(r"mask|label|annotation|segmentation|visuali[sz]ation|preview|overlay", re.I)


class ImageSearch:
    r"""Finds the files of a folder by written paths, in which ``/`` or ``\`` separates folders."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._known, self._images = frozenset(files.paths), frozenset(files.images)
        self._by_name: dict[str, list[PurePosixPath]] = {}
        self._by_stem: dict[str, list[PurePosixPath]] = {}
        for path in files.images:
            self._by_stem.setdefault(path.stem, []).append(path)
            self._by_name.setdefault(name_key(path.name), []).append(path)

    def with_stem(self, stem: str) -> list[PurePosixPath]:
        """Return the images with this name before the ending, in any folder."""
        return self._by_stem.get(stem, [])

    def existing(self, text: str, folder: PurePosixPath) -> Path | None:
        """Return the file that a path leads to, None if there is none.

        The path is absolute, or relative to ``folder`` or to the imported folder; it may lead out of it.
        """
        text = _plain(text)
        if not text or "\0" in text:
            return None
        for start in (folder, PurePosixPath(".")):
            inside = PurePosixPath(posixpath.normpath(start / text))
            if inside in self._known:
                return self._files.absolute(inside)
        for path in (Path(os.path.expanduser(text)), self._files.absolute(folder) / text, self._files.root / text):  # noqa: PTH111
            if path.is_absolute() and os.path.isfile(path):  # noqa: PTH113 - pathlib fails for long names
                return Path(os.path.abspath(path))  # noqa: PTH100 - links stay
        return None

    def find_unique(self, text: str, folder: PurePosixPath) -> Path | None:
        """Return the file that a path leads to, else the only image that agrees best; None if several do."""
        if (found := self.existing(text, folder)) is not None:
            return found
        similar = self._similar(PurePosixPath(_plain(text)))
        return self._files.absolute(similar[0]) if len(similar) == 1 else None

    def find(self, name: str, near: PurePosixPath, split: str = "") -> PurePosixPath | None:
        """Return the image that a path names, None if there is none.

        Of several images with this file name, that with the longest common end of the path is taken, then one in or
        below the folder ``near``, then one in a folder of the split, then one in no folder for masks.

        Raises VocSegError if several remain.
        """
        wanted = PurePosixPath(_plain(name))
        exact = PurePosixPath(posixpath.normpath(near / wanted))
        found = [exact] if exact in self._images else self._similar(wanted)
        for keep in (
            lambda path: path.is_relative_to(near),
            lambda path: bool(split) and split_of_folders(path) == split,
            lambda path: not any(_NO_IMAGES.search(part) for part in path.parent.parts),
            lambda path: path.parent == near,
        ):
            if len(found) > 1:
                found = [path for path in found if keep(path)] or found
        if len(found) > 1:
            raise VocSegError(
                f"Several images fit {name!r}: {listed([path.as_posix() for path in found])}. "
                "Import the folder of one of them, or delete the copies."
            )
        return found[0] if found else None

    def unused(self, used: Iterable[PurePosixPath]) -> tuple[PurePosixPath, ...]:
        """Return the other images of the folders that hold used ones."""
        used = set(used)
        folders = {path.parent for path in used}
        return tuple(path for path in self._files.images if path not in used and path.parent in folders)

    def _similar(self, wanted: PurePosixPath) -> list[PurePosixPath]:
        """Return the images with this file name (case matters only if one fits) that share the most last folders."""
        found = self._by_name.get(name_key(wanted.name), [])
        found = [path for path in found if path.name == wanted.name] or found
        ends = [_common_end(path, wanted) for path in found]
        longest = max(ends, default=0)
        return [path for path, end in zip(found, ends) if end == longest]


def _plain(text: str) -> str:
    return text.strip().strip("\"'").strip().replace("\\", "/").removeprefix("file://")


def _common_end(path: PurePosixPath, wanted: PurePosixPath) -> int:
    """Return how many of the last parts of two paths are equal."""
    count = 0
    for one, other in zip(reversed(path.parts), reversed(wanted.parts)):
        if name_key(one) != name_key(other):
            break
        count += 1
    return count
