"""The usable samples of a split, decoded from their files."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from voc_seg.config import DataConfig
from voc_seg.system.errors import VocSegError
from voc_seg.system.parallel import parallel_map
from voc_seg.voc.index import combined_fingerprint, fingerprints
from voc_seg.voc.pairs import Reading, read_pair
from voc_seg.voc.splits import VOCSplit

from .store import Origin, Sample


@dataclass(frozen=True)
class DecodedSamples:
    """Samples of a split, decoded while they are iterated over, a few at a time, so that memory stays flat.

    Args:
        split: The files.
        ids: Ids of the images, in this order.
        reading: How files become samples: classes, EXIF orientation, size.
        prints: The fingerprint of each, see `voc_seg.voc.index.fingerprints`; unknown if fewer than ids.
        sizes: Decoded size of each, bytes; empty if unknown.
        statistics: Mean and standard deviation of each channel; empty if not measured.
        shard_images: Maximum number of images in one file.
    """

    split: VOCSplit
    ids: tuple[str, ...]
    reading: Reading = field(default=Reading(), repr=False)
    prints: tuple[str, ...] = field(default=(), repr=False)
    sizes: tuple[int, ...] = field(default=(), repr=False)
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    shard_images: int = DataConfig().shard_images

    @cached_property
    def origin(self) -> Origin:
        """The source of the samples."""
        fingerprint = combined_fingerprint(self.ids, self.prints) if len(self.prints) == len(self.ids) else ""
        return Origin(
            self.split.source,
            str(self.split.images.resolve()),
            self.reading.classes.names,
            fingerprint,
            self.reading.settings,
            self.reading.pixels.channels,
            *self.statistics,
        )

    @property
    def nbytes(self) -> int:
        """Decoded size of all samples."""
        return sum(self.sizes)

    def split_into_shards(self) -> list["DecodedSamples"]:
        """The same samples in the same order, split into at most `shard_images` each; at least one part."""
        cuts = range(0, max(len(self), 1), self.shard_images)
        slices = [slice(start, start + self.shard_images) for start in cuts]
        # Statistics are of all samples: an added image changes them, but not the shards of the others.
        own = self if len(slices) == 1 else replace(self, statistics=((), ()))
        return [
            replace(own, ids=ids, prints=self.prints[part], sizes=self.sizes[part])
            for part in slices
            for ids in [self.ids[part]]
        ]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return parallel_map(self._read, enumerate(self.ids), self.sizes)

    def _read(self, numbered: tuple[int, str]) -> Sample:
        number, image_id = numbered
        pair = read_pair(self.split.image_path(image_id), self.split.mask_path(image_id), self.reading)
        # Checked after reading, so that the packed samples are those of the index.
        if self.prints and fingerprints(replace(self.split, ids=(image_id,)), self.reading) != {
            image_id: self.prints[number]
        }:
            raise VocSegError(
                f"The files of {image_id}, {self.split.image_path(image_id)} and {self.split.mask_path(image_id)}, "
                "have changed since they were indexed. Make sure that nothing writes to them, and run again: "
                "kedro run --pipelines data_processing"
            )
        return Sample(image_id, pair.image, pair.mask.indices)
