"""Cityscapes, and other data in its naming: ``*_leftImg8bit.png`` with ``*_gtFine_labelIds.png``.

Folders, splits and the dummy masks of test: README of github.com/mcordts/cityscapesScripts. Ids, names and colours:
``cityscapesscripts/helpers/labels.py`` there. ``label_colors.txt``: Datumaro's ``cityscapes_format.py``, which CVAT
exports with.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from voc_seg.system.errors import VocSegError

from ..files import Files
from ..formats.class_files import read_colour_names
from ..formats.json_files import read_json
from ..inspect import read_stored_mask
from ..layout import VOID_NAME, Colour, Found, LabelledImage
from ..notes import masks_without_images

TITLE = "Cityscapes: *_leftImg8bit.png with *_gtFine_labelIds.png"
SPECIFIC = True

CLASSES: dict[str, tuple[int, Colour]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Id and colour of the 19 classes of the benchmark, in the order of their train ids."""
IDS = 34
"""Ids 0 to 33; those of no class are void in the benchmark."""

_TRAIN = (
    "aachen bochum bremen cologne darmstadt dusseldorf erfurt hamburg hanover jena krefeld monchengladbach strasbourg "
    "stuttgart tubingen ulm weimar zurich"
)
_TRAIN_EXTRA = (
    "augsburg bad-honnef bamberg bayreuth dortmund dresden duisburg erlangen freiburg heidelberg heilbronn karlsruhe "
    "konigswinter konstanz mannheim muhlheim-ruhr nuremberg oberhausen saarbrucken schweinfurt troisdorf wuppertal "
    "wurzburg"
)
_TEST_CITIES = frozenset(["berlin", "bielefeld", "bonn", "leverkusen", "mainz", "munich"])
_CITIES = frozenset(f"{_TRAIN} {_TRAIN_EXTRA} frankfurt lindau munster".split()) | _TEST_CITIES
_IGNORED_LABELS = (
    "unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, parking, rail track, "
    "guard rail, bridge, tunnel, polegroup, caravan, trailer, license plate"
)
_MASK = re.compile(r"(.+)_(gtfine|gtcoarse)_(labelids|labeltrainids)", re.IGNORECASE)
_IMAGE = re.compile(r"(.+)_leftimg8bit", re.IGNORECASE)
_TYPES = ("gtfine", "gtcoarse", "leftimg8bit")
_SPLITS = {"train": "train", "train_extra": "train", "val": "val", "test": "test"}

_Key = tuple[str, ...]  # split, city and frame: the folders below that of the type, and the start of the file name


@dataclass(frozen=True)
class _Masks:
    """The masks to use, by frame."""

    paths: dict[_Key, PurePosixPath]
    train_ids: bool
    notes: tuple[str, ...]


def find(files: Files) -> Found | None:
    """Return the images with a mask; see `voc_seg.importing.layout.Layout.find`."""
    images = _by_frame(files.images, _IMAGE)
    masks = _choose(files)
    if not masks.paths:
        return None
    if not images:
        raise VocSegError(
            f"{files.root} holds masks in Cityscapes' naming, but no images *_leftImg8bit. Put the folder leftImg8bit "
            "beside the folder of the masks."
        )
    official = _is_official(files, masks.paths)
    draw = _draw if official and masks.train_ids else None
    values, colours = _official_names() if official else _own_names(files)
    notes, found, unlabelled, dummies = list(masks.notes), [], [], 0
    for key, image in images.items():
        mask = masks.paths.get(key)
        dummy = len(key) == 3 and key[0] == "test" and key[1] in _TEST_CITIES
        dummies += mask is not None and dummy
        if mask is None or dummy:
            unlabelled.append(files.absolute(image))
            continue
        split, path = _SPLITS.get(key[0], "") if len(key) > 1 else "", files.absolute(mask)
        found.append(LabelledImage(files.absolute(image), None if draw else path, split, path if draw else None))
    if dummies:
        notes.append(
            f"The {dummies} test masks of Cityscapes are dummies without classes, as its labels are not public: test "
            "is empty, and its images have no masks."
        )
    notes += masks_without_images([path for key, path in masks.paths.items() if key not in images])
    if draw:
        notes.append("Train ids are written as Cityscapes' original ids, so that one environment fits both.")
    if not values:
        notes.append("These ids are not Cityscapes' own, and no label_colors.txt names them: classes have numbers.")
    return Found(tuple(found), values, colours, draw=draw, unlabelled=tuple(unlabelled), notes=tuple(notes))


