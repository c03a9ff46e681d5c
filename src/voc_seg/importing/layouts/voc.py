"""VOC's own layout: ``JPEGImages``, ``SegmentationClass`` and lists in ``ImageSets/Segmentation``.

The lists and folders are those of the VOC development kit, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
(devkit_doc.pdf, section 3). The folder may have any name.
"""

import re
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, VOID

from ..files import Files
from ..formats.voc_lists import image_lists, mask_folder, match_folders, only_folder, read_listed
from ..layout import VOID_NAME, Found
from ..pairing.folder_tree import FolderTree
from . import cvat, labelme2voc

TITLE = "VOC folders: JPEGImages, SegmentationClass and lists in ImageSets/Segmentation"
SPECIFIC = True

_OFFICIAL_IDS = re.compile(r"(20\d\d_)?\d{6}|scene_(train|val|test)_\d{4}")
"""Image ids of VOC 2007 (000032), VOC 2012 (2007_000033) and of the drawn sample."""


def find(files: Files) -> Found | None:
    """Find the pairs of a folder in VOC's layout; CVAT and labelme2voc write folders of the same names."""
    tree = FolderTree(files)
    if cvat.folders(tree) or labelme2voc.folders(tree):
        return None
    candidates = [folder for folder in tree.children if _masks(tree, folder) and image_lists(tree, folder)]
    if (folder := only_folder(files, candidates, "VOC's layout")) is None:
        return None
    images, masks = tree.child(folder, "JPEGImages"), _masks(tree, folder)
    assert masks is not None
    if images is None:
        raise VocSegError(f"{files.absolute(folder)} has {masks.name} but no JPEGImages. Put the images there.")
    matched = match_folders(tree, images, masks)
    if not matched.pairs:
        raise VocSegError(f"No mask in {files.absolute(masks)} has the name of an image in {images.name}.")
    listed = read_listed(files, matched, images, masks, image_lists(tree, folder))
    notes, values = list(listed.notes), {}
    if re.fullmatch(r"VOC20\d\d", files.absolute(folder).name):
        if all(_OFFICIAL_IDS.fullmatch(stem) for stem in listed.stems):
            values = {**dict(enumerate(CLASS_NAMES)), VOID: VOID_NAME}
        else:
            notes.append(
                f"The folder is named {files.absolute(folder).name}, but its images are not those of VOC, so its "
                "classes do not get the names of VOC's."
            )
    unlabelled = tuple(files.absolute(path) for path in listed.unlabelled)
    return Found(listed.images, values, unlabelled=unlabelled, notes=tuple(notes))


def _masks(tree: FolderTree, folder: PurePosixPath) -> PurePosixPath | None:
    return mask_folder(tree, folder, "SegmentationClass", "SegmentationClassPNG")
