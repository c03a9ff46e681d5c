"""The images of each split and their files in VOC's folder layout."""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voc_seg.system.errors import VocSegError

from .file_names import IMAGE_ENDINGS, MASK_ENDINGS, FolderFiles, find_files, list_names, stem_of
from .image_lists import OTHER_SPELLINGS, is_blank, list_path, read_ids
from .list_lines import id_of_line
from .missing import broken_link_advice, contents, describe_other_lists, is_broken_link, is_folder, require_folder
from .sources import Source, source_named
from .table import GROUP, is_table, read_table, table_paths

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class VOCSplit:
    """The images of one split, in the order of the official list."""

    name: str  # train, val or test
    source: str  # key of `SOURCES`
    ids: tuple[str, ...]  # image ids: file names without ending; empty if not public
    images: Path  # folder of ``<id>.jpg``, or the table that lists the files
    masks: Path  # folder of ``<id>.png``, or the table
    image_files: FolderFiles = field(default=FolderFiles(), repr=False, hash=False)  # names other than ``<id>.jpg``
    mask_files: FolderFiles = field(default=FolderFiles(), repr=False, hash=False)  # the same for masks
    groups: Mapping[str, str] = field(
        default_factory=dict, repr=False, hash=False
    )  # by image id, of those that have one
    # reads the index of an earlier run; None where none is kept
    read_index: Callable[[], "pd.DataFrame"] | None = field(default=None, repr=False, compare=False)

    def image_path(self, image_id: str) -> Path:
        """Return the file of an image; ``<id>.jpg`` if none was found."""
        return self.images / self.image_files.names.get(image_id, f"{image_id}.jpg")

    def mask_path(self, image_id: str) -> Path:
        """Return the mask file of an image; ``<id>.png`` if none was found."""
        return self.masks / self.mask_files.names.get(image_id, f"{image_id}.png")

    def problem(self, image_id: str) -> str:
        """Return why an image or its mask has no usable file; empty if no problem is known."""
        return self.image_files.problems.get(image_id) or self.mask_files.problems.get(image_id, "")

    def __len__(self) -> int:
        return len(self.ids)


def resolve_path(path: str | Path) -> Path:
    """Return a path from the settings with ``~`` and links resolved; broken links are kept."""
    return Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111 - Path's own fail for these


def find_voc_folder(root: Path | str, year: str | None) -> Path:
    """Find the folder with ``JPEGImages``, ``ImageSets`` and masks.

    Args:
        root: The folder itself, a ``VOCdevkit`` or a folder that contains one.
        year: Year of the folder's name, such as "2012"; None for a folder of any name, or a table (`read_table`).

    Raises:
        VocSegError: No such folder exists, or ``year`` is None and there are several.
    """
    root, name = Path(root), f"VOC{year}"
    if year is None:
        return resolve_path(root) if is_table(root) else _find_any_folder(root)
    for folder in (root / "VOCdevkit" / name, root / name):
        if is_folder(folder):
            return folder
    # Own data may have any name, but VOC2007 must not be read as VOC2012.
    own_name = resolve_path(root).name
    of_another_year = re.fullmatch(r"VOC\d{4}", own_name) and own_name != name
    if _has_lists(root) and not of_another_year:
        return root
    absent = f"No {name} data in {root.absolute()} ({contents(root)}). "
    if advice := broken_link_advice([root / "VOCdevkit", root / "VOCdevkit" / name, root / name, *_list_folders(root)]):
        raise VocSegError(absent + advice)
    raise VocSegError(
        f"{absent}Looked for VOCdevkit/{name}, {name} and ImageSets/Segmentation in it. Point voc_root at a folder "
        "that has one of them, for example --params voc_root=/data/VOCdevkit."
    )


def _find_any_folder(root: Path) -> Path:
    candidates = [root, *sorted(root.glob("*/")), *sorted(root.glob("VOCdevkit/*/"))] if is_folder(root) else []
    found = [folder for folder in candidates if _has_lists(folder)]
    if len(found) == 1 or (found and found[0] == root):
        return found[0]
    several = f"Several folders of {root.absolute()} have it: {', '.join(folder.name for folder in found)}. "
    nothing = f"No data in VOC layout in {root.absolute()} ({contents(root)}). "
    links = [root / "VOCdevkit", *(path for folder in candidates for path in _list_folders(folder))]
    if not found and (advice := broken_link_advice(links)):
        raise VocSegError(nothing + advice)
    without_lists = next((folder for folder in candidates if is_folder(folder / "JPEGImages")), None)
    if not found and without_lists:
        raise VocSegError(
            f"{nothing}{without_lists.absolute()} has JPEGImages, but no image lists: write train.txt and val.txt with "
            "one image id a line (the file name without ending) into its folder ImageSets/Segmentation. Or have the "
            f"images divided by: kedro import-data {shlex.quote(str(root))} --name NAME"
        )
    raise VocSegError(
        (several if found else nothing) + "Point voc_root at the folder that has JPEGImages, SegmentationClass and "
        "ImageSets/Segmentation in it, for example --params voc_root=/data/mine. Other layouts are recognised by: "
        f"kedro import-data {shlex.quote(str(root))} --name NAME"
    )


