"""The user's own images as a catalog entry, and their predicted masks and overlays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image

from voc_seg.samples.inference_images import ImageFiles, find_images
from voc_seg.system.atomic_folder import atomic_write_folder, delete_written_files, recover_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar

from .predictions import MaskFolder, MaskFolderDataset
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


class Uncertainty(NamedTuple):
    """What the choice of the images to label next needs of one image."""

    mean: float  # over its pixels, 0 to 1
    map: Image.Image  # mode L, 255 times the uncertainty, reduced
    feature: np.ndarray  # ``float32 (D,)``


class Segmentation(NamedTuple):
    """The results for one image: its mask with a palette (mode P), an overlay (RGB), and what was asked for."""

    mask: Image.Image
    overlay: Image.Image
    confidence: Image.Image | None = None  # mode L, 255 times the confidence
    uncertainty: Uncertainty | None = None


class SegmentedFolder(MaskFolder):
    """Masks by name, and how uncertain they are, if that was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / _MASKS)
        self._results = folder

    def uncertainties(self) -> pd.DataFrame:
        """Columns ``image``, ``uncertainty`` (0 to 1) and ``feature``; empty if they were not asked for."""
        path = self._results / _UNCERTAINTIES
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["image", "uncertainty", "feature"])

    def uncertainty(self, name: str) -> np.ndarray:
        """255 times the uncertainty of each pixel of a reduced image, ``uint8 (h, w)``."""
        with Image.open(self._results / _UNCERTAINTY / f"{name}.png") as image:
            return np.array(image)


_MASKS, _OVERLAYS, _CONFIDENCE, _UNCERTAINTY = "masks", "overlays", "confidence", "uncertainty"
_UNCERTAINTIES = "uncertainty.parquet"


class SegmentationsDataset(MaskFolderDataset):
    """Results by name: ``masks/<name>.png``, ``overlays/<name>.jpg`` and, if there are any, more.

    These are ``confidence/<name>.png``, ``uncertainty/<name>.png`` and the table ``uncertainty.parquet``. Saving
    consumes the values one by one, so they may be computed lazily, and replaces all results of an earlier run. Names
    with None are skipped; saving fails if all are None. Saving nothing deletes the results of an earlier run. Other
    files in the folder stay.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, Segmentation | None]) -> None:
        def write(item: tuple[str, Segmentation | None]) -> bool:
            name, made = item
            if made is None:
                return False
            made.mask.save(folder / _MASKS / f"{name}.png")
            made.overlay.save(folder / _OVERLAYS / f"{name}.jpg", quality=90, subsampling=0)  # colours keep their edges
            for kind, image in (
                (_CONFIDENCE, made.confidence),
                (_UNCERTAINTY, made.uncertainty and made.uncertainty.map),
            ):
                if image:
                    (folder / kind).mkdir(exist_ok=True)
                    image.save(folder / kind / f"{name}.png")
            return True

        def computed() -> Iterator[tuple[str, Segmentation | None]]:
            """Each image once, one after the other; only writing is done in threads."""
            for name in data:
                made = data[name]
                if made and made.uncertainty:
                    facts.append((name, made.uncertainty.mean, made.uncertainty.feature))
                yield name, made

        facts: list[tuple[str, float, np.ndarray]] = []
        if not data:
            delete_written_files(self._folder)
            return
        with atomic_write_folder(self._folder) as folder, progress_bar("segmenting", len(data)) as advance:
            (folder / _MASKS).mkdir()
            (folder / _OVERLAYS).mkdir()
            written = 0
            for done in parallel_map(write, computed()):
                written += done
                advance(1)
            if not written:
                raise VocSegError(
                    "None of the images can be read any more; nothing was written. Run again, and do not move or "
                    "change them during the run."
                )
            if facts:
                table = pd.DataFrame(facts, columns=["image", "uncertainty", "feature"])
                table.to_parquet(folder / _UNCERTAINTIES, index=False)

    def load(self) -> SegmentedFolder:
        recover_folder(self._folder)
        return SegmentedFolder(self._folder)

    def preview(self, images: int = 12) -> ImagePreview:
        """The first overlays for Kedro-Viz."""
        paths = sorted((self._folder / _OVERLAYS).glob("*.jpg"))[:images]
        return contact_sheet((Image.open(path) for path in paths), columns=3, width=240)
