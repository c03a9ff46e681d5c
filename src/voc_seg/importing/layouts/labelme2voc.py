"""The folder that labelme's ``labelme2voc.py`` writes.

As in labelme's ``examples/semantic_segmentation/labelme2voc.py``: until 2023 masks are in ``SegmentationClassPNG``
and ``SegmentationClass`` holds ``.npy`` files; since then masks are in ``SegmentationClass`` and ``.npy`` files in
``SegmentationClassNpy``. ``class_names.txt`` lists the class of value 0, ``_background_``, and those after it;
``__ignore__`` of the labels file, -1 while drawing, is stored as 255. There are no image lists.
"""

from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID

from ..files import Files
from ..formats.class_files import plain_name
from ..formats.text_files import read_lines
from ..formats.voc_lists import image_lists, mask_folder, match_folders, only_folder, read_listed
from ..layout import VOID_NAME, Found
from ..pairing.folder_tree import FolderTree

TITLE = "labelme2voc: JPEGImages, SegmentationClassPNG or SegmentationClass, class_names.txt"
SPECIFIC = True

_NAMES = "class_names.txt"


def folders(tree: FolderTree) -> list[PurePosixPath]:
    """Return the folders with the class names, images and masks of labelme2voc."""
    return [
        path.parent
        for path in tree.files.named(_NAMES)
        if tree.child(path.parent, "JPEGImages") and _masks(tree, path.parent)
    ]


def find(files: Files) -> Found | None:
    """Find the pairs and class names; lists in ``ImageSets/Segmentation`` that somebody added give the splits."""
    tree = FolderTree(files)
    if (folder := only_folder(files, folders(tree), "labelme2voc's layout")) is None:
        return None
    images, masks = tree.child(folder, "JPEGImages"), _masks(tree, folder)
    assert images is not None and masks is not None
    matched = match_folders(tree, images, masks)
    if not matched.pairs:
        raise VocSegError(f"No mask in {files.absolute(masks)} has the name of an image in {images.name}.")
    listed = read_listed(files, matched, images, masks, image_lists(tree, folder))
    values = _read_values(files, next(path for path in files.named(_NAMES) if path.parent == folder))
    unlabelled = tuple(files.absolute(path) for path in listed.unlabelled)
    return Found(listed.images, values, unlabelled=unlabelled, notes=listed.notes)


def _masks(tree: FolderTree, folder: PurePosixPath) -> PurePosixPath | None:
    return mask_folder(tree, folder, "SegmentationClassPNG", "SegmentationClass")


def _read_values(files: Files, path: PurePosixPath) -> dict[int, str]:
    names = [plain_name(line) for line in read_lines(files.absolute(path))]
    if names[:1] == [VOID_NAME]:
        names = names[1:]  # a copy of labels.txt
    if not names or len(names) > VOID or len(set(names)) != len(names):
        what = "names a class twice" if names else "has no names"
        raise VocSegError(
            f"{files.absolute(path)} {what}. It must have the name of one class in each line, that of value 0 first."
        )
    return {**dict(enumerate(names)), VOID: VOID_NAME}
