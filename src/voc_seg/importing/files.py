"""The files of a folder that is imported."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import ProgressLog
from voc_seg.voc.file_names import IMAGE_ENDINGS, MASK_ENDINGS

_IGNORED = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")
"""Folders that systems add: macOS to archives, Synology to every folder, Windows to every disk."""
_IGNORED_FILES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Files:
    """The files below a folder, without hidden ones, as sorted relative paths."""

    root: Path  # absolute
    paths: tuple[PurePosixPath, ...]

    def __iter__(self) -> Iterator[PurePosixPath]:
        return iter(self.paths)

    @cached_property
    def images(self) -> tuple[PurePosixPath, ...]:
        """Files with the ending of an image; masks are among them."""
        return self.with_endings(IMAGE_ENDINGS)

    @cached_property
    def masks(self) -> tuple[PurePosixPath, ...]:
        """Files with an ending that masks can have: all images but JPEG."""
        return self.with_endings(MASK_ENDINGS)

    @cached_property
    def folders(self) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
        """Files by the folder that holds them directly."""
        found: dict[PurePosixPath, list[PurePosixPath]] = {}
        for path in self.paths:
            found.setdefault(path.parent, []).append(path)
        return {folder: tuple(paths) for folder, paths in found.items()}

    def with_endings(self, endings: Sequence[str]) -> tuple[PurePosixPath, ...]:
        """Return the files with one of these endings, in lower case and with the dot; case does not matter."""
        return tuple(path for path in self.paths if path.suffix.lower() in endings)

    def named(self, name: str) -> tuple[PurePosixPath, ...]:
        """Return the files of this name, in any folder; case does not matter."""
        return tuple(path for path in self.paths if path.name.lower() == name.lower())

    def absolute(self, path: PurePosixPath) -> Path:
        """Return the absolute path of a relative one."""
        return self.root / path


def list_files(folder: Path) -> Files:
    """List the files below a folder; links to folders are followed, each folder is visited once.

    Raises VocSegError if the folder does not exist, cannot be read or holds no file.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.is_file() else "does not exist"
        raise VocSegError(f"{folder} {what}. Give the folder that holds images and masks.")
    root = folder.resolve()
    progress, visited, found = ProgressLog(f"listing {folder}", None), {os.path.realpath(root)}, []

    def fail(error: OSError) -> None:
        raise VocSegError(f"{error.filename} cannot be read: {error.strerror or error}.") from error

    for path, folders, names in os.walk(root, onerror=fail, followlinks=True):
        kept = [name for name in sorted(folders) if not name.startswith(".") and name not in _IGNORED]
        real = {name: os.path.realpath(os.path.join(path, name)) for name in kept}  # noqa: PTH118 - as os.walk
        folders[:] = [name for name in kept if real[name] not in visited]
        visited.update(real.values())
        here = PurePosixPath(Path(path).relative_to(root).as_posix())
        found += [here / name for name in names if not name.startswith(".") and name.lower() not in _IGNORED_FILES]
        progress.advance(len(names))
    if not found:
        raise VocSegError(f"{folder} holds no files. Give the folder that holds images and masks.")
    return Files(root, tuple(sorted(found)))
