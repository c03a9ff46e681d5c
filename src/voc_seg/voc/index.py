"""Reading images and masks, and finding bad ones before training does."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from rich.progress import Progress

from voc_seg.errors import VocSegError

from .classes import CLASS_NAMES, VOID
from .splits import VOCSplit

T = TypeVar("T")

_PATIENCE_SECONDS = 2.0
"""Work that is done sooner shows no progress bar."""


def decode_image(path: Path) -> np.ndarray:
    """Read an image.

    Returns:
        ``uint8 (H, W, 3)`` RGB, whatever mode the file has.

    Raises:
        VocSegError: The file is missing or cannot be decoded to its end.
    """
    return _decode(path, "image", lambda image: image.convert("RGB"))


def decode_mask(path: Path) -> np.ndarray:
    """Read a mask as indices: a palette's colours play no part.

    Returns:
        ``uint8 (H, W)``, the values as stored.

    Raises:
        VocSegError: The file is missing, cannot be decoded to its end, or holds colours instead of indices.
    """
    return _decode(path, "mask", _as_indices)


def _as_indices(mask: Image.Image) -> Image.Image:
    if mask.mode not in ("P", "L"):
        raise VocSegError(f"mask mode: {mask.mode}, not palette (P) or 8-bit grey (L)")
    return mask


def _decode(path: Path, kind: str, prepare: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path) as image:
            return np.asarray(prepare(image))
    except FileNotFoundError:
        raise VocSegError(f"missing {kind}: {name}") from None
    except UnidentifiedImageError:
        raise VocSegError(f"unreadable {kind}: {name} (no known image format)") from None
    # Pillow reports broken files with all of these.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise VocSegError(f"unreadable {kind}: {name} ({error})") from error


def index_images(split: VOCSplit, class_names: Sequence[str] = CLASS_NAMES) -> pd.DataFrame:
    """Decode every image and mask of a split and say what is in it.

    Args:
        split: Images and masks.
        class_names: Names of the mask values 0, 1, 2 ...; 255 is void.

    Returns:
        One row an image in the order of the list, none left out.

        | column         | dtype  | meaning                                                  |
        |----------------|--------|----------------------------------------------------------|
        | image_id       | string | file name without ending                                 |
        | split          | string | train, val or test                                       |
        | height, width  | int64  | pixels of the image; 0 where it cannot be read           |
        | each class     | int64  | pixels of that class; 0 in a rejected row                |
        | void           | int64  | pixels that nobody labelled; 0 in a rejected row         |
        | rejected       | string | empty when usable, else the reason                       |
    """
    count_classes = partial(_index_one, split, len(class_names))
    # Threads suffice: Pillow and NumPy release the GIL where the time goes.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        rows = list(_watched(pool.map(count_classes, split.ids), len(split), f"indexing {split.name}"))
    counted = ["height", "width", *class_names, "void"]
    table = pd.DataFrame(rows, columns=["image_id", *counted, "rejected"])
    table.insert(1, "split", split.name)
    text = ("image_id", "split", "rejected")
    return table.astype(dict.fromkeys(text, "string") | dict.fromkeys(counted, "int64"))


def _index_one(split: VOCSplit, classes: int, image_id: str) -> tuple[str | int, ...]:
    counts = [0] * (classes + 1)
    height = width = 0
    try:
        height, width = decode_image(split.image_path(image_id)).shape[:2]
        counts = _count_pixels(decode_mask(split.mask_path(image_id)), (height, width), classes)
        reason = ""
    except VocSegError as error:
        reason = str(error)
    return image_id, height, width, *counts, reason


def _count_pixels(mask: np.ndarray, size: tuple[int, int], classes: int) -> list[int]:
    if mask.shape != size:
        image_size, mask_size = (f"{width}x{height}" for height, width in (size, mask.shape))
        raise VocSegError(f"size mismatch: image {image_size}, mask {mask_size} (width x height)")
    counts = np.bincount(mask.ravel(), minlength=256)
    unknown = [int(value) for value in np.flatnonzero(counts) if classes <= value != VOID]
    if unknown:
        values = ", ".join(map(str, unknown))
        raise VocSegError(f"unknown labels: {values} (known are 0 to {classes - 1} and {VOID})")
    if not counts[:classes].any():
        raise VocSegError(f"no labelled pixel: the whole mask is void ({VOID})")
    return [*counts[:classes].tolist(), int(counts[VOID])]


def _watched(rows: Iterable[T], total: int, text: str) -> Iterator[T]:
    """Pass rows on; a bar shows on a terminal once that has taken a while."""
    with Progress(transient=True, disable=True) as progress:
        on_terminal = progress.console.is_terminal
        task = progress.add_task(text, total=total)
        started = time.perf_counter()
        for row in rows:
            progress.advance(task)
            if on_terminal and progress.disable and time.perf_counter() - started > _PATIENCE_SECONDS:
                progress.disable = False
                progress.start()
            yield row
