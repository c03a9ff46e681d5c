"""Pascal Context on VOC 2010: ``trainval/*.mat``, or the PNG masks that MMSegmentation's converter writes.

Numbers in the .mat files and the splits: ``pascalcontext_layers.py`` of github.com/shelhamer/fcn.berkeleyvision.org,
which names ``LabelMap``, counts labels.txt from 1, and takes ``ImageSets/Main``. PNG: ``SegmentationClassContext`` and
``ImageSets/SegmentationContext`` of ``tools/dataset_converters/pascal_context.py`` in github.com/open-mmlab/
mmsegmentation: 0 is background, 1 to 59 are the classes in alphabetical order (issue 1940 there). The .mat files are
drawn in this order too.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted

from ..files import Files
from ..formats.text_files import first_words, read_lines
from ..layout import Found, LabelledImage

TITLE = "Pascal Context: JPEGImages with trainval/*.mat or SegmentationClassContext/*.png"
SPECIFIC = True

LABELS: dict[str, int] = {
    "aeroplane": 2, "bag": 9, "bed": 18, "bedclothes": 19, "bench": 22, "bicycle": 23, "bird": 25, "boat": 31,
    "book": 33, "bottle": 34, "building": 44, "bus": 45, "cabinet": 46, "car": 59, "cat": 65, "ceiling": 68,
    "chair": 72, "cloth": 80, "computer": 85, "cow": 98, "cup": 104, "curtain": 105, "dog": 113, "door": 115,
    "fence": 144, "floor": 158, "flower": 159, "food": 162, "grass": 187, "ground": 189, "horse": 207,
    "keyboard": 220, "light": 232, "motorbike": 258, "mountain": 259, "mouse": 260, "person": 284, "plate": 295,
    "platform": 296, "pottedplant": 308, "road": 324, "rock": 326, "sheep": 347, "shelves": 349, "sidewalk": 354,
    "sign": 355, "sky": 360, "snow": 366, "sofa": 368, "table": 397, "track": 415, "train": 416, "tree": 420,
    "truck": 424, "tvmonitor": 427, "wall": 440, "water": 445, "window": 454, "wood": 458,
}  # fmt: skip
"""The 59 classes and their numbers among the 459 labels of labels.txt; other labels are background."""
CLASSES: tuple[str, ...] = ("background", *LABELS)

_MASKS = "SegmentationClassContext"
_LISTS = ("SegmentationContext", "Main")


def find(files: Files) -> Found | None:
    """Return the images with a mask or a .mat file; see `voc_seg.importing.layout.Layout.find`."""
    masks = {path.stem: path for path in files.masks if path.parent.name == _MASKS}
    labels = {} if masks else _label_maps(files)
    if not masks and not labels:
        return None
    images = {path.stem: path for path in files.images if path.parent.name == "JPEGImages"}
    if not images:
        raise VocSegError(
            f"{files.root} holds masks of Pascal Context, but no folder JPEGImages. Unpack "
            "VOCtrainval_03-May-2010.tar of VOC 2010 beside them."
        )
    if labels:
        _check_labels(files)
    splits, lists = _splits(files, set(masks or labels))
    notes = [f"The splits are those of {lists}."] if lists else ["No list of a split was found."]
    found, unlabelled, unlisted = [], [], 0
    for stem, path in images.items():
        image = files.absolute(path)
        if stem not in (masks or labels):
            unlabelled.append(image)
        elif splits and stem not in splits:
            unlisted += 1
        elif masks:
            found.append(LabelledImage(image, files.absolute(masks[stem]), splits.get(stem, "")))
        else:
            found.append(LabelledImage(image, None, splits.get(stem, ""), files.absolute(labels[stem])))
    if unlisted:
        notes.append(f"{counted(unlisted, 'image with a mask is', 'images with masks are')} in no list and not used.")
    if lost := len(set(splits) - set(images)):
        notes.append(f"{counted(lost, 'listed image is', 'listed images are')} not in JPEGImages.")
    return Found(
        tuple(found),
        dict(enumerate(CLASSES)),
        draw=_draw if labels else None,
        unlabelled=tuple(unlabelled),
        notes=tuple(notes),
    )


def _label_maps(files: Files) -> dict[str, PurePosixPath]:
    """Return the .mat files of the official archive, which unpacks to a folder trainval."""
    return {path.stem: path for path in files.with_endings((".mat",)) if path.parent.name == "trainval"}


def _splits(files: Files, labelled: set[str]) -> tuple[dict[str, str], str]:
    """Return the split of each image, and the folder of the lists that name it."""
    for folder in _LISTS:
        found: dict[str, str] = {}
        for split in ("val", "train"):
            for path in files.named(f"{split}.txt"):
                if path.parent.name == folder:
                    found |= dict.fromkeys(map(_stem, first_words(files.absolute(path))), split)
        if labelled & set(found):
            return {name: split for name, split in found.items() if name in labelled}, f"ImageSets/{folder}"
    return {}, ""


def _stem(word: str) -> str:
    return word.replace("\\", "/").rpartition("/")[2].removesuffix(".jpg")


def _check_labels(files: Files) -> None:
    """Refuse .mat files whose labels.txt numbers the classes in another way."""
    for path in files.named("labels.txt"):
        pairs = (line.partition(":") for line in read_lines(files.absolute(path)))
        names = {name.strip().replace(" ", ""): number.strip() for number, _, name in pairs}
        for name, number in LABELS.items():
            if names.get(name, str(number)) != str(number):
                raise VocSegError(
                    f"{files.absolute(path)} numbers {name} {names[name]}, but Pascal Context's is {number}. Use the "
                    "labels.txt and trainval.tar.gz of the official page."
                )


def _draw(image: LabelledImage) -> np.ndarray:
    """Return the 60 classes of a .mat file; labels of no class are background."""
    from scipy.io import loadmat  # slow to import, and rarely needed

    path: Path = image.annotation
    try:
        with path.open("rb") as file:
            labels = np.asarray(loadmat(file)["LabelMap"])
    except Exception as error:  # loadmat raises many exception types on malformed files
        raise VocSegError(f"damaged .mat: {path.name} has no LabelMap ({type(error).__name__}: {error})") from error
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.unsignedinteger) or not labels.size:
        raise VocSegError(f"unknown LabelMap: that of {path.name} is {labels.dtype} {labels.shape}, not uint16 (H, W)")
    meaning = np.zeros(int(labels.max()) + 1 + max(LABELS.values()), np.uint8)
    meaning[list(LABELS.values())] = np.arange(1, len(CLASSES))
    return meaning[labels]
