"""One image with its mask, and the checksums that show damage to it."""

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from voc_seg.voc.pixel_format import displayed

CHECKSUM_BYTES = 12


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    | field | shape     | dtype | range                                 |
    |-------|-----------|-------|---------------------------------------|
    | id    |           | str   | file name without ending              |
    | image | (H, W, C) | uint8 | RGB or C bands, 0..255                |
    | mask  | (H, W)    | uint8 | class index 0, 1 ..., or 255 for void |
    """

    id: str
    image: np.ndarray
    mask: np.ndarray

    @property
    def displayed(self) -> np.ndarray:
        """The image as people see it, ``uint8 (H, W, 3)``; see `voc_seg.voc.pixel_format.displayed`."""
        return displayed(self.image)


IdAndChecksum = tuple[str, int | None]
"""Id of a sample and its checksum; None in a store of an earlier version."""


def checksum(name: str, height: int, width: int, image: bytes | pa.Buffer, mask: bytes | pa.Buffer) -> int:
    """CRC-32 of a sample: id, size, image and mask."""
    return zlib.crc32(mask, zlib.crc32(image, zlib.crc32(f"{name} {height} {width} ".encode())))


def content_digest(checksums: Iterable[int | None]) -> str:
    """A digest of samples from their checksums, in order, independent of sharding; "" where one is unknown."""
    digest = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    for value in checksums:
        if value is None:
            return ""
        digest.update(value.to_bytes(4, "big"))
    return digest.hexdigest()
