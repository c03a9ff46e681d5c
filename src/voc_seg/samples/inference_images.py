"""The images of ``inference.images``, which have no masks: found in a folder, by a pattern or by name; read lazily."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import WINDOWS_MARKS, formula_sign, name_key, printable, windows_name_problem
from voc_seg.voc.images import decode_image
from voc_seg.voc.pixel_format import RGB, PixelFormat

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATTERN = "*?["
_LONGEST_NAME = 200
"""Bytes; file systems take 255, with the ending."""


@dataclass(frozen=True)
class ImageFiles(Mapping[str, np.ndarray]):
    """Images by name, ``uint8 (H, W, C)``, each decoded on access.

    Args:
        paths: The file of each name.
        pixels: How they are read.
    """

    paths: Mapping[str, Path]
    pixels: PixelFormat = RGB

    def __getitem__(self, name: str) -> np.ndarray:
        return decode_image(self.paths[name], self.pixels)

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, name: str) -> str:
        """The path of an image for tables."""
        return _in_table(self.paths[name])

    def only(self, names: Sequence[str]) -> "ImageFiles":
        """The images with these names."""
        return replace(self, paths={name: self.paths[name] for name in names})


def _in_table(path: Path) -> str:
    """A path for tables: ``./=a.jpg``, because spreadsheets would evaluate ``=a.jpg``."""
    text = str(path)
    return printable(os.path.join(".", text) if formula_sign(text) else text)  # noqa: PTH118 - Path drops the dot


def rejected_table(reasons: Mapping[Path, str]) -> pd.DataFrame:
    """One row per file: its path, and why it was rejected."""
    rows = [{"file": _in_table(path), "reason": reason} for path, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["file", "reason"])


@dataclass(frozen=True)
class LazyMapping(Mapping[str, T], Generic[T]):
    """Values by name, computed on every access, so that thousands take the memory of one."""

    names: Sequence[str]
    make: Callable[[str], T]

    def __getitem__(self, name: str) -> T:
        return self.make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def find_images(images: str) -> ImageFiles:
    """Find images: a file, the files of a folder, or those a pattern matches (``*``, ``?``, ``**``).

    Files of any type are returned; reading tells whether one is an image. Hidden files and folders within a folder are
    skipped. A name that exists is taken literally, even if it contains brackets.

    Args:
        images: A path, relative to the working directory; ``~`` is the home folder.

    Raises:
        VocSegError: Nothing is there, or it cannot be read.
    """
    place = Path(images)
    try:
        if images.startswith("~") and not place.exists():
            place = Path(os.path.expanduser(images))  # noqa: PTH111 - Path.expanduser fails for unknown users
        found = _found(place, images)
    except OSError as error:
        raise VocSegError(f"inference.images: {images} cannot be read ({error.strerror or error}).") from error
    return ImageFiles(dict(zip(name_images(found), found)))


def _found(place: Path, images: str) -> list[Path]:
    if place.is_dir():
        entries = sorted(path for path in place.iterdir() if not path.name.startswith("."))
        files = [path for path in entries if not path.is_dir()]
        below = f"Its subfolders are not searched; inference.images='{images}/**/*' is everything below."
        hint = below if len(files) < len(entries) else ""
        if not files:
            raise VocSegError(f"inference.images: the folder {place.absolute()} holds no files. {hint}".rstrip())
        if hint:
            logger.info("%s: %s", images, hint)
        return files
    if place.exists() or place.is_symlink():
        return [place]
    if not any(mark in images for mark in _PATTERN):
        raise VocSegError(
            f"inference.images: there is no file or folder {place.absolute()}. Give a folder, a file or a pattern such "
            "as 'images/*.jpg', relative to the working directory."
        )
    files = sorted(_matches(place))
    if not files:
        raise VocSegError(f"inference.images: no file matches {place.absolute()}.")
    return files


def _matches(pattern: Path) -> Iterator[Path]:
    """Files that match; ``**`` does not follow links to folders, which could form a cycle."""
    parts = pattern.parts
    first = next(place for place, part in enumerate(parts) if any(mark in part for mark in _PATTERN))
    base, rest = Path(*parts[:first]), list(parts[first:])
    if rest[-1] == "**":
        rest.append("*")
    try:
        for path in base.glob("/".join(rest)):
            if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(base).parts):
                yield path
    except ValueError as error:
        raise VocSegError(f"inference.images: {pattern} is not a valid pattern: {error}.") from None


def name_images(paths: Sequence[Path]) -> list[str]:
    """A unique name for each image, under which its mask is saved.

    It is the file name without extension. Names that clash get their extension (``a.jpg``, ``a.png``), then their
    folders below the common one as a prefix (``2023_a.jpg``), then a number as a suffix. Names that differ only in case
    or in the encoding of an accent clash, as on macOS and Windows. Characters that file systems or tables do not allow
    become ``_``.
    """
    if not paths:
        return []
    common = os.path.commonpath([path.parent.absolute() for path in paths])
    spellings = [
        [_safe(path.stem), _safe(path.name), _safe("_".join(path.absolute().relative_to(common).parts))]
        for path in paths
    ]
    levels = [0] * len(paths)
    while True:
        names = [spelling[level] for spelling, level in zip(spellings, levels)]
        often = Counter(name_key(name) for name in names)
        shared = [index for index, name in enumerate(names) if often[name_key(name)] > 1 and levels[index] < 2]
        if not shared:
            return _numbered(names)
        for index in shared:
            levels[index] += 1


def _numbered(names: list[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for name in names:
        free, number = name, 1
        while name_key(free) in taken:
            number += 1
            free = f"{name}_{number}"
        taken.add(name_key(free))
        result.append(free)
    return result


def _safe(name: str) -> str:
    """The name in a form every file system accepts, without path separators."""
    clean = "".join(mark if mark.isprintable() and mark not in rf"/\{WINDOWS_MARKS}" else "_" for mark in name)
    clean = clean.strip(". ").encode()[:_LONGEST_NAME].decode(errors="ignore").strip(". ") or "picture"
    if formula_sign(clean):
        clean = f"_{clean[1:]}" if formula_sign(clean[:1]) else clean
        clean = clean.replace(";", "_")
    return f"_{clean}" if windows_name_problem(clean) else clean
