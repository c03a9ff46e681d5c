"""The additional masks of SBD (Hariharan et al., Semantic contours from inverse detectors, ICCV 2011).

SBD provides masks for VOC images that have none. The training set of most papers is
``train_aug = (VOC train + SBD train + SBD val) - VOC val``: 10,582 images.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.masks import palette_image

TRAIN_AUG_MASKS = "SegmentationClassAug"
TRAIN_AUG_LIST = "trainaug"

_NOT_OFFICIAL = (
    "This is not SBD's official archive: check benchmark.tgz in conf/base/globals.yml, or use --env voc2012."
)


def is_needed_member(member: str) -> bool:
    """Return whether a member of SBD's archive is needed: the class masks and the two lists."""
    return re.search(r"(^|/)dataset/(cls/[^/]+\.mat|(train|val)\.txt)$", member) is not None


def train_aug_ids(train: Iterable[str], val: Iterable[str], sbd: Iterable[str]) -> tuple[str, ...]:
    """Return (train + sbd) - val, sorted: no validation image is used for training."""
    return tuple(sorted((set(train) | set(sbd)) - set(val)))


def add_train_aug(voc: Path, sbd: Path, size: int) -> None:
    """Write ``SegmentationClassAug`` and ``ImageSets/Segmentation/trainaug.txt`` into a VOC 2012 folder.

    VOC's own masks are preferred: they have void borders, SBD's have none.

    Args:
        voc: The ``VOC2012`` folder.
        sbd: SBD's ``dataset`` folder, with ``cls``, ``train.txt`` and ``val.txt``.
        size: Expected number of images.

    Raises:
        VocSegError: The number of images differs, a mask cannot be read, or other files are in the way.
    """
    lists = voc / "ImageSets" / "Segmentation"
    official = read_ids(lists / "train.txt")
    extra = [image_id for name in ("train", "val") for image_id in read_ids(sbd / f"{name}.txt")]
    ids = train_aug_ids(official, read_ids(lists / "val.txt"), extra)
    if len(ids) != size:
        raise VocSegError(
            f"train_aug has {len(ids)} images, not {size}: the lists in {lists} or in SBD's archive are not the "
            f"official ones. Move {voc} away and run again, or use --env voc2012."
        )
    path = lists / f"{TRAIN_AUG_LIST}.txt"
    listed = path.is_file()
    if listed and set(read_ids(path)) != set(ids):
        raise VocSegError(f"{path} exists and lists other images than train_aug has. Move it away and run again.")
    masks = voc / TRAIN_AUG_MASKS
    if not masks.exists():
        _write_masks(masks, voc / "SegmentationClass", sbd / "cls", ids, frozenset(official))
    elif not {path.stem for path in masks.iterdir()}.issuperset(ids):
        raise VocSegError(
            f"{masks} exists, but does not have the masks of all {size} images. "
            "Move it away and run again to create it from VOC's and SBD's masks."
        )
    if not listed:
        with atomic_write(path) as partial:
            partial.write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")


def _write_masks(folder: Path, own: Path, sbd: Path, ids: tuple[str, ...], official: frozenset[str]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()

    def write(image_id: str) -> None:
        target = partial / f"{image_id}.png"
        if image_id in official:
            shutil.copyfile(own / target.name, target)
        else:
            palette_image(read_mat(sbd / f"{image_id}.mat")).save(target)

    try:
        with progress_bar("converting SBD's masks", len(ids)) as advance:
            for _ in parallel_map(write, ids):
                advance(1)
        partial.rename(folder)
    except OSError as error:
        raise VocSegError(
            f"Could not write the masks of train_aug into {folder}: {error}. "
            "Make room or restore the file it names, and run again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_mat(path: Path) -> np.ndarray:
    """Read ``GTcls.Segmentation`` of ``cls/<id>.mat``: ``uint8 (H, W)``, class index 0..20; SBD has no void.

    Raises VocSegError if the file is missing or is not such a mask.
    """
    from scipy.io import loadmat  # slow to import, and rarely needed

    try:
        with path.open("rb") as file:
            mask = np.asarray(loadmat(file)["GTcls"]["Segmentation"][0, 0])
    except FileNotFoundError:
        raise VocSegError(
            f"SBD's archive lists {path.stem}, but has no {path.parent.name}/{path.name}. {_NOT_OFFICIAL}"
        ) from None
    except Exception as error:  # loadmat raises many exception types on malformed files
        raise VocSegError(
            f"SBD's mask {path.name} cannot be read: {type(error).__name__}: {error}. {_NOT_OFFICIAL}"
        ) from error
    if mask.ndim != 2 or mask.dtype != np.uint8 or mask.max(initial=0) >= len(CLASS_NAMES):
        raise VocSegError(
            f"SBD's mask {path.name} is {mask.dtype} {mask.shape} with values up to {mask.max(initial=0)}, "
            f"not uint8 (H, W) with classes 0 to {len(CLASS_NAMES) - 1}. {_NOT_OFFICIAL}"
        )
    return mask
