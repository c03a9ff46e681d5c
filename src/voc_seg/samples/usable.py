"""The usable samples of a split, straight from their files."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from voc_seg.voc.classes import VOC_CLASSES, Classes
from voc_seg.voc.parallel import in_parallel
from voc_seg.voc.progress import progress_bar
from voc_seg.voc.reading import decode_image, decode_mask
from voc_seg.voc.splits import VOCSplit

from .store import Origin, Sample


@dataclass(frozen=True)
class UsableSamples:
    """Samples of a split, decoded while they are iterated over, a few at a time, so that memory stays flat.

    Args:
        split: Where the files lie.
        ids: Which images, in this order.
        classes: The classes of the masks.
        fingerprint: Of these images; see `voc_seg.voc.index.fingerprint_of`.
    """

    split: VOCSplit
    ids: tuple[str, ...]
    classes: Classes = field(default=VOC_CLASSES, repr=False)
    fingerprint: str = ""

    @property
    def origin(self) -> Origin:
        """What the samples are made from."""
        return Origin(self.split.source, str(self.split.images.resolve()), self.classes.names, self.fingerprint)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        with progress_bar(f"packing {self.split.name}", len(self)) as advance:
            for sample in in_parallel(self._read, self.ids):
                yield sample
                advance(1)

    def _read(self, image_id: str) -> Sample:
        image = decode_image(self.split.image_path(image_id))
        return Sample(image_id, image, decode_mask(self.split.mask_path(image_id), self.classes).indices)
