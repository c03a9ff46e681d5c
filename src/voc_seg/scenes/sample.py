"""Drawn scenes in VOC layout: a small labelled data set without a download or a licence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from voc_seg.voc.masks import palette_image

from .painting import draw_scene
from .plan import ScenePlan, plan_split

__all__ = ["DEFAULT_COUNTS", "draw_scene", "drawn_scenes", "plan_split", "write_scenes"]

DEFAULT_COUNTS: Mapping[str, int] = {"train": 64, "val": 32, "test": 32}
"""Images per split."""

_MANIFEST = "scenes.json"
_REVISION = 1
"""Raise it with every change to the images: scenes of another revision are drawn again."""


def drawn_scenes(root: Path, counts: Mapping[str, int] = DEFAULT_COUNTS, seed: int = 0) -> Path | None:
    """Return the folder that `write_scenes` would return if it exists and is complete, else None."""
    plans, manifest = _plan(counts, seed)
    target = _folder(root)
    return target if _is_complete(target, manifest, plans) else None


def _plan(counts: Mapping[str, int], seed: int) -> tuple[dict[str, list[ScenePlan]], dict[str, object]]:
    plans = {split: plan_split(split, count, seed) for split, count in counts.items()}
    return plans, {"revision": _REVISION, "seed": seed, "counts": dict(counts)}


def _folder(root: Path) -> Path:
    return Path(root) / "VOCdevkit" / "VOC2012"


def _is_complete(folder: Path, manifest: Mapping[str, object], plans: Mapping[str, list[ScenePlan]]) -> bool:
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ids = [plan.image_id for split in plans.values() for plan in split]
    return found == manifest and all(
        (folder / "JPEGImages" / f"{name}.jpg").is_file() and (folder / "SegmentationClass" / f"{name}.png").is_file()
        for name in ids
    )


def _write_into(folder: Path, plans: Mapping[str, list[ScenePlan]], manifest: Mapping[str, object]) -> None:
    lists = folder / "ImageSets" / "Segmentation"
    for part in (folder / "JPEGImages", folder / "SegmentationClass", lists):
        part.mkdir(parents=True)
    for split, scenes in plans.items():
        for plan in scenes:
            image, mask = draw_scene(plan)
            Image.fromarray(image).save(folder / "JPEGImages" / f"{plan.image_id}.jpg", quality=90)
            palette_image(mask).save(folder / "SegmentationClass" / f"{plan.image_id}.png", compress_level=3)
        (lists / f"{split}.txt").write_text("".join(f"{plan.image_id}\n" for plan in scenes), encoding="utf-8")
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def write_scenes(root: Path, counts: Mapping[str, int] = DEFAULT_COUNTS, seed: int = 0) -> Path:
    """Draw a data set in VOC layout under ``root`` and return its folder ``root/VOCdevkit/VOC2012``.

    The folder is created atomically. A complete folder with the same counts and seed is kept; scenes drawn with
    other settings are replaced.

    Raises:
        FileExistsError: The folder was not drawn by this function (the real VOC, say); it is not touched.
    """
    plans, manifest = _plan(counts, seed)
    target = _folder(root)
    if _is_complete(target, manifest, plans):
        return target
    if target.exists() and not (target / _MANIFEST).is_file():
        raise FileExistsError(
            f"{target} holds data that is not a drawn sample. Choose another folder for the drawn scenes"
        )
    partial = target.with_name(f".VOC2012-draft-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_into(partial, plans, manifest)
        if target.exists():
            if _is_complete(target, manifest, plans):  # another process has drawn it
                return target
            shutil.rmtree(target)
        partial.rename(target)
    except OSError:
        # Another process may have finished first; its scenes are identical.
        if not _is_complete(target, manifest, plans):
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
