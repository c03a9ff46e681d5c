"""The user's own images as a catalog entry, and their predicted masks and overlays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image

from voc_seg.samples.inference_images import ImageFiles, find_images
from voc_seg.system.atomic_folder import atomic_write_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar

from .predictions import MaskFolderDataset
from .previews import contact_sheet


class PicturesDataset(AbstractDataset[None, ImageFiles]):
    """Images to segment; read-only. Loading lists the files without reading them.

    Args:
        images: Folder, file or pattern, relative to the working directory. (Kedro would resolve a ``filepath`` against
            the project folder and break ``~``.)
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, images: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self._images = images
        self.metadata = metadata

    def load(self) -> ImageFiles:
        """The files by name. Raises DatasetError, from a `VocSegError`, if no path was given or nothing is there."""
        if not self._images:
            raise VocSegError(
                "No images to segment. Give a folder, a file or a pattern: "
                "kedro run --pipelines inference --params inference.images=PATH"
            )
        return find_images(str(self._images))

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError("This entry is read-only: it lists the user's own images.")

    def _exists(self) -> bool:
        return True  # a load without a path says what to type

    def _describe(self) -> dict[str, Any]:
        return {"images": self._images}


class Segmentation(NamedTuple):
    """The results for one image: its mask with a palette (mode P) and an overlay (RGB)."""

    mask: Image.Image
    overlay: Image.Image


class SegmentationsDataset(MaskFolderDataset):
    """Masks and overlays by name: ``masks/<name>.png`` and ``overlays/<name>.jpg``.

    Saving consumes the values one by one, so they may be computed lazily, and replaces all results of an earlier run.
    Names with None are skipped; saving fails if all are None. Other files in the folder stay.
    """

    _masks = "masks"

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, Segmentation | None]) -> None:
        def write(item: tuple[str, Segmentation | None]) -> bool:
            name, made = item
            if made is None:
                return False
            made.mask.save(masks / f"{name}.png")
            made.overlay.save(overlays / f"{name}.jpg", quality=90, subsampling=0)  # colours keep their edges
            return True

        with atomic_write_folder(self._folder) as folder, progress_bar("segmenting", len(data)) as advance:
            masks, overlays = folder / self._masks, folder / "overlays"
            masks.mkdir()
            overlays.mkdir()
            # Computed here, one after the other; only writing is done in threads.
            written = 0
            for done in parallel_map(write, ((name, data[name]) for name in data)):
                written += done
                advance(1)
            if not written:
                raise VocSegError(
                    "None of the images can be read any more; nothing was written. Run again, and do not move or "
                    "change them during the run."
                )

    def preview(self, images: int = 12) -> ImagePreview:
        """The first overlays for Kedro-Viz."""
        paths = sorted((self._folder / "overlays").glob("*.jpg"))[:images]
        return contact_sheet((Image.open(path) for path in paths), columns=3, width=240)
