"""Image ids from list formats other than VOC's: file names, paths, or an image and a mask in two columns."""

import re
from collections.abc import Container

from voc_seg.system.errors import VocSegError

from .file_names import MASK_ENDINGS, stem_of

_MARKED = re.compile(r"(\S+)\s+(?:-1|0|1)")
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")


def id_of_line(line: str, known: Container[str], images: str, masks: str) -> str:
    """Return the image id of a line: ``a``, ``a.jpg``, ``JPEGImages/a.jpg``, ``a a`` or ``a.jpg Masks/a.png``.

    A line that names a known image is an id, whatever its form: ids may contain spaces and dots.

    Args:
        line: Not blank, without surrounding whitespace.
        known: File names in the image folder, without endings.
        images: Name of the image folder.
        masks: Name of the mask folder.

    Raises:
        VocSegError: The line names a file in another folder, pairs an image with a mask of another name, or comes from
            ``ImageSets/Main``.
    """
    if line in known:
        return line
    columns = _two_columns(line)
    if columns is None:
        if (marked := _MARKED.fullmatch(line)) and marked[1] in known:
            raise VocSegError(
                "this looks like a list from ImageSets/Main, which marks whether a class occurs in an image (1, 0 or "
                f"-1); the image is {marked[1]!r}. Keep only the image id in each line"
            )
        return _without_folder(line, images)
    image, mask = _without_folder(columns[0], images), _without_folder(columns[1], masks, MASK_ENDINGS)
    if image != mask:
        raise VocSegError(
            f"it pairs the image {image} with the mask {mask}, but an image and its mask must have the same name "
            "apart from the extension"
        )
    return image


def _two_columns(line: str) -> tuple[str, str] | None:
    """Return image and mask of a line with two equal names or two file names, else None."""
    halves = [(line[: cut.start()], line[cut.end() :]) for cut in _SEPARATOR.finditer(line)]
    for image, mask in halves:
        if image == mask or (stem_of(image) and stem_of(mask, MASK_ENDINGS)):
            return image, mask
    return None


def _without_folder(path: str, folder: str, endings: tuple[str, ...] | None = None) -> str:
    """Return the id of a path inside the folder that is read."""
    parents, _, name = path.replace("\\", "/").rpartition("/")
    if parents and parents.rpartition("/")[2] != folder:
        raise VocSegError(f"it names a file in {parents}, but files are only read from {folder}")
    stem = stem_of(name, endings) if endings else stem_of(name)
    return name if stem is None else stem
