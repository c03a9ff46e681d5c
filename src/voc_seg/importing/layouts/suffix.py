"""Images and masks in the same folder, distinguished by a word in the name or by the ending.

``a.jpg`` and ``a_mask.png``, ``a_image.png`` and ``a_label.png``, ``a.jpg`` and ``a.png``, or ``image.jpg`` and
``mask.png`` in a folder for each image. ``labelme_export_json`` writes ``img.png``, ``label.png`` and
``label_names.txt`` for each image, and numbers the classes of each image separately (labelme's
``examples/tutorial/export_json.py``).
"""

import re
from collections import Counter
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import name_key

from ..files import Files
from ..formats.class_files import ClassFile, find_class_file, values_in_order
from ..formats.text_files import read_lines
from ..layout import Found
from ..notes import examples, masks_without_images
from ..pairing.folder_names import are_mask_words
from ..pairing.folder_pairs import find_folder_pairs, has_foreign_mark, pairs_with_splits
from ..pairing.folder_tree import FolderTree
from ..pairing.matching import Matched, Named, match_masks

TITLE = "images and masks in one folder, such as a.jpg and a_mask.png"
SPECIFIC = False

_END = re.compile(r"(?P<base>.*[^\W_]\)?)(?P<word>[\W_]+[^\W_]+)")


def find(files: Files) -> Found | None:
    """Find pairs in the same folder; folders named train, val and test give the split."""
    if has_foreign_mark(files) or _are_folder_pairs(files):
        return None
    images, masks = _divided(files)
    if not masks:
        return None
    matched = match_masks(images, masks)
    if not matched.pairs:
        return None
    classes = _labelme_names(files) or find_class_file(files, _common_folder(matched))
    return Found(
        pairs_with_splits(files, matched.pairs),
        classes.values,
        classes.colours,
        unlabelled=tuple(map(files.absolute, matched.images)),
        notes=(*matched.notes, *masks_without_images(matched.masks), *classes.notes),
    )


def _are_folder_pairs(files: Files) -> bool:
    try:
        return bool(find_folder_pairs(FolderTree(files)))
    except VocSegError:
        return False  # the layout of folders says why, unless this one is chosen


def _divided(files: Files) -> tuple[Named, Named]:
    """Return images and masks by their names; no masks if nothing distinguishes them."""
    stems = {path: path.with_suffix("").as_posix() for path in files.images}
    for masks in (_masks_by_suffix(stems), _masks_by_word(stems), _masks_by_ending(stems)):
        if masks:
            return {path: stem for path, stem in stems.items() if path not in masks}, {one: stems[one] for one in masks}
    return stems, {}


def _masks_by_suffix(stems: Named) -> set[PurePosixPath]:
    """Return files named as another file plus a word for masks: ``mask_1`` is an image of ``mask_1_mask``."""
    known = {name_key(stem) for stem in stems.values()}
    found: dict[str, set[PurePosixPath]] = {}
    for path, stem in stems.items():
        parts = _END.fullmatch(stem)
        if parts and are_mask_words(parts["word"]) and name_key(parts["base"]) in known:
            found.setdefault(parts["word"].lower(), set()).add(path)
    if len(found) < 2:
        return next(iter(found.values()), set())
    bases: Counter[str] = Counter()
    for word, paths in found.items():
        bases.update(name_key(stems[path])[: -len(word)] for path in paths)
    if doubtful := sorted(base for base, count in bases.items() if count > 1):
        base = doubtful[0]
        several = [path for paths in found.values() for path in sorted(paths) if name_key(stems[path]).startswith(base)]
        raise VocSegError(
            f"Images in {several[0].parent} have several masks: {examples(several)}. Move the files that are not the "
            "masks into another folder."
        )
    return {path for paths in found.values() for path in paths}


def _masks_by_word(stems: Named) -> set[PurePosixPath]:
    """Return files that begin or end with a word for masks, if there are others: ``a_mask`` beside ``a_sat``."""
    found = set()
    for path in stems:
        words = re.split(r"[\W_]+", path.stem)
        alone = len(words) == 1 and path.parent != PurePosixPath(".")  # mask.png in a folder for each image
        if (alone or len(words) > 1) and (are_mask_words(words[0]) or are_mask_words(words[-1])):
            found.add(path)
    return found if len(found) < len(stems) else set()


def _masks_by_ending(stems: Named) -> set[PurePosixPath]:
    """Return the PNG of each ``a.jpg`` and ``a.png``; other endings have no usual meaning."""
    by_stem: dict[str, list[PurePosixPath]] = {}
    for path, stem in stems.items():
        by_stem.setdefault(name_key(stem), []).append(path)
    twins = [paths for paths in by_stem.values() if len(paths) == 2]
    found = {path for paths in twins for path in paths if path.suffix.lower() == ".png"}
    photographs = {path for paths in twins for path in paths if path.suffix.lower() != ".png"}
    return found if len(found) == len(photographs) else set()


def _labelme_names(files: Files) -> ClassFile | None:
    """Return the class names beside every image if they are the same; None without such files."""
    lists = {path: tuple(read_lines(files.absolute(path))) for path in files.named("label_names.txt")}
    if not lists:
        return None
    first = next(iter(lists))
    if other := next((path for path, names in lists.items() if names != lists[first]), None):
        raise VocSegError(
            f"{files.absolute(first)} and {files.absolute(other)} name different classes: labelme_export_json numbers "
            "the classes of each image separately, so equal mask values mean different classes. Import the folder of "
            "labelme's JSON files instead."
        )
    return ClassFile(values_in_order(lists[first]), notes=(f"Class names are those of {first}.",))


def _common_folder(matched: Matched) -> PurePosixPath:
    folders = {image.parent for image in matched.pairs}
    first = next(iter(folders))
    return next(
        one for one in (first, *first.parents) if all(one == other or one in other.parents for other in folders)
    )
