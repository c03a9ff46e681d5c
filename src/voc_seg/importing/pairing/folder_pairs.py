"""Folders of images and the folders of their masks, found by their names."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed, printable

from ..files import Files
from ..formats.text_files import first_line
from ..layout import LabelledImage
from ..notes import examples
from .folder_names import FolderName, parse_folder_name, split_of_folders
from .folder_tree import FolderTree, stem_below
from .matching import Matched, Named, match_masks

FOREIGN_MARKS = (
    *("_annotations.coco.json", "_classes.csv"),
    *("_gtfine_labelids.png", "_gtfine_labeltrainids.png", "_gtcoarse_labelids.png"),
)
"""Ends of file names, in lower case, that belong to other layouts: Roboflow's exports and Cityscapes."""


_OTHER_FORMATS = (".gif", ".npy", ".npz", ".mat", ".pgm", ".ppm", ".jp2", ".nii")


@dataclass(frozen=True)
class FolderPair:
    """A folder of images and a folder of their masks."""

    images: PurePosixPath
    masks: PurePosixPath
    matched: Matched


def has_foreign_mark(files: Files) -> bool:
    """Return whether a file marks the folder as another tool's export."""
    return any(path.name.lower().endswith(FOREIGN_MARKS) for path in files)


def find_folder_pairs(tree: FolderTree) -> list[FolderPair]:
    """Return each folder that is named after masks with the folder of its images: a sibling, or its parent.

    Raises:
        VocSegError: No image and mask in such folders have the same name, several folders fit equally well, or there
            are YOLO's text files or files of another format instead of masks.
    """
    found: list[FolderPair] = []
    unmatched: list[FolderPair] = []
    problems: list[VocSegError] = []
    outer: set[PurePosixPath] = set()
    for masks in (every := _mask_folders(tree)):
        if not outer.isdisjoint(masks.parents):
            continue
        tried = []
        for images, direct in _image_folders(tree, masks):
            try:
                inside = {one for one in every if images in one.parents} if images == masks.parent else {masks}
                matched = match_masks(_named(tree, images, inside, direct), _named(tree, masks))
            except VocSegError as error:
                problems.append(error)
            else:
                tried.append(FolderPair(images, masks, matched))
        if any(pair.matched.pairs for pair in tried):
            found.append(_best(tree, tried))
            outer.add(masks)
        else:
            unmatched += [pair for pair in tried if parse_folder_name(pair.images.name).role == "image"]
    _require_one_mask_folder(tree, found)
    if not found:
        _refuse_yolo(tree)
        _refuse_other_formats(tree)
    if not found and problems:
        raise problems[0]
    if not found and unmatched:
        pair = unmatched[0]
        raise VocSegError(
            f"No mask in {tree.files.absolute(pair.masks)} has the name of an image in "
            f"{tree.files.absolute(pair.images)}: {examples(pair.matched.masks)} and {examples(pair.matched.images)}. "
            "Name each mask as its image, apart from a word such as _mask."
        )
    return found


def pairs_with_splits(files: Files, pairs: Mapping[PurePosixPath, PurePosixPath]) -> tuple[LabelledImage, ...]:
    """Return pairs of image and mask, with the splits that the folders of the images name.

    If it is the same split for all, they have none: ``test/images`` is a folder named test, not a test set.
    """
    splits = {image: split_of_folders(image) for image in pairs}
    several = len(set(splits.values())) > 1
    return tuple(
        LabelledImage(files.absolute(image), files.absolute(mask), splits[image] if several else "")
        for image, mask in pairs.items()
    )


def _mask_folders(tree: FolderTree) -> list[PurePosixPath]:
    """Return the folders that are named after masks and have files with an image's ending, outer ones first."""
    named = [folder for folder in tree.children if parse_folder_name(folder.name).role == "mask"]
    return sorted((one for one in named if tree.images_below(one)), key=lambda one: (len(one.parts), one))


