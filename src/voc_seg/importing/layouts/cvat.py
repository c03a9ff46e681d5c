"""CVAT's export "Segmentation mask 1.1".

``labelmap.txt`` has a line ``name:r,g,b:parts:actions`` for each label. Masks in ``SegmentationClass`` are RGB in
these colours; the background is black unless the label ``background`` has another colour. The lists in
``ImageSets/Segmentation`` are named by CVAT's subsets (``default.txt``, ``Train.txt``) and hold ids with subfolders.
Images that have no shapes are listed but have no mask, and ``JPEGImages`` exists only if "Save images" was chosen.
Sources: https://docs.cvat.ai/docs/dataset_management/formats/format-smask, cvat/apps/dataset_manager/formats/mask.py,
and VocLabelMap.parse_from_file and VocConverter of datumaro/plugins/voc_format, which writes the files.
"""

from collections import Counter
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import name_key, printable
from voc_seg.voc.classes import voc_palette

from ..files import Files
from ..formats.class_files import plain_name
from ..formats.text_files import read_lines
from ..formats.voc_lists import image_lists, only_folder, read_listed
from ..layout import Colour, Found
from ..notes import examples
from ..pairing.folder_tree import FolderTree, stem_below
from ..pairing.matching import Matched, match_masks

TITLE = 'CVAT\'s export "Segmentation mask 1.1": SegmentationClass and labelmap.txt'
SPECIFIC = True

_LABELMAP = "labelmap.txt"


def folders(tree: FolderTree) -> list[PurePosixPath]:
    """Return the folders with a label map and masks."""
    masks = {path.parent: tree.child(path.parent, "SegmentationClass") for path in tree.files.named(_LABELMAP)}
    return [folder for folder, below in masks.items() if below and tree.images_below(below)]


def find(files: Files) -> Found | None:
    """Find the pairs and the names of colours."""
    tree = FolderTree(files)
    if (folder := only_folder(files, folders(tree), "CVAT's layout")) is None:
        return None
    masks = tree.child(folder, "SegmentationClass")
    assert masks is not None
    images = tree.child(folder, "JPEGImages")
    if images is None or not tree.images_below(images):
        images = _images_elsewhere(tree, folder, masks)
    matched = _match(tree, images, masks)
    if not matched.pairs:
        raise VocSegError(
            f"No mask in {files.absolute(masks)} has the name of an image in {files.absolute(images)}: "
            f"{examples(matched.masks)} and {examples(matched.images)}."
        )
    listed = read_listed(files, matched, images, masks, image_lists(tree, folder))
    colours = _read_colours(files, next(path for path in files.named(_LABELMAP) if path.parent == folder))
    unlabelled = tuple(files.absolute(path) for path in listed.unlabelled)
    return Found(listed.images, colours=colours, unlabelled=unlabelled, notes=listed.notes)


def _match(tree: FolderTree, images: PurePosixPath, masks: PurePosixPath) -> Matched:
    drawn = [tree.child(masks.parent, name) for name in ("SegmentationClass", "SegmentationObject")]
    return match_masks(
        {
            path: stem_below(path, images)
            for path in tree.images_below(images)
            if not any(one in path.parents for one in drawn)
        },
        {path: stem_below(path, masks) for path in tree.images_below(masks)},
    )


def _images_elsewhere(tree: FolderTree, folder: PurePosixPath, masks: PurePosixPath) -> PurePosixPath:
    """Return the folder in which most masks have an image of the same relative path."""
    drawn = [tree.child(folder, name) for name in ("SegmentationClass", "SegmentationObject")]
    wanted = {name_key(stem_below(path, masks)) for path in tree.images_below(masks)}
    votes: Counter[PurePosixPath] = Counter()
    for path in tree.files.images:
        if not any(one in path.parents for one in drawn):
            votes.update(one for one in path.parents if name_key(stem_below(path, one)) in wanted)
    if not votes:
        raise VocSegError(
            f'{tree.files.absolute(folder)} is an export of CVAT without images. Export it again with "Save images", '
            "or put the images into a folder JPEGImages beside SegmentationClass."
        )
    (best, count), *others = votes.most_common()
    if others and others[0][1] == count:
        raise VocSegError(
            f"The images of {tree.files.absolute(folder)} are in several folders: {best} and {others[0][0]}. "
            "Keep one of them."
        )
    return best


def _read_colours(files: Files, path: PurePosixPath) -> dict[Colour, str]:
    """Read a label map: class name by colour. Without any colour, labels have VOC's colours in their order."""
    colours: list[tuple[str, Colour | None]] = []
    for line in read_lines(files.absolute(path), comment="#"):
        name, *fields = line.rsplit(":", 3)  # the name may hold colons
        numbers = [one.strip() for one in fields[0].split(",")] if fields and fields[0].strip() else []
        valid = not numbers or (len(numbers) == 3 and all(one.isdecimal() and int(one) < 256 for one in numbers))
        if not fields or not name.strip() or not valid:
            raise VocSegError(
                f"{files.absolute(path)} has the line {printable(line)!r}. CVAT writes a name and a colour in each: "
                "name:r,g,b:parts:actions."
            )
        red, green, blue = map(int, numbers or "000")
        colours.append((plain_name(name), (red, green, blue) if numbers else None))
    if not any(colour for _, colour in colours):
        palette = voc_palette().tolist()
        colours = [(name, (red, green, blue)) for (name, _), (red, green, blue) in zip(colours, palette)]
    found: dict[Colour, str] = {}
    for name, colour in colours:
        if colour is not None and found.setdefault(colour, name) != name:
            raise VocSegError(
                f"{files.absolute(path)} gives {found[colour]} and {name} the same colour {colour}, so masks do not "
                "tell them apart. Give them different colours in CVAT and export again."
            )
    if "background" not in found.values():
        found.setdefault((0, 0, 0), "background")
    return found
