"""The folders of an imported folder, and the images below each."""

from bisect import bisect_left
from functools import cached_property
from pathlib import PurePosixPath

from voc_seg.system.names import name_key

from ..files import Files


class FolderTree:
    """Folders by name, and the files with an image's ending in them."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._images: dict[PurePosixPath, list[PurePosixPath]] = {}
        for path in files.images:
            self._images.setdefault(path.parent, []).append(path)
        self._sorted = sorted(self._images)

    @cached_property
    def children(self) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
        """Subfolders by folder, sorted, for every folder."""
        found: dict[PurePosixPath, set[PurePosixPath]] = {PurePosixPath("."): set()}
        for folder in self.files.folders:
            for path in (folder, *folder.parents):
                found.setdefault(path, set())
                if path != PurePosixPath("."):
                    found.setdefault(path.parent, set()).add(path)
        return {folder: tuple(sorted(paths)) for folder, paths in found.items()}

    def child(self, folder: PurePosixPath, name: str) -> PurePosixPath | None:
        """Return a subfolder by name; without an exact match case does not matter. None if there is none."""
        paths = self.children.get(folder, ())
        exact = [path for path in paths if path.name == name]
        similar = [path for path in paths if name_key(path.name) == name_key(name)]
        return next(iter(exact or similar), None)

    def images_in(self, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """Return the images directly in a folder."""
        return tuple(self._images.get(folder, ()))

    def images_below(self, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
        """Return the images in a folder and its subfolders."""
        found: list[PurePosixPath] = []
        for index in range(bisect_left(self._sorted, folder), len(self._sorted)):  # subfolders follow their folder
            inner = self._sorted[index]
            if inner.parts[: len(folder.parts)] != folder.parts:
                break
            found += self._images[inner]
        return tuple(found)


def stem_below(path: PurePosixPath, folder: PurePosixPath) -> str:
    """Return a path relative to a folder, without ending."""
    return path.relative_to(folder).with_suffix("").as_posix()