def _image_folders(tree: FolderTree, masks: PurePosixPath) -> list[tuple[PurePosixPath, bool]]:
    """Return the folders that may have the images of these masks, and whether only files directly in them count."""
    named = parse_folder_name(masks.name)
    siblings = {
        folder: parse_folder_name(folder.name)
        for folder in tree.children[masks.parent]
        if folder != masks and tree.images_below(folder)
    }
    images = [one for one, name in siblings.items() if name.role == "image" and name.split == named.split]
    if named.split:  # train and trainannot
        images += [one for one, name in siblings.items() if name == FolderName("", named.split)]
    if images:
        return [(one, False) for one in images]
    return [(masks.parent, bool(tree.images_in(masks.parent)))]


def _named(
    tree: FolderTree, folder: PurePosixPath, without: AbstractSet[PurePosixPath] = frozenset(), direct: bool = False
) -> Named:
    paths = tree.images_in(folder) if direct else tree.images_below(folder)
    return {path: _usual_splits(stem_below(path, folder)) for path in paths if without.isdisjoint(path.parents)}


def _usual_splits(stem: str) -> str:
    """Give folders named by a split its usual name, since ``images/val`` goes with ``masks/validation``."""
    *folders, name = stem.split("/")
    parsed = ((folder, parse_folder_name(folder)) for folder in folders)
    return "/".join([*(folder if said.role else said.split or folder for folder, said in parsed), name])


def _best(tree: FolderTree, tried: Sequence[FolderPair]) -> FolderPair:
    def rank(pair: FolderPair) -> tuple[int, bool]:
        alike = parse_folder_name(pair.images.name).rest == parse_folder_name(pair.masks.name).rest
        return len(pair.matched.pairs), alike

    first, *others = sorted(tried, key=rank, reverse=True)
    if others and rank(others[0]) == rank(first):
        raise VocSegError(
            f"The masks in {tree.files.absolute(first.masks)} fit the images in {first.images.name} as well as those "
            f"in {others[0].images.name}. Move one of these folders elsewhere."
        )
    return first


def _require_one_mask_folder(tree: FolderTree, pairs: Sequence[FolderPair]) -> None:
    taken: dict[PurePosixPath, PurePosixPath] = {}
    for pair in pairs:
        for image in pair.matched.pairs:
            if image in taken:
                raise VocSegError(
                    f"{tree.files.absolute(image)} has a mask in {taken[image]} and one in {pair.masks}. Move the "
                    "folder that does not hold the masks elsewhere."
                )
            taken[image] = pair.masks


def _refuse_yolo(tree: FolderTree) -> None:
    """Raise if a folder named after labels has text files of numbers, as YOLO's do."""
    stems = {path.stem for path in tree.files.images}
    for folder, paths in tree.files.folders.items():
        if not any(parse_folder_name(part).role == "mask" for part in folder.parts):
            continue
        texts = [path for path in paths if path.suffix.lower() == ".txt" and path.stem in stems]
        if texts and (words := first_line(tree.files.absolute(texts[0])).split()) and _are_numbers(words):
            shown = printable(listed([path.name for path in texts], 2))
            what = "polygons" if len(words) > 6 else "boxes"
            raise VocSegError(
                f"{tree.files.absolute(folder)} has text files of YOLO with {what} ({shown}), not masks. Export masks "
                "or COCO JSON from the tool that labelled the images."
            )


def _refuse_other_formats(tree: FolderTree) -> None:
    """Raise if a folder named after masks has masks in a format that is not read."""
    for folder, paths in tree.files.folders.items():
        others = [path for path in paths if path.suffix.lower() in _OTHER_FORMATS]
        if others and tree.files.images and parse_folder_name(folder.name).role == "mask":
            raise VocSegError(
                f"{tree.files.absolute(folder)} has {examples(others, 2)}, a format that is not read. Save the "
                "masks as PNG with one class index a pixel."
            )


def _are_numbers(words: Sequence[str]) -> bool:
    return len(words) >= 5 and all(word.lstrip("-").replace(".", "", 1).replace("e-", "").isdigit() for word in words)