def _by_frame(paths: Iterable[PurePosixPath], pattern: re.Pattern[str]) -> dict[_Key, PurePosixPath]:
    found = {}
    for path in paths:
        if match := pattern.fullmatch(path.stem):
            found[(*_below_type(path), match[1])] = path
    return found


def _below_type(path: PurePosixPath) -> tuple[str, ...]:
    """Return the folders below ``gtFine`` or ``leftImg8bit``; all folders if there is none of these."""
    folders = path.parent.parts
    last = max((index for index, name in enumerate(folders) if name.lower() in _TYPES), default=-1)
    return folders[last + 1 :]


def _choose(files: Files) -> _Masks:
    """Return fine masks rather than coarse ones, and original ids rather than train ids."""
    kinds: dict[tuple[str, str], dict[_Key, PurePosixPath]] = {}
    for path in files.masks:
        if match := _MASK.fullmatch(path.stem):
            frame = (*_below_type(path), match[1])
            kinds.setdefault((match[2].lower(), match[3].lower()), {})[frame] = path
    for coverage in ("gtfine", "gtcoarse"):
        for ids in ("labelids", "labeltrainids"):
            if chosen := kinds.get((coverage, ids)):
                return _Masks(chosen, ids == "labeltrainids", _coverage_notes(coverage, chosen, kinds))
    return _Masks({}, False, ())


def _coverage_notes(
    coverage: str, chosen: dict[_Key, PurePosixPath], kinds: dict[tuple[str, str], dict[_Key, PurePosixPath]]
) -> tuple[str, ...]:
    coarse = {key for (name, _), paths in kinds.items() if name == "gtcoarse" for key in paths}
    if coverage == "gtcoarse":
        return ("The masks are the coarse ones (gtCoarse), as there are no fine ones.",)
    if coarse:
        return (
            f"Fine masks (gtFine) are used; {len(coarse - set(chosen))} images have only coarse ones (gtCoarse) and "
            "are not used for training.",
        )
    return ()


def _official_names() -> tuple[dict[int, str], dict[Colour, str]]:
    """Return the names of the stored ids, and the colours of the classes."""
    values = dict.fromkeys(range(IDS), VOID_NAME) | {number: name for name, (number, _) in CLASSES.items()}
    return values, {colour: name for name, (_, colour) in CLASSES.items()}


def _own_names(files: Files) -> tuple[dict[int, str], dict[Colour, str]]:
    """Return the same from ``label_colors.txt``, whose black class is number 0; nothing without that file."""
    listed = files.named("label_colors.txt")
    if not listed:
        return {}, {}
    colours = read_colour_names(files.absolute(listed[0]))
    background = colours.get((0, 0, 0), "background")
    names = [background, *(name for name in colours.values() if name != background)]
    return dict(enumerate(names)), colours


def _is_official(files: Files, masks: dict[_Key, PurePosixPath]) -> bool:
    """Return whether the ids are those of Cityscapes: by the cities, or by the labels of a file of polygons."""
    if all(len(key) > 1 and key[-2] in _CITIES for key in masks):
        return True
    known = {*CLASSES, *_IGNORED_LABELS.split(", ")}
    for path in files:
        if path.name.lower().endswith(("_gtfine_polygons.json", "_gtcoarse_polygons.json")):
            labels = _labels(files.absolute(path))
            return bool(labels) and {label.removesuffix("group") for label in labels} <= known
    return False


def _labels(path: Path) -> set[str]:
    """Return the labels in a file of polygons; none if it is not one."""
    try:
        return {str(one["label"]) for one in read_json(path)["objects"]}
    except (VocSegError, KeyError, TypeError):
        return set()


def _draw(image: LabelledImage) -> np.ndarray:
    """Return a mask of train ids with Cityscapes' original ids, so that one environment fits both."""
    path: Path = image.annotation
    stored = read_stored_mask(path)
    if stored.values is None:
        raise VocSegError(f"mask in colours: {path.name} should hold train ids, 0 to {len(CLASSES) - 1} and 255")
    ids = np.zeros(256, np.uint8)
    ids[: len(CLASSES)] = [number for number, _ in CLASSES.values()]
    unknown = sorted(set(np.unique(stored.values).tolist()) - {*range(len(CLASSES)), 255})
    if unknown:
        raise VocSegError(f"unknown train ids: {path.name} holds {unknown[0]}, not 0 to {len(CLASSES) - 1} or 255")
    return ids[stored.values]
