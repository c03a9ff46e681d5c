"""The index of a split: every image and mask is decoded once, so bad files are found before training."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, printable
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar

from .channel_statistics import channel_sums
from .classes import VOID
from .decode_memory import allow_large_images, hold_decode_memory
from .file_checks import short_name
from .images import decode_dataset_image
from .mask_values import count_values
from .masks import decode_mask
from .pairs import Reading, align_pair
from .pixel_format import displayed
from .splits import VOCSplit
from .table import is_table

logger = logging.getLogger(__name__)

_REVISION = 5
"""Raise it with every change to what is read from a file: rows of an older revision are read again."""


def index_images(
    split: VOCSplit,
    reading: Reading = Reading(),  # noqa: B008 - immutable
    previous: pd.DataFrame | None = None,
    describe: Callable[[str, np.ndarray, np.ndarray], str] | None = None,
) -> pd.DataFrame:
    """Decode every image and mask of a split and describe it.

    Args:
        split: Images and masks.
        reading: How files become samples: classes, EXIF orientation, size.
        previous: The index of an earlier run. Its rows are reused if their files have not changed.
        describe: Returns what else to note of an image, from its id, the image and the mask as class indices.

    Returns:
        One row per image, in the order of the list.

        | column         | dtype  | meaning                                                       |
        |----------------|--------|---------------------------------------------------------------|
        | image_id       | string | file name without ending                                      |
        | split          | string | train, val or test                                            |
        | height, width  | int64  | pixels of the sample; 0 where the image cannot be read        |
        | mask_mode      | string | how the mask is stored (P, L, RGB); empty where unreadable    |
        | each class     | int64  | pixels of the class; 0 in a rejected row                      |
        | void           | int64  | void pixels; 0 in a rejected row                              |
        | note           | string | empty, or the conversions on reading                          |
        | rejected       | string | empty when usable, else the reason                            |
        | mask_palette   | string | as `voc_seg.voc.masks.Mask.palette`                           |
        | channel_sums   | string | as `voc_seg.voc.channel_statistics.channel_sums`; empty for RGB |
        | image_file     | string | folder and name of the image; the default one if missing      |
        | mask_file      | string | folder and name of the mask                                   |
        | fingerprint    | string | changes with the files' sizes and times and with the reading  |
        | traits         | string | what `describe` returned; empty without it and in a rejected row |
    """
    counted = [*reading.classes.names, "void"]
    last = ["note", "rejected", "mask_palette", "channel_sums", "image_file", "mask_file", "fingerprint", "traits"]
    columns = ["image_id", "split", "height", "width", "mask_mode", *counted, *last]
    text = ("image_id", "split", "mask_mode", *last)
    dtypes = dict.fromkeys(text, "string") | dict.fromkeys(["height", "width", *counted], "int64")

    prints = fingerprints(split, reading)
    known = _unchanged(previous, columns, split, prints)
    changed = [image_id for image_id in split.ids if image_id not in known.index]
    _log_work(split, len(changed))
    read = partial(_read_one, split, reading, describe or (lambda *_: ""))
    with allow_large_images(), progress_bar(f"reading {split.name}", len(changed)) as advance:
        rows = []
        for image_id, (*row, traits) in zip(changed, parallel_map(read, changed)):
            files = short_name(split.image_path(image_id)), short_name(split.mask_path(image_id))
            rows.append((image_id, split.name, *row, *files, prints[image_id], traits))
            advance(1)
    table = pd.DataFrame(rows, columns=columns).astype(dtypes)
    if len(known):
        both = pd.concat([known.reset_index()[columns].astype(dtypes), table], ignore_index=True)
        table = both.set_index("image_id").loc[list(split.ids)].reset_index()[columns].astype(dtypes)
    return table


def _log_work(split: VOCSplit, changed: int) -> None:
    if changed:
        logger.info("%s: reading %d of %d images in %s", split.name, changed, len(split), split.images.parent)
    elif len(split):
        logger.info("%s: %s, none changed since the last run", split.name, counted(len(split), "image"))


def fingerprints(split: VOCSplit, reading: Reading) -> dict[str, str]:
    """Return a text per image id that changes with its files (name, size, time, folder) or the reading settings.

    No file is opened.
    """
    how = f"{_REVISION} {reading} {split.images.resolve()} {split.masks.resolve()}"

    def state(image_id: str) -> str:
        files = split.image_path(image_id), split.mask_path(image_id)
        names = [path if is_table(split.images) else path.name for path in files]
        about = [split.problem(image_id), *([split.groups[image_id]] if image_id in split.groups else [])]
        return " ".join([*(f"{name} {_stamp(path)}" for name, path in zip(names, files)), *about])

    return {image_id: _digest(f"{how} {state(image_id)}") for image_id in split.ids}


def fingerprint_of(rows: pd.DataFrame) -> str:
    """Return one text for all rows of an index; it changes with any file and with the list or order of images."""
    return combined_fingerprint(rows["image_id"], rows["fingerprint"])


def combined_fingerprint(ids: Iterable[str], prints: Iterable[str]) -> str:
    """Return the text of `fingerprint_of` from image ids and their fingerprints."""
    return _digest(" ".join([*ids, *prints]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _stamp(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return "missing"
    # A replacement file may keep the modification time, but not the change time.
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"


def _unchanged(
    previous: pd.DataFrame | None, columns: Sequence[str], split: VOCSplit, prints: dict[str, str]
) -> pd.DataFrame:
    """Return the rows of an earlier index that are still valid, by image id.

    Files that could not be decoded are read again: the cause may have been the disk or a permission.
    """
    if previous is None or list(previous.columns) != list(columns):
        return pd.DataFrame(columns=columns).set_index("image_id")
    rows = zip(previous["image_id"], previous["split"], previous["mask_mode"], previous["fingerprint"])
    same = [name == split.name and mode != "" and prints.get(image_id) == found for image_id, name, mode, found in rows]
    return previous[np.array(same, dtype=bool)].set_index("image_id")


@hold_decode_memory()
def _read_one(
    split: VOCSplit, reading: Reading, describe: Callable[[str, np.ndarray, np.ndarray], str], image_id: str
) -> tuple[str | int, ...]:
    counts = [0] * (len(reading.classes) + 1)
    height = width = 0
    mode = note = palette = sums = reason = traits = ""
    try:
        if problem := split.problem(image_id):
            raise VocSegError(problem)
        image = decode_dataset_image(split.image_path(image_id), reading.pixels)
        height, width = image.shape[:2]
        mask = decode_mask(split.mask_path(image_id), reading.classes)
        mode, palette = mask.mode, mask.palette
        pair = align_pair(image, mask, split.image_path(image_id), split.mask_path(image_id), reading)
        height, width = pair.mask.indices.shape
        note = "; ".join(pair.notes)
        counts = _count_pixels(pair.mask.indices, short_name(split.mask_path(image_id)), len(reading.classes))
        sums = channel_sums(pair.image)
        traits = describe(image_id, displayed(pair.image), pair.mask.indices)
    except VocSegError as error:
        reason = printable(str(error))
    except Exception as error:  # one broken file must not stop the others
        what = f"{short_name(split.image_path(image_id))} or its mask"
        reason = printable(f"unreadable: {what} ({type(error).__name__}: {error})")
        mode = ""
    return height, width, mode, *counts, note, reason, palette, sums, traits


def _count_pixels(mask: np.ndarray, name: str, classes: int) -> list[int]:
    counts = count_values(mask)
    if not counts[:classes].any():
        raise VocSegError(f"no labelled pixel: {name} is entirely void ({VOID})")
    return [*counts[:classes].tolist(), int(counts[VOID])]
