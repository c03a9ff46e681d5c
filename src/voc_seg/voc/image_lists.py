"""Image lists: the files that name the images of a split, one id a line."""

import os
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from voc_seg.errors import VocSegError

from .names import fault_of_id, same_name
from .reading import LFS_POINTER, require_file

# Both spellings of the SBD list are in circulation.
OTHER_SPELLINGS = {"trainaug": ("train_aug",)}
_LOOKED_AT = 20
"""Lines of a list that show of which kind it is."""
_MARKED = re.compile(r"(\S+)\s+(?:-1|0|1)")


def list_path(folder: Path, name: str) -> Path:
    """The file of an image list, in the spelling that is there; in the usual one when none is."""
    lists = folder / "ImageSets" / "Segmentation"
    spellings = [lists / f"{spelling}.txt" for spelling in (name, *OTHER_SPELLINGS.get(name, ()))]
    return next((path for path in spellings if os.path.lexists(path)), spellings[0])


def is_blank(path: Path) -> bool:
    """Whether a list is a file with nothing in it but blanks."""
    try:
        return path.is_file() and not path.read_bytes().removeprefix(BOM_UTF8).strip()
    except OSError:
        return False


def read_ids(path: Path, id_of: Callable[[str], str] = str) -> tuple[str, ...]:
    """The ids of an image list, one a line; blanks within a line belong to the id.

    Args:
        path: A text file.
        id_of: Makes an id of a line in another manner; without, lines are ids.

    Raises:
        VocSegError: No such file, no id in it, one twice (case does not count), or a line that is no id.
    """
    try:
        require_file(path)
        # utf-8-sig: editors on Windows put a byte order mark before the first id.
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError, VocSegError) as error:
        raise VocSegError(
            f"The image list {path} cannot be read: {error}. It must be a UTF-8 text with one image id a line."
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
        if fault := fault_of_id(image_id):
            raise VocSegError(
                f"Line {number} of {path} is {image_id!r}: {fault}. Each line "
                "must be one image id: a file name without folder and ending. Rename the image and its mask."
            )
        twin = ids.get(same_name(image_id))
        if twin == image_id:
            raise VocSegError(f"Line {number} of {path} repeats the image id {image_id!r}. Delete that line.")
        if twin:
            raise VocSegError(
                f"Line {number} of {path} is {image_id!r}, which differs from {twin!r} in case or the storing of an "
                "accent alone: on Macs and Windows both are one file. Rename one of the images and its mask."
            )
        ids[same_name(image_id)] = image_id
    if not ids:
        raise VocSegError(f"The image list {path} is empty. It needs one image id a line.")
    return tuple(ids.values())


def refuse_other_kinds(path: Path, ids: Sequence[str], known: Container[str]) -> None:
    """Refuse a list of ImageSets/Main, which shows in lines that are no images where their first parts are.

    Args:
        path: The list.
        ids: Its lines.
        known: File names without ending of the folder of images.

    Raises:
        VocSegError: With what the list is.
    """
    lines = ids[:_LOOKED_AT]
    if any(line in known for line in lines):
        return
    meant = {found[1]: line for line in lines if (found := _MARKED.fullmatch(line))}
    image_id = next((name for name in meant if name in known), None)
    if image_id is not None:
        raise VocSegError(
            f"{path} looks like a list of ImageSets/Main, which says of each image whether a class is in it (1, 0 or "
            f"-1): one of its lines is {meant[image_id]!r}, and the image is called {image_id!r}. Leave nothing but "
            "the image id in each line."
        )
