"""The file of each image id in a folder: extensions differ, and files may be missing or ambiguous."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import name_key

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp")
"""Endings of images, in lower case; the first is the default."""
MASK_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".webp")
"""Endings of masks, in lower case; the first is the default."""

_HINTS = 200
"""Missing files that get a hint; if all are missing, more hints would repeat the first."""
_NAMED = 3
"""Names that a hint lists."""


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder by image id."""

    names: Mapping[str, str] = field(default_factory=dict)  # by id; only names other than the id and the default ending
    problems: Mapping[str, str] = field(default_factory=dict)  # by id: why it has no file; empty if it is just missing


def list_names(folder: Path) -> list[str]:
    """List the names of all entries of a folder, sorted. Raises VocSegError if it cannot be read."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - a million Path objects would take ten times as long
    except OSError as error:
        raise VocSegError(
            f"The folder {folder} cannot be read: {error.strerror or error}. Check its permissions and run again."
        ) from error


def stem_of(name: str, endings: Sequence[str] = IMAGE_ENDINGS) -> str | None:
    """Return a file name without its ending; None if the ending is not listed (ignoring case)."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and dot + ending.lower() in endings else None


def find_files(
    folder: Path, names: Sequence[str], ids: Iterable[str], kind: str, endings: Sequence[str]
) -> FolderFiles:
    """Find the file of every image id.

    Without an exact match, a name that differs only in case or in the encoding of an accent counts: on macOS and
    Windows it is the same file. An id with several files has a problem that names them.

    Args:
        folder: The folder with the files.
        names: Its entries, from `list_names`.
        ids: Image ids.
        kind: Word for the file in messages: image or mask.
        endings: Accepted endings, in lower case; the first is the default.
    """
    wanted = dict.fromkeys(ids)
    files = _by_stem(names, {image_id: image_id for image_id in wanted}.get, endings)
    if lost := [image_id for image_id in wanted if image_id not in files]:
        similar = {name_key(image_id): image_id for image_id in lost}
        files |= _by_stem(names, lambda stem: similar.get(name_key(stem)), endings)
    usual = endings[0]
    others = {image_id: name for image_id, (name, *twins) in files.items() if not twins and name != image_id + usual}
    problems = {
        image_id: f"ambiguous {kind}: {folder.name} has {' and '.join(found)}; delete all but one"
        for image_id, found in files.items()
        if len(found) > 1
    }
    missing = [image_id for image_id in lost if image_id not in files]
    relatives = _related_folders(folder) if missing else []
    for image_id in missing[:_HINTS]:
        if hint := _hint(folder, names, relatives, image_id, endings):
            problems[image_id] = f"missing {kind}: {folder.name}/{image_id}{usual} ({hint})"
    return FolderFiles(others, problems)


def _by_stem(
    names: Sequence[str], id_of: Callable[[str], str | None], endings: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Group files by id; `id_of` maps a file name without ending to its id."""
    found: dict[str, tuple[str, ...]] = {}
    kinds = {ending[1:] for ending in endings}
    for name in names:
        stem, _, ending = name.rpartition(".")
        if ending.lower() in kinds and (image_id := id_of(stem)) is not None:
            found[image_id] = (*found.get(image_id, ()), name)
    return found


def _related_folders(folder: Path) -> list[Path]:
    """Return folders that may hold the missing files: subfolders, and siblings such as ``SegmentationClassPNG``."""
    try:
        siblings = sorted(path for path in folder.parent.glob(f"{escape(folder.name)}?*") if path.is_dir())
        with os.scandir(folder) as entries:  # finds folders among a million files without a stat call for each
            subfolders = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:  # a circular link or an unreadable folder: no hint
        return []
    return [*siblings, *subfolders][:_NAMED]


def _hint(folder: Path, names: Sequence[str], relatives: Sequence[Path], image_id: str, endings: Sequence[str]) -> str:
    """Return a hint on a similar file that was found instead; empty if there is none."""
    for relative in relatives:
        for ending in endings:
            if (relative / f"{image_id}{ending}").is_file():
                other = relative.relative_to(folder.parent).as_posix()
                return f"found {other}/{image_id}{ending}: move the files directly into {folder.name}"
    start = bisect_left(names, image_id)
    near = []
    for name in names[start : start + 100]:
        if not name.startswith(image_id):
            break
        if not name[len(image_id) :][:1].isalnum():
            near.append(name)
    if not near:
        return ""
    exact = [name for name in near if name.rpartition(".")[0] == image_id]
    if exact:
        return f"found {' and '.join(exact[:_NAMED])}, a format that is not read: save it as {endings[0][1:].upper()}"
    return f"found {' and '.join(near[:_NAMED])}: the file name must be {image_id} plus an extension"
