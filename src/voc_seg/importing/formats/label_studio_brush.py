"""Brush regions of Label Studio."""

import numpy as np

from voc_seg.system.errors import VocSegError


def half_covered(alpha: np.ndarray) -> np.ndarray:
    """Return the pixels that a brush covers by half or more, ``bool (H, W)``: the editor draws soft borders.

    What counts is the share of the strongest value, as predictions may have other values than 255.
    """
    return (alpha > 0) & (2 * alpha.astype(np.uint16) >= int(alpha.max(initial=0)))


def decode_brush(rle: object, size: tuple[int, int]) -> np.ndarray:
    """Decode the run lengths of a brush region to its opacity, ``uint8 (H, W)``.

    They pack the four channels of all pixels: a header of 32 bits for the number of values, 5 for the bits of a value
    and four times 4 for those of a length; then blocks of one repeated value or of single values. See ``decode_rle`` in
    label_studio_sdk/converter/brush.py, after https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.

    Raises VocSegError if they are damaged or of another size.
    """
    height, width = size
    try:
        data = bytes(rle)  # type: ignore[call-overload]
        values = np.empty(4 * height * width, np.uint8)
        if (count := int.from_bytes(data[:4], "big")) != values.size:
            raise VocSegError(f"brush region of {count / 4:g} pixels, in an image of {height * width}")
        bits = _Bits(data, 32)
        word = bits.read(5) + 1
        if word > 8:
            raise ValueError(f"{word} bits a value")
        lengths = [bits.read(4) + 1 for _ in range(4)]
        start = 0
        while start < values.size:
            repeated = bits.read(1)
            end = start + 1 + bits.read(lengths[bits.read(2)])
            if end > values.size:
                raise ValueError("too many values")
            values[start:end] = bits.read(word) if repeated else bits.read_many(end - start, word)
            start = end
    except (TypeError, ValueError) as error:
        raise VocSegError(f"brush region that is damaged ({error}); export it again") from None
    return values.reshape(height, width, 4)[..., 3]


class _Bits:
    """Reads numbers of any number of bits. Raises ValueError at the end of the data."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def _advance(self, count: int) -> tuple[int, int]:
        start, self._position = self._position, self._position + count
        if self._position > 8 * len(self._data):
            raise ValueError("it ends too early")
        return start, self._position

    def read(self, count: int) -> int:
        start, end = self._advance(count)
        whole = int.from_bytes(self._data[start // 8 : -(-end // 8)], "big")
        return (whole >> (-end % 8)) & ((1 << count) - 1)

    def read_many(self, count: int, word: int) -> np.ndarray:
        start, end = self._advance(count * word)
        flat = np.unpackbits(np.frombuffer(self._data[start // 8 : -(-end // 8)], np.uint8))
        bits = flat[start % 8 : start % 8 + count * word].reshape(count, word)
        return np.packbits(bits, axis=1)[:, 0] >> (8 - word)
