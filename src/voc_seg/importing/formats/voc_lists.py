"""Images, masks and lists of folders in VOC's layout, written by VOC itself, labelme2voc or CVAT."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, listed, name_key, printable
from voc_seg.voc.list_lines import id_of_line

from ..files import Files
from ..layout import LabelledImage
from ..notes import examples, masks_without_images
from ..pairing.folder_names import SPLIT_WORDS
from ..pairing.folder_tree import FolderTree, stem_below
from ..pairing.matching import Matched, match_masks
from .text_files import read_lines

_SUPERFLUOUS = ("trainval", "default", "all")
"""Lists of all images: they say nothing where a list for each split exists."""


@dataclass(frozen=True)
class ListedImages:
    """The pairs of a folder, with the splits of its lists."""

    images: tuple[LabelledImage, ...]
    unlabelled: tuple[PurePosixPath, ...]  # images without a mask
    stems: tuple[str, ...]  # relative path of each image, without ending
    notes: tuple[str, ...]


def only_folder(files: Files, folders: list[PurePosixPath], what: str) -> PurePosixPath | None:
    """Return the only folder of a list, None if it is empty. Raises VocSegError if there are several."""
    if len(folders) > 1:
        names = listed([printable(str(files.absolute(folder))) for folder in folders])
        raise VocSegError(f"{files.root} holds several folders in {what}: {names}. Import one of them.")
    return folders[0] if folders else None


def mask_folder(tree: FolderTree, folder: PurePosixPath, *names: str) -> PurePosixPath | None:
    """Return the first subfolder of these names with files of an image's ending: ``SegmentationClass`` may hold npy."""
    found = (tree.child(folder, name) for name in names)
    return next((masks for masks in found if masks and tree.images_below(masks)), None)


def image_lists(tree: FolderTree, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the lists in ``ImageSets/Segmentation`` of a folder; there may be none."""
    sets = tree.child(folder, "ImageSets")
    lists = tree.child(sets, "Segmentation") if sets else None
    return tuple(path for path in tree.files.folders.get(lists, ()) if path.suffix.lower() == ".txt") if lists else ()


def match_folders(tree: FolderTree, images: PurePosixPath, masks: PurePosixPath) -> Matched:
    """Match the files below a folder of images and a folder of masks."""
    return match_masks(
        {path: stem_below(path, images) for path in tree.images_below(images)},
        {path: stem_below(path, masks) for path in tree.images_below(masks)},
    )


def read_listed(
    files: Files, matched: Matched, images: PurePosixPath, masks: PurePosixPath, lists: tuple[PurePosixPath, ...]
) -> ListedImages:
    """Give pairs their splits. Without a list, or if all are empty, all pairs are used and have no split.

    Images in several lists are in the last of train, val and test that has them: training must not see them.

    Raises:
        VocSegError: A list cannot be read, or lists have ids and no image has one of them.
    """
    stems = {path: stem_below(path, images) for path in (*matched.pairs, *matched.images)}
    splits, notes = _splits(files, lists, stems, images.name, masks.name)
    notes = [*matched.notes, *masks_without_images(matched.masks), *notes]
    pairs = matched.pairs
    if splits is not None:
        if outside := [path for path in pairs if name_key(stems[path]) not in splits]:
            notes.append(
                f"{counted(len(outside), 'image with a mask is', 'images with masks are')} in no list and not used: "
                f"{examples(outside)}."
            )
        pairs = {path: mask for path, mask in pairs.items() if name_key(stems[path]) in splits}
    return ListedImages(
        tuple(
            LabelledImage(files.absolute(image), files.absolute(mask), (splits or {}).get(name_key(stems[image]), ""))
            for image, mask in pairs.items()
        ),
        matched.images,
        tuple(stems[path] for path in pairs),
        tuple(notes),
    )


def _splits(
    files: Files, lists: tuple[PurePosixPath, ...], stems: Mapping[PurePosixPath, str], images: str, masks: str
) -> tuple[dict[str, str] | None, list[str]]:
    """Return the split by key of a stem, None without a list that has ids, and notes."""
    known = set(stems.values())
    ids = {path: _read_list(files, path, known, images, masks) for path in lists}
    filled = {path: names for path, names in ids.items() if names}
    by_split = {path: SPLIT_WORDS[path.stem.lower()] for path in filled if path.stem.lower() in SPLIT_WORDS}
    notes = [f"The list {path} is empty." for path in lists if path not in filled]
    if not filled:
        return None, notes
    used = {path: filled[path] for path in by_split} or filled
    if ignored := [path for path in filled if path not in used and path.stem.lower() not in _SUPERFLUOUS]:
        notes.append(f"Lists other than those of train, val and test are not used: {examples(ignored)}.")
    found: dict[str, str] = {}
    several = []
    for split in ("", "train", "val", "test"):
        for path, names in used.items():
            if by_split.get(path, "") == split:
                several += [name for key, name in names.items() if found.get(key, split) != split]
                found |= dict.fromkeys(names, split)
    if several:
        notes.append(
            f"{counted(len(several), 'image is', 'images are')} in several lists and kept in test or val only: "
            f"{printable(listed(several, 3))}."
        )
    keys = {name_key(stem) for stem in stems.values()}
    if missing := [name for names in used.values() for key, name in names.items() if key not in keys]:
        shown = printable(listed(missing, 3))
        if not keys & found.keys():
            raise VocSegError(
                f"None of the {len(found):,} images in the lists of {files.absolute(lists[0].parent)} is in {images}: "
                f"{shown}. Each line must be the name of an image, without ending."
            )
        notes.append(f"{counted(len(missing), 'listed image does', 'listed images do')} not exist: {shown}.")
    return found, notes


def _read_list(files: Files, path: PurePosixPath, known: set[str], images: str, masks: str) -> dict[str, str]:
    """Return the ids of a list by their keys; lines may be ids, file names or paths."""
    found = {}
    for line in read_lines(files.absolute(path)):
        text = line.strip("\"'").replace("\\", "/")
        inside = f"/{text}".rpartition(f"/{images}/")[2].removeprefix("/")
        stem = PurePosixPath(inside).with_suffix("").as_posix() if inside.strip("/.") else ""
        image_id = next((one for one in (text, inside, stem) if one in known), None)
        if image_id is None:
            try:
                image_id = id_of_line(text, known, images, masks)
            except VocSegError as error:
                if "/" not in inside:
                    raise VocSegError(f"{files.absolute(path)} has the line {printable(line)!r}: {error}.") from error
                image_id = text  # in a subfolder, where there is no such image
        found[name_key(image_id)] = image_id
    return found
