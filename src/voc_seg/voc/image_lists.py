"""Image lists: the files that name the images of a split, one id a line."""

import os
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import image_id_problem, name_key

from .file_checks import LFS_POINTER, require_file

# Both spellings of the SBD list are in circulation.
OTHER_SPELLINGS = {"trainaug": ("train_aug",)}


def list_path(folder: Path, name: str) -> Path:
    """Return the file of an image list in the spelling that exists, else in the usual one."""
    lists = folder / "ImageSets" / "Segmentation"
    spellings = [lists / f"{spelling}.txt" for spelling in (name, *OTHER_SPELLINGS.get(name, ()))]
    return next((path for path in spellings if os.path.lexists(path)), spellings[0])


def is_blank(path: Path) -> bool:
    """Return whether a list is a file without an id."""
    return path.is_file() and not path.read_bytes().removeprefix(BOM_UTF8).strip()


def read_ids(path: Path, id_of: Callable[[str], str] = str) -> tuple[str, ...]:
    """Read the ids of an image list, one per line; spaces within a line belong to the id.

    ``id_of`` turns a line into an image id. Raises VocSegError if the file is missing or has no id, an id occurs twice
    (ignoring case), or a line is not an id.
    """
    try:
        require_file(path)
        # utf-8-sig: editors on Windows put a byte order mark before the first id.
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError, VocSegError) as error:
        raise VocSegError(
            f"The image list {path} cannot be read: {error}. It must be a UTF-8 text with one image id per line."
        ) from error
    if lines[0].encode().startswith(LFS_POINTER):
        raise VocSegError(f"The image list {path} is a Git LFS pointer; fetch the files with: git lfs pull")
    ids: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            image_id = id_of(line)
        except VocSegError as error:
            raise VocSegError(f"Line {number} of {path} is {line!r}: {error}.") from error
        if problem := image_id_problem(image_id):
            raise VocSegError(
                f"Line {number} of {path} is {image_id!r}: {problem}. Each line "
                "must be one image id: a file name without folder and ending. Rename the image and its mask."
            )
        twin = ids.get(name_key(image_id))
        if twin == image_id:
            raise VocSegError(f"Line {number} of {path} repeats the image id {image_id!r}. Delete that line.")
        if twin:
            raise VocSegError(
                f"Line {number} of {path} is {image_id!r}, which differs from {twin!r} only in case or in the encoding "
                "of an accent: on macOS and Windows both are the same file. Rename one of the images and its mask."
            )
        ids[name_key(image_id)] = image_id
    if not ids:
        raise VocSegError(f"The image list {path} is empty. It needs one image id per line.")
    return tuple(ids.values())
