"""What the names of folders and files say: images or masks, and the split."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Literal

Role = Literal["image", "mask", ""]

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Words for the splits in names of folders, lists and in columns of tables."""
IMAGE_WORDS = frozenset({
    "image", "images", "img", "imgs", "im", "jpegimages", "jpeg", "jpegs", "photo", "photos", "picture", "pictures",
    "pic", "pics", "input", "inputs", "data", "x", "rgb", "raw", "original", "originals", "orig", "frame", "frames",
    "sat", "satellite", "scan", "scans", "source", "sources",
})  # fmt: skip
"""Words for images in names of folders and files."""
MASK_WORDS = frozenset({
    "mask", "masks", "label", "labels", "lbl", "lbls", "annotation", "annotations", "annot", "annots", "ann", "anns",
    "gt", "gts", "groundtruth", "groundtruths", "truth", "seg", "segs", "segm", "segms", "segmentation",
    "segmentations", "segmentationclass", "segmentationclasspng", "segmentationclassraw", "target", "targets", "y",
    "matte", "mattes",
})  # fmt: skip
"""Words for masks in names of folders and files."""
_MASK_SUFFIXES = MASK_WORDS | {"l", "m", "lab", "labelids", "segmap", "segmask"}
_FILLERS = frozenset({
    "dir", "dirs", "folder", "set", "png", "jpg", "tif", "tiff", "ground", "semantic", "sem", "class", "only", "and",
    "all",
})  # fmt: skip
"""Words that change nothing: ``img_dir``, ``masks_png``, ``ground_truth``."""
_YEAR = re.compile(r"(?<=[a-z])\d{4}$", re.I)
"""COCO's folders are named ``train2017``."""


@dataclass(frozen=True)
class FolderName:
    """What the name of a folder says."""

    role: Role = ""
    split: str = ""
    rest: tuple[str, ...] = ()  # other words and numbers: images_256 goes with masks_256


@cache
def parse_folder_name(name: str) -> FolderName:
    """Return what a folder name says: ``train_masks`` holds masks of train, ``trainannot`` too, ``val`` is a split.

    Names with any other word say nothing: ``masks_preview`` does not hold masks.
    """
    words = _words(name)
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    other = tuple(word for word in words if word in _FILLERS or word.isdigit())
    roles = [word for word in words if word not in SPLIT_WORDS and word not in other]
    if len(splits) > 1 or any(word not in IMAGE_WORDS and word not in MASK_WORDS for word in roles):
        return FolderName()
    split = next(iter(splits), "")
    if any(word in MASK_WORDS for word in roles):
        return FolderName("mask", split, other)
    if roles:
        return FolderName("image", split, other)
    return FolderName("", split) if set(other) <= {"set"} else FolderName()


def split_of_name(name: str) -> str:
    """Return the only split that occurs as a word in a name: ``val`` for ``val_list`` and ``instances_val2017``.

    Empty without one: ``trains`` is another word.
    """
    found = {SPLIT_WORDS[word] for word in re.findall(r"[^\W\d_]+", name.lower()) if word in SPLIT_WORDS}
    return next(iter(found)) if len(found) == 1 else ""


def split_of_folders(path: PurePosixPath) -> str:
    """Return the split of the innermost folder of a file that names one; empty without such a folder.

    Folders are named by the split, perhaps with a year (``val``, ``train2017``), or by it and what they hold
    (``train_masks``).
    """
    names = (parse_folder_name(_YEAR.sub("", part)).split for part in reversed(path.parent.parts))
    return next(filter(None, names), "")


def split_of_file(path: PurePosixPath) -> str:
    """Return the split in the name of a file, else in those of its folders; empty without one."""
    return split_of_name(path.stem) or split_of_folders(path)


def are_mask_words(text: str) -> bool:
    """Return whether a part of a file name marks a mask: ``_mask``, ``-gt``, ``_seg_label``, ``_L``."""
    return _all_in(text, _MASK_SUFFIXES)


def are_image_words(text: str) -> bool:
    """Return whether a part of a file name marks an image: ``_image``, ``img_``."""
    return _all_in(text, IMAGE_WORDS)


def _all_in(text: str, known: frozenset[str]) -> bool:
    words = [word for word in re.split(r"[\W_]+", text.lower()) if word]
    return any(word in known for word in words) and all(word in known or word in _FILLERS for word in words)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case: at marks, and where a split word touches a word for images or masks."""
    found = []
    for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", _kept(name)).lower()):
        found += _divided(word) if word else []
    return found


def _kept(name: str) -> str:
    """Keep names of one idea in one word although they are written in camel case."""
    whole = re.sub(r"[\W_]+", "", name.lower())
    return whole if whole in IMAGE_WORDS or whole in MASK_WORDS else name


def _divided(word: str) -> list[str]:
    if word in SPLIT_WORDS or word in IMAGE_WORDS or word in MASK_WORDS or word in _FILLERS:
        return [word]
    known = IMAGE_WORDS | MASK_WORDS
    for split in sorted(SPLIT_WORDS, key=len, reverse=True):
        if word.startswith(split) and word.removeprefix(split) in known:
            return [split, word.removeprefix(split)]
        if word.endswith(split) and word.removesuffix(split) in known:
            return [word.removesuffix(split), split]
    return [word]
