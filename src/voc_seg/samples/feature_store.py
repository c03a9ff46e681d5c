"""Feature maps of a split's images in memory-mapped Arrow files, computed once by an encoder that stays as it is.

A folder holds the maps of one split and one encoder, a fixed number of images in each file:

    val-resnet50-4e1f0c9a52d37b68/about.json
    val-resnet50-4e1f0c9a52d37b68/00000.arrow
    val-resnet50-4e1f0c9a52d37b68/00001.arrow

A file is written atomically, so an interruption costs at most the images of one file.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError

from .arrow_file import stamp_of

IMAGES_PER_FILE = 16
_FORMAT, _CHECKSUM = b"format", b"checksum"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DamagedFeaturesError(VocSegError):
    """A file of features is cut short or has changed since it was written; it can be computed again."""


@dataclass(frozen=True)
class FeatureFormat:
    """What is stored of every image.

    | field    | meaning                                                                  |
    |----------|--------------------------------------------------------------------------|
    | channels | channels of the stored maps, finest first                                |
    | strides  | their strides in pixels of the network's input                           |
    | multiple | height and width of the padded input are multiples of this               |
    | dtype    | ``bf16`` or ``fp16``                                                     |
    | views    | 1: the image; 2: the image and its mirror image                          |
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int
    dtype: str
    views: int

    def padded(self, length: int) -> int:
        """The next multiple of a height or width."""
        return -(-length // self.multiple) * self.multiple

    def shapes(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """Shapes (views, H, W, channels) of the maps of an input of this size, before padding."""
        return [
            (self.views, self.padded(height) // stride, self.padded(width) // stride, channels)
            for stride, channels in zip(self.strides, self.channels)
        ]

    def nbytes(self, height: int, width: int) -> int:
        """Bytes of the maps of an input of this size."""
        return sum(int(np.prod(shape)) * 2 for shape in self.shapes(height, width))

    @property
    def schema(self) -> pa.Schema:
        """Columns of a file: one record batch for each image."""
        maps = [(f"stride_{number}_{stride}", pa.large_binary()) for number, stride in enumerate(self.strides)]
        about = {"channels": self.channels, "strides": self.strides, "dtype": self.dtype, "views": self.views}
        sizes = [("height", pa.int32()), ("width", pa.int32())]
        return pa.schema([("id", pa.string()), *sizes, *maps], metadata={_FORMAT: json.dumps(about).encode()})


class ImageFeatures(NamedTuple):
    """Features of one image: size of the network's input before padding, and maps ``(views, H, W, channels)``."""

    id: str
    height: int
    width: int
    maps: list[Tensor]


class Window(NamedTuple):
    """A part of the padded network input, in pixels; it may reach beyond the bottom and the right edge."""

    top: int
    left: int
    height: int
    width: int


class FeatureStore:
    """Random access to the features of a split; windows are copied out of the mapped files.

    Args:
        folder: The folder of the files.
        layout: What they hold.
        images: Number of images of the split.
    """

    def __init__(self, folder: Path, layout: FeatureFormat, images: int) -> None:
        self.folder, self.layout, self._images = folder, layout, images
        self._open: dict[int, pa.ipc.RecordBatchFileReader] = {}

    def __len__(self) -> int:
        return self._images

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open": {}}  # a loader worker maps the files it needs

    @property
    def files(self) -> list[Path]:
        """All files, in the order of the images, whether they exist or not."""
        return [self.folder / f"{number:05d}.arrow" for number in range(-(-self._images // IMAGES_PER_FILE))]

    def images_of(self, number: int) -> range:
        """Positions of the images in a file."""
        return range(number * IMAGES_PER_FILE, min(self._images, (number + 1) * IMAGES_PER_FILE))

    def write(self, number: int, features: Iterable[ImageFeatures], size: int) -> None:
        """Write a file as a stream; ``size`` is the expected number of bytes.

        Raises:
            VocSegError: The disk is full, or a value is not finite.
        """
        schema = self._schema(number)
        with (
            atomic_write(self.files[number], size) as partial,
            pa.OSFile(str(partial), "wb") as sink,
            pa.ipc.new_file(sink, schema) as writer,
        ):
            for image in features:
                maps = [self._encode(image.id, values) for values in image.maps]
                columns = [pa.array([value], field.type) for value, field in zip(image[:3], schema)]
                columns += [_single_row_column(content) for content in maps]
                notes = {_CHECKSUM: f"{_checksum(image[:3], maps):08x}"}
                writer.write_batch(pa.record_batch(columns, schema=schema), custom_metadata=notes)

    def _schema(self, number: int) -> pa.Schema:
        """With the name of the file, so that a copy under another name is noticed."""
        schema, path = self.layout.schema, self.files[number]
        return schema.with_metadata({**(schema.metadata or {}), b"file": f"{path.parent.name}/{path.name}".encode()})

    def _encode(self, image_id: str, values: Tensor) -> pa.Buffer:
        stored = values.to(_DTYPES[self.layout.dtype])
        if not stored.isfinite().all():
            raise VocSegError(
                f"{image_id}: the encoder's features are not finite in {self.layout.dtype}. Store them in bf16 with "
                "runtime.precision=bf16, or train with training.frozen_stages=0."
            )
        return pa.py_buffer(stored.cpu().contiguous().view(torch.int16).numpy())

    def _reader(self, number: int) -> pa.ipc.RecordBatchFileReader:
        if number not in self._open:
            path = self.files[number]
            try:
                with pa.memory_map(str(path)) as file:
                    reader = pa.ipc.open_file(file.read_buffer())
                complete = reader.num_record_batches == len(self.images_of(number))
                same = reader.schema.equals(self._schema(number), check_metadata=True)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DamagedFeaturesError(f"{path} is not a complete file of features ({error}).") from error
            if not complete or not same:
                raise DamagedFeaturesError(f"{path} is not a complete file of these features.")
            self._open[number] = reader
        return self._open[number]

    def require_intact(self, number: int) -> None:
        """Compare every byte of a file with its checksums.

        Raises:
            DamagedFeaturesError: It is not as it was written.
        """
        reader, path = self._reader(number), self.files[number]
        for position in range(len(self.images_of(number))):
            try:
                batch, notes = reader.get_batch_with_custom_metadata(position)
                batch.validate(full=True)
                head = tuple(batch[column][0].as_py() for column in range(3))
                maps = [batch[column].buffers()[2] for column in range(3, batch.num_columns)]
                sizes = [2 * int(np.prod(shape)) for shape in self.layout.shapes(*head[1:])]
                intact = [content.size for content in maps] == sizes
                intact = intact and int((notes or {})[_CHECKSUM], 16) == _checksum(head, maps)
            except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
                raise DamagedFeaturesError(f"{path} is damaged ({error}).") from error
            if not intact:
                raise DamagedFeaturesError(f"{path}: the features of {head[0]} have changed since they were written.")

    def forget(self) -> None:
        """Close all files, because they may have been replaced."""
        self._open.clear()
        self.__dict__.pop("sizes", None)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each network input, before padding."""
        batches = (self._batch(index) for index in range(self._images))
        return [(batch["height"][0].as_py(), batch["width"][0].as_py()) for batch in batches]

    def _batch(self, index: int) -> pa.RecordBatch:
        number, position = divmod(index, IMAGES_PER_FILE)
        return self._reader(number).get_batch(position)

    def read(self, index: int, view: int = 0, window: Window | None = None) -> list[Tensor]:
        """Maps of an image or of a window of it, ``bf16`` or ``fp16`` ``(h, w, channels)``, finest first.

        Beyond the bottom and the right edge the maps are mirrored: zeros would change what pooling over the window
        sees.

        Args:
            index: Position of the image.
            view: 0 for the image, 1 for its mirror image.
            window: Top, left and size are multiples of the format's ``multiple``; None reads whole maps.
        """
        batch, found = self._batch(index), []
        shapes = self.layout.shapes(*self.sizes[index])
        for column, (shape, stride) in enumerate(zip(shapes, self.layout.strides), start=3):
            values = np.frombuffer(batch[column].buffers()[2], np.int16).reshape(shape)[view]
            if window:
                values = _cut(values, window.top // stride, window.height // stride, axis=0)
                values = _cut(values, window.left // stride, window.width // stride, axis=1)
            # A copy: torch wants memory that it may write to.
            found.append(torch.from_numpy(np.array(values)).view(_DTYPES[self.layout.dtype]))
        return found


def _cut(values: np.ndarray, start: int, length: int, axis: int) -> np.ndarray:
    size = values.shape[axis]
    if start + length <= size:
        return values[start : start + length] if axis == 0 else values[:, start : start + length]
    index = np.arange(start, start + length) % (2 * size)
    return values.take(np.where(index < size, index, 2 * size - 1 - index), axis)


def _single_row_column(content: pa.Buffer) -> pa.LargeBinaryArray:
    extent = pa.py_buffer(np.array([0, content.size], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, extent, content])


def _checksum(head: Sequence[object], maps: Iterable[pa.Buffer]) -> int:
    value = zlib.crc32(" ".join(map(str, head)).encode())
    for content in maps:
        value = zlib.crc32(content, value)
    return value


def stamp(path: Path) -> str:
    """A text that changes when the file is written; empty if it is missing."""
    found = stamp_of(path)
    return " ".join(map(str, found)) if found else ""
