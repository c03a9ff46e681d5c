"""Folders of predicted masks and of figures by image as catalog entries."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.samples.inference_images import LazyMapping
from voc_seg.system.atomic import atomic_write, unused_path
from voc_seg.system.atomic_folder import atomic_write_folder, recover_folder
from voc_seg.system.names import name_key
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.decode_memory import allow_large_images

from .outdated import OutdatedFiles
from .previews import contact_sheet

logger = logging.getLogger(__name__)


class MaskFolder(Mapping[str, np.ndarray]):
    """Masks by image id, each read on access."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, image_id: str) -> np.ndarray:
        if image_id not in self:
            raise KeyError(image_id)
        with allow_large_images(), Image.open(self._path(image_id)) as picture:
            return np.array(picture)

    def __contains__(self, image_id: object) -> bool:
        return self._path(image_id).is_file()

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._folder.glob("*.png")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, image_id: object) -> Path:
        # By name, not looked up in a listing: some Macs store names in another Unicode form.
        return self._folder / f"{image_id}.png"


class MaskFolderDataset(AbstractDataset[Any, Mapping[str, np.ndarray]]):
    """A folder that is replaced as a whole; loading returns its masks, ``uint8 (H, W)``, each read on access.

    Subclasses set ``_folder`` and save.
    """

    _folder: Path

    def load(self) -> Mapping[str, np.ndarray]:
        recover_folder(self._folder)
        return MaskFolder(self._folder)

    def _exists(self) -> bool:
        recover_folder(self._folder)
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}


class MasksDataset(MaskFolderDataset):
    """Masks by image id as palette PNGs; saved as images of mode P, loaded as class indices ``uint8 (H, W)``.

    Saving replaces all masks of an earlier run, so that none is mistaken for a new one. Other files stay.

    Args:
        filepath: The folder.
        outdates: Files to delete before saving, see `OutdatedFiles`.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        outdates: dict[str, dict[str, str]] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = Path(filepath)
        self._outdated = OutdatedFiles(outdates)
        self.metadata = metadata

    def save(self, data: Mapping[str, Image.Image]) -> None:
        def write(name: str) -> None:
            data[name].save(folder / f"{name}.png")

        self._outdated.delete()
        with atomic_write_folder(self._folder) as folder, progress_bar("writing masks", len(data)) as advance:
            for _ in parallel_map(write, data):
                advance(1)

    def preview(self, images: int = 24) -> ImagePreview:
        """The first masks for Kedro-Viz."""
        return contact_sheet(Image.open(path) for path in sorted(self._folder.glob("*.png"))[:images])


_GALLERY = "prediction_gallery.png"  # in the same folder, but a separate catalog entry
_TAG = "voc_seg"  # PNG text with the original file name, which identifies renamed copies


class PredictionFiguresDataset(AbstractDataset[Mapping[str, Figure], Mapping[str, Image.Image]]):
    """Figures by image id, saved as ``prediction_<image_id>.png``; those of an earlier run are removed.

    Other files stay, whatever their name. An image with the id ``gallery`` is saved as ``prediction_gallery_.png``,
    because the name without the underscore is that of the contact sheet.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, Figure]) -> None:
        names = {self._name(image_id, data): figure for image_id, figure in data.items()}
        for name, figure in names.items():
            path = self._folder / name
            if path.exists() and not (_is_tagged(path) or _is_untagged_figure(path)):
                kept = unused_path(path)
                path.rename(kept)
                logger.warning("%s was not written by this project. It is now %s", path, kept.name)
            with atomic_write(path) as partial:
                figure.savefig(partial, format="png", metadata={_TAG: name})
        for path in self._paths():
            if path.name not in names and _is_tagged(path):
                path.unlink()

    @staticmethod
    def _name(image_id: str, others: Iterable[str]) -> str:
        # Compared as macOS and Windows do: Gallery and gallery are one file there.
        name = image_id
        if name_key(f"prediction_{name}.png") == _GALLERY:
            taken = {name_key(other) for other in others}
            while name_key(name := f"{name}_") in taken:
                pass
        return f"prediction_{name}.png"

    def load(self) -> Mapping[str, Image.Image]:
        """The figures as images, each read on access, by file name without prefix and extension."""
        paths = {path.stem.removeprefix("prediction_"): path for path in self._paths()}
        return LazyMapping(tuple(paths), lambda name: _read(paths[name]))

    def _exists(self) -> bool:
        return any(_is_tagged(path) or _is_untagged_figure(path) for path in self._paths())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder / "prediction_*.png")}

    def preview(self, images: int = 8) -> ImagePreview:
        """The first figures, one below the other, for Kedro-Viz."""
        return contact_sheet((Image.open(path) for path in self._paths()[:images]), columns=1, width=900)

    def _paths(self) -> list[Path]:
        return [path for path in sorted(self._folder.glob("prediction_*.png")) if path.name != _GALLERY]


def _read(path: Path) -> Image.Image:
    with allow_large_images(), Image.open(path) as picture:
        return picture.copy()


def _text_of(path: Path) -> Mapping[str, Any]:
    """The metadata of a PNG; empty for other files."""
    try:
        with allow_large_images(), Image.open(path, formats=["PNG"]) as picture:
            return {str(key): value for key, value in picture.info.items()}
    except (OSError, ValueError, SyntaxError):
        return {}


def _is_tagged(path: Path) -> bool:
    """Whether this project wrote the figure under its present name."""
    return path.is_file() and _text_of(path).get(_TAG) == path.name


def _is_untagged_figure(path: Path) -> bool:
    """Whether a figure may be from an earlier version, which wrote no tags; a new one may replace it."""
    text = _text_of(path) if path.is_file() else {}
    return _TAG not in text and str(text.get("Software", "")).startswith("Matplotlib")