def _list_folders(folder: Path) -> tuple[Path, Path]:
    return folder / "ImageSets", folder / "ImageSets" / "Segmentation"


def _has_lists(folder: Path) -> bool:
    return is_folder(folder / "ImageSets" / "Segmentation")


def read_split(folder: Path, source: str, split: str) -> VOCSplit:
    """Read the list of one split; it has no ids if the source has no public masks for it.

    Args:
        folder: The folder or table from `find_voc_folder`.
        source: Key of `SOURCES`.
        split: train, val or test.

    Raises:
        VocSegError: The source or split is unknown; the list, image folder or mask folder is missing; the list of a
            required split is empty, or a list repeats an id or names files of other folders.
    """
    known = source_named(source)
    if split not in known.lists:
        raise VocSegError(f"Unknown split {split!r} of {source}. Known are: {', '.join(known.lists)}.")
    if is_table(folder):
        return _split_of_table(folder, known, split)
    images, masks = folder / "JPEGImages", folder / known.mask_folder(split)
    nothing = VOCSplit(split, source, (), images, masks)
    name = known.lists[split]
    if name is None:
        return nothing
    path = list_path(folder, name)
    if not os.path.lexists(path) or is_broken_link(path):
        if split in known.optional and not is_broken_link(path):
            return nothing
        raise VocSegError(_missing_list(path, known, split))
    if split in known.optional and is_blank(path):
        return nothing  # written by scripts that divide images into lists
    require_folder(images, f"The images of {source} {split}", "Put the images into that folder.")
    require_folder(
        masks,
        f"The masks of {source} {split}",
        "Put the PNG masks (one class index a pixel, 255 for void) into that folder.",
    )
    names = list_names(images)
    stems = {stem for entry in names if (stem := stem_of(entry))}
    ids = read_ids(path, lambda line: id_of_line(line, stems, images.name, masks.name))
    image_files = find_files(images, names, ids, "image", IMAGE_ENDINGS)
    mask_files = find_files(masks, list_names(masks), ids, "mask", MASK_ENDINGS)
    found = VOCSplit(split, source, ids, images, masks, image_files, mask_files)
    # The official 2012 development kit lists its test images without their masks.
    kept_back = known.name == "sample" and split in known.optional
    if kept_back and not any(os.path.lexists(found.mask_path(image_id)) for image_id in found.ids):
        return nothing
    return found


def _split_of_table(path: Path, source: Source, split: str) -> VOCSplit:
    table = read_table(path)
    rows = table[table["split"] == split]
    if rows.empty and split not in source.optional:
        raise VocSegError(f"The table of images {path} has no row with the split {split}. Assign images to it.")
    ids = tuple(rows["image_id"])
    images, masks = (FolderFiles(dict(zip(ids, table_paths(path, rows[name].tolist())))) for name in ("image", "mask"))
    groups = {image_id: group for image_id, group in zip(ids, rows[GROUP]) if group}
    return VOCSplit(split, source.name, ids, path, path, images, masks, groups)


def _missing_list(path: Path, source: Source, split: str) -> str:
    text = f"The {split} list of {source.name} should be {path}, which does not exist."
    if split in source.mask_folders:
        other = "".join(f" (or {name}.txt)" for name in OTHER_SPELLINGS.get(path.stem, ()))
        return (
            f"{text} {source.name} needs that list{other} with the SBD ids, and the SBD masks as PNG in "
            f"{source.mask_folder(split)} beside JPEGImages. Without voc_root both are downloaded and "
            "created; or use the voc2012 source."
        )
    if advice := broken_link_advice([path]):
        return f"{text} {advice}"
    other = describe_other_lists(path.parent)
    return f"{text} {other}Write it, one image id a line, or point voc_root at a complete VOCdevkit."
