"""Paths written in tables and lists, found again in the folder that is imported."""

import os
from pathlib import Path, PurePosixPath

from voc_seg.system.names import name_key

from ..files import Files


class PathLookup:
    """Finds files by the paths that somebody wrote, perhaps on another machine."""

    def __init__(self, files: Files) -> None:
        self._files, self._known = files, frozenset(files.paths)
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for path in files.images:
            self._by_name.setdefault(name_key(path.name), []).append(path)

    def find(self, text: str, folder: PurePosixPath) -> Path | None:
        r"""Return the file of a path, None if there is none or several fit.

        A path is absolute, or relative to ``folder`` or to the imported folder; ``\\`` separates folders as ``/`` does.
        If no such file exists, the image that agrees in the most of the last parts of the path is taken.
        """
        text = text.strip().strip("\"'").strip().replace("\\", "/").removeprefix("file://")
        if not text or "\0" in text:
            return None
        for start in (folder, PurePosixPath(".")):
            inside = PurePosixPath(os.path.normpath(start / text))
            if inside in self._known:
                return self._files.absolute(inside)
        for path in (Path(os.path.expanduser(text)), self._files.absolute(folder) / text, self._files.root / text):  # noqa: PTH111
            if path.is_absolute() and os.path.isfile(path):  # noqa: PTH113 - pathlib fails for long names
                return Path(os.path.abspath(path))  # noqa: PTH100 - links stay
        return self._similar(text)

    def _similar(self, text: str) -> Path | None:
        parts = [name_key(part) for part in PurePosixPath(text).parts]
        scored = [(_equal_ends(parts, path), path) for path in self._by_name.get(parts[-1], ())] if parts else []
        best = max((score for score, _ in scored), default=0)
        fitting = [path for score, path in scored if score == best]
        return self._files.absolute(fitting[0]) if len(fitting) == 1 else None


def _equal_ends(parts: list[str], path: PurePosixPath) -> int:
    pairs = zip(reversed(parts), (name_key(part) for part in reversed(path.parts)))
    return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(path.parts)))
