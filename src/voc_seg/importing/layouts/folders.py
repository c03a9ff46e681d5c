"""Pairs of folders under their usual names: ``images`` and ``masks``, also inside or around train, val and test."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from voc_seg.system.names import counted

from ..files import Files
from ..formats.class_files import find_class_file
from ..layout import Found
from ..notes import examples, masks_without_images
from ..pairing.folder_names import parse_folder_name
from ..pairing.folder_pairs import FolderPair, find_folder_pairs, has_foreign_mark, pairs_with_splits
from ..pairing.folder_tree import FolderTree

TITLE = "a folder of images and a folder of masks, such as images and masks"
SPECIFIC = False


def find(files: Files) -> Found | None:
    """Find pairs of folders; their names, or those of folders around or in them, may give the split."""
    if has_foreign_mark(files):
        return None
    tree = FolderTree(files)
    pairs = find_folder_pairs(tree)
    if not pairs:
        return None
    classes = find_class_file(files, pairs[0].masks)
    unlabelled, notes = _leftover(tree, pairs)
    return Found(
        pairs_with_splits(files, dict(both for pair in pairs for both in pair.matched.pairs.items())),
        classes.values,
        classes.colours,
        unlabelled=tuple(map(files.absolute, unlabelled)),
        notes=(*(note for pair in pairs for note in pair.matched.notes), *notes, *classes.notes),
    )


def _leftover(tree: FolderTree, pairs: Sequence[FolderPair]) -> tuple[list[PurePosixPath], tuple[str, ...]]:
    """Return images without masks, in folders named after images or splits, and notes on all other files."""
    used = {path for pair in pairs for both in pair.matched.pairs.items() for path in both}
    lone_masks = [mask for pair in pairs for mask in pair.matched.masks]
    in_pairs = {image for pair in pairs for image in pair.matched.images}
    masks = {pair.masks for pair in pairs}
    unlabelled: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    for path in tree.files.images:
        if path in used:
            continue
        if path in in_pairs:
            unlabelled.append(path)
        elif masks.isdisjoint(path.parents):  # matching has notes on the files among masks
            (unlabelled if _named_after_images(path) else others).append(path)
    notes = masks_without_images(lone_masks)
    if others:
        notes = (
            *notes,
            f"{counted(len(others), 'other image is', 'other images are')} in folders of other names and not used: "
            f"{examples(others)}.",
        )
    return unlabelled, notes


def _named_after_images(path: PurePosixPath) -> bool:
    parsed = parse_folder_name(path.parent.name)
    return parsed.role == "image" or (not parsed.role and bool(parsed.split))
