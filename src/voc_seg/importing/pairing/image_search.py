"""Images that an annotation file names by a path of another machine, and splits named by folders and files."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed, name_key

from ..files import Files

_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_NO_IMAGES = re.compile(r"mask|label|annotation|segmentation|visuali[sz]ation|preview|overlay", re.I)
_ROBOFLOW = re.compile(r"(.+)_[a-z]{3,4}\.rf\.[0-9a-zA-Z]+$")


def split_of(path: PurePosixPath) -> str:
    """Return the split that a word in a file's name or the name of a folder above it says: train, val, test, or empty.

    ``instances_train2017.json`` is train, ``trains.json`` is not.
    """
    words = re.findall(r"[a-z]+", path.stem.lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else folder_split(path)


def folder_split(path: PurePosixPath) -> str:
    """Return the split of the nearest folder with exactly the name of a split: train, val, test, or empty."""
    names = (_SPLITS.get(re.sub(r"\d+$", "", part.lower()), "") for part in reversed(path.parent.parts))
    return next(filter(None, names), "")


def original_name(path: PurePosixPath) -> str:
    """Return the name of the image that Roboflow made this one from; empty for other files.

    Roboflow names the copies of ``photo.jpg`` that it augments ``photo_jpg.rf.HASH.jpg``.
    """
    found = _ROBOFLOW.match(path.stem)
    return found[1] if found else ""


class ImageSearch:
    """Finds images of a folder by the paths in an annotation file."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._paths = set(files.images)
        self._by_name: dict[str, list[PurePosixPath]] = {}
        self._by_stem: dict[str, list[PurePosixPath]] = {}
        for path in files.images:
            self._by_stem.setdefault(path.stem, []).append(path)
            self._by_name.setdefault(name_key(path.name), []).append(path)

    def __contains__(self, path: PurePosixPath) -> bool:
        return path in self._paths

    def with_stem(self, stem: str) -> list[PurePosixPath]:
        """Return the images with this name before the ending, in any folder."""
        return self._by_stem.get(stem, [])

    def find(self, name: str, near: PurePosixPath, split: str = "") -> PurePosixPath | None:
        r"""Return the image of a path with ``/`` or ``\``, relative or of another machine; None if there is none.

        Of several images with this file name, that with the longest common end of the path is taken, then one in or
        below the folder ``near``, then one in a folder of the split, then one in no folder for masks.

        Raises VocSegError if several remain.
        """
        wanted = PurePosixPath(PureWindowsPath(name).as_posix())
        if not wanted.name:
            return None
        if (exact := normalised(near / wanted)) in self._paths:
            return exact
        found = self._by_name.get(name_key(wanted.name), [])
        found = [path for path in found if path.name == wanted.name] or found
        if len(found) > 1:
            ends = [_common_end(path, wanted) for path in found]
            found = [path for path, end in zip(found, ends) if end == max(ends)]
        for keep in (
            lambda path: path.is_relative_to(near),
            lambda path: bool(split) and split_of(path.parent) == split,
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


def normalised(path: PurePosixPath) -> PurePosixPath:
    """Return a relative path without ``.`` and ``..``; unchanged if it leads out of the folder."""
    parts: list[str] = []
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return path
    return PurePosixPath(*parts)


def _common_end(path: PurePosixPath, wanted: PurePosixPath) -> int:
    count = 0
    for one, other in zip(reversed(path.parts), reversed(wanted.parts)):
        if name_key(one) != name_key(other):
            break
        count += 1
    return count
