"""A report as a catalog entry: a page and, in a folder beside it, its images."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image

from voc_seg.system.atomic import atomic_write
from voc_seg.system.atomic_folder import atomic_write_folder, delete_written_files, recover_folder
from voc_seg.system.progress import progress_bar

from .outdated import delete_file
from .previews import contact_sheet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """A page and its images."""

    page: str  # HTML
    folder: str  # name of the folder beside the page that holds its images
    files: Iterable[Mapping[str, bytes]]  # the files of one image at a time, by name; iterated once
    images: int  # number of images


class ReportDataset(AbstractDataset[Report, str]):
    """An HTML file with a folder of images beside it; loads the HTML.

    Saving replaces both atomically. New images are written beside the old ones, one after the other. Other files in the
    folder stay. Saving an empty page deletes both, so that old ones are not mistaken for this run's.

    Args:
        filepath: The HTML file.
        pipeline: The pipeline that writes it, for a message.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, pipeline: str = "evaluation", metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._pipeline = pipeline
        self.metadata = metadata

    def save(self, data: Report) -> None:
        if not data.page:
            delete_file(self._filepath)
            delete_written_files(self._filepath.with_name(data.folder))
            return
        # The page is on disk before the images change, and is renamed right after them.
        with atomic_write(self._filepath) as page:
            page.write_text(data.page, encoding="utf-8")
            with (
                atomic_write_folder(self._filepath.with_name(data.folder)) as folder,
                progress_bar(f"writing {self._filepath.name}", data.images) as advance,
            ):
                for files in data.files:
                    for name, content in files.items():
                        (folder / name).write_bytes(content)
                    advance(1)

    def load(self) -> str:
        if not self._filepath.is_file():
            raise DatasetError(f"No page at {self._filepath}. Make it with: kedro run --pipelines {self._pipeline}")
        recover_folder(self._images)
        return self._filepath.read_text(encoding="utf-8")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def preview(self, images: int = 12) -> ImagePreview:
        """The first images of the gallery for Kedro-Viz, which cannot show a page with its scripts."""
        paths = sorted(self._images.glob("*.jpg"))[:images]
        return contact_sheet((Image.open(path) for path in paths), columns=3, width=240)

    @property
    def _images(self) -> Path:
        return self._filepath.with_name(f"{self._filepath.stem}_images")
