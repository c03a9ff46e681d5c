"""Getting the data: drawn scenes are written, VOC is downloaded from its home in Oxford."""

import http.client
import logging
import tarfile
from pathlib import Path

from voc_seg.errors import VocSegError

from .scenes import DEFAULT_COUNTS, write_scenes
from .splits import Source, find_voc_folder, list_path, read_split, source_named

logger = logging.getLogger(__name__)

# Archives by torchvision's year and image set: that of 2007's test split is one of its own.
_ARCHIVES = {"voc2012": (("2012", "train"),), "voc2007": (("2007", "train"), ("2007", "test"))}


def fetch(source: str, root: Path) -> Path:
    """Make the data of a source lie under ``root``; what is complete already is left alone.

    Args:
        source: Key of `voc_seg.voc.splits.SOURCES`.
        root: Folder that holds (or will hold) ``VOCdevkit``.

    Returns:
        The ``VOC<year>`` folder.

    Raises:
        VocSegError: The source cannot be had; the message says why and what else can be done.
    """
    known = source_named(source)
    if source == "sample":
        return _draw(root)
    if is_complete(root, known):
        return find_voc_folder(root, known.year)
    if source not in _ARCHIVES:
        raise VocSegError(
            f"{source} is not downloaded by voc_seg, and {root} does not hold all of it. It needs a "
            f"VOC{known.year} folder with JPEGImages, SegmentationClass, the SBD masks as PNG in "
            "SegmentationClassAug, in ImageSets/Segmentation trainaug.txt (or train_aug.txt) and val.txt. "
            "Put that folder there, point at it with --params voc_root=PATH, or take --env voc2012."
        )
    for year, image_set in _ARCHIVES[source]:
        _download(known, root, year, image_set)
    return find_voc_folder(root, known.year)


def is_complete(root: Path, source: Source) -> bool:
    """Whether every image and mask that the source's lists name is there; files are not opened."""
    try:
        folder = find_voc_folder(root, source.year)
        if not all(list_path(folder, name).is_file() for name in source.lists.values() if name):
            return False
        splits = [read_split(folder, source.name, name) for name in source.lists]
        images = {path.stem for path in (folder / "JPEGImages").iterdir()}
    except (VocSegError, OSError):
        return False
    return all(
        images.issuperset(split.ids) and {path.stem for path in split.masks.iterdir()}.issuperset(split.ids)
        for split in splits
        if split.ids
    )


def _draw(root: Path) -> Path:
    if not root.exists():
        logger.info("Drawing the sample, %d scenes, into %s", sum(DEFAULT_COUNTS.values()), root)
    try:
        return write_scenes(root)
    except OSError as error:
        raise VocSegError(
            f"The drawn sample could not be written to {root}: {error}. "
            "Make that folder writable, empty it, or use a VOCdevkit you have with --params voc_root=PATH."
        ) from error


def _download(source: Source, root: Path, year: str, image_set: str) -> None:
    # Imported here, as torch takes over a second and is needed for nothing else in this room.
    from torchvision.datasets import VOCSegmentation
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    archive = DATASET_YEAR_DICT["2007-test" if (year, image_set) == ("2007", "test") else year]
    logger.info("Downloading %s from %s to %s", source.name, archive["url"], root)
    try:
        VOCSegmentation(str(root), year=year, image_set=image_set, download=True)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        raise VocSegError(
            f"Could not download {source.name} from {archive['url']}: {type(error).__name__}: {error}\n"
            "Ways out:\n"
            f"  - fetch {archive['filename']} (md5 {archive['md5']}) by hand, "
            f"put it in {root} and run again;\n"
            "  - use a VOCdevkit you have: --params voc_root=PATH;\n"
            "  - use the drawn sample, which needs no network: kedro run without --env."
        ) from error
