"""Oxford-IIIT Pet: ``images/*.jpg`` with ``annotations/trimaps/*.png``.

Values and lists: ``annotations/README`` of the data set (1 foreground, 2 background, 3 not classified). Some files of
the official archive are not what their ending says: PNG is read, GIF is rejected with its name; see
https://github.com/tensorflow/models/issues/3134.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted

from ..files import Files
from ..formats.text_files import first_words
from ..layout import VOID_NAME, Colour, Found, LabelledImage

TITLE = "Oxford-IIIT Pet: images/*.jpg with annotations/trimaps/*.png"
SPECIFIC = True

CLASSES: dict[str, Colour] = {"background": (0, 0, 0), "pet": (230, 159, 0)}
VALUES = {1: "pet", 2: "background", 3: VOID_NAME}
VAL_SHARE = 5
"""Val is one fifth of trainval, as there is no official val."""
_LISTS = ("trainval.txt", "test.txt")


def find(files: Files) -> Found | None:
    """Return the images with a trimap; see `voc_seg.importing.layout.Layout.find`."""
    trimaps = next((folder for folder in files.folders if folder.name == "trimaps" and _lists(files, folder)), None)
    if trimaps is None:
        return None
    masks = {path.stem: path for path in files.folders[trimaps] if path.suffix.lower() == ".png"}
    images = {path.stem: path for path in files.images if path.parent.name == "images"}
    if not images:
        raise VocSegError(
            f"{files.root} holds the trimaps of Oxford-IIIT Pet, but no folder images. Unpack images.tar.gz too, "
            "beside annotations."
        )
    lists = {path.name.lower(): first_words(files.absolute(path)) for path in _lists(files, trimaps)}
    trainval, test = (lists.get(name, ()) for name in _LISTS)
    splits = split_trainval(trainval) | dict.fromkeys(test, "test")
    pairs = [(stem, image, masks[stem]) for stem, image in images.items() if stem in masks]
    found = tuple(
        LabelledImage(files.absolute(image), files.absolute(mask), splits[stem])
        for stem, image, mask in pairs
        if stem in splits
    )
    notes = [
        f"There is no official val: one of {VAL_SHARE} images of each breed is taken from trainval, always the same.",
        "The border of the pets (value 3, not classified) is void.",
    ]
    if unlisted := len(pairs) - len(found):
        notes.append(
            f"{counted(unlisted, 'image with a trimap is', 'images with trimaps are')} in no list and not used."
        )
    if lost := len(splits) - len(found):
        notes.append(f"{counted(lost, 'listed image has', 'listed images have')} no image file or no trimap.")
    unlabelled = tuple(files.absolute(path) for stem, path in images.items() if stem not in masks)
    shown = {colour: name for name, colour in CLASSES.items()}
    return Found(found, VALUES, shown, tuple(CLASSES), unlabelled=unlabelled, notes=tuple(notes))


def _lists(files: Files, trimaps: PurePosixPath) -> list[PurePosixPath]:
    return [path for path in files.folders.get(trimaps.parent, ()) if path.name.lower() in _LISTS]


def split_trainval(names: Sequence[str]) -> dict[str, str]:
    """Divide trainval into train and val, the same fraction of every breed.

    The choice depends on the names only: ``Abyssinian_100`` is the hundredth image of its breed.
    """
    breeds: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        breeds.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    chosen = {one for breed in breeds.values() for one in sorted(breed, key=_digest)[: len(breed) // VAL_SHARE]}
    return {name: "val" if name in chosen else "train" for breed in breeds.values() for name in breed}


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
