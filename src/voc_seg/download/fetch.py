"""Provides the data of a source: draws the sample, or fetches, verifies and unpacks VOC's archives."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from voc_seg.scenes.sample import DEFAULT_COUNTS, drawn_scenes, write_scenes
from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.voc.image_lists import list_path
from voc_seg.voc.sources import SOURCES, Source, source_named
from voc_seg.voc.splits import find_voc_folder, read_split

from .archives import Archive, download_lock, fetch_archive, given_archive
from .connection import DEFAULT_POLICY, RetryPolicy
from .sbd import add_train_aug, is_needed_member
from .unpack import unpack

logger = logging.getLogger(__name__)

_MARKER = ".complete.json"
"""File in a ``VOC<year>`` folder that lists the archives unpacked into it, each with its md5."""

_RECOVERY_ADVICE = "Add what is missing, move the folder away to create it again, or use --params voc_root=PATH."


def fetch(
    source: str,
    root: Path,
    archives: Mapping[str, Archive],
    given: Path | None = None,
    policy: RetryPolicy = DEFAULT_POLICY,
) -> Path:
    """Provide the data of a source under ``root`` and return its ``VOC<year>`` folder; complete data is kept as it is.

    Several processes may call this at once: one does the work, the others wait.

    Args:
        source: Key of `voc_seg.voc.sources.SOURCES`.
        root: Folder for ``VOCdevkit`` and the archives.
        archives: The declared archives by file name.
        given: An archive or a folder of archives on disk, used instead of a download.
        policy: Time-outs and retries of downloads.

    Raises:
        VocSegError: The data cannot be provided; the message gives the reason and alternatives.
    """
    known = source_named(source)
    if given is not None and not known.archives:
        raise VocSegError(
            f"voc_archive is {given}, but the source {source!r} is not unpacked from an archive. "
            "Choose a source that is: --env voc2012, voc2012_aug or voc2007."
        )
    if source == "own":
        raise VocSegError(
            "The source 'own' is your own folder in VOC layout: set its path with --params voc_root=PATH, or as "
            "voc_root in globals.yml. docs/own_data.md has a worked example."
        )
    if source == "sample":
        return _draw_sample(root)
    if is_complete(root, known):
        folder = find_voc_folder(root, known.year)
        _require_declared(folder, known, archives)
        if given is not None:
            logger.info("voc_archive (%s) is not needed: %s is complete", given, folder)
        return folder
    wanted = [_archive_named(archives, name) for name in known.archives]
    if given is not None and not any(given_archive(archive, given) for archive in wanted):
        names = " nor ".join(f"{archive.name} (md5 {archive.md5})" for archive in wanted)
        raise VocSegError(
            f"voc_archive is {given}, which is neither {names} nor a folder with such a file. "
            + (
                "It is truncated or another version: download it again."
                if given.name in known.archives
                else "Give the path of one, or omit voc_archive to download it."
            )
        )
    with download_lock(root):
        voc2012 = SOURCES["voc2012"]
        base = voc2012 if source == "voc2012_aug" else known
        if not is_complete(root, base):
            _refuse_incomplete_folder(root, base)
            files = [fetch_archive(archive, root, given, policy) for archive in wanted[: len(base.archives)]]
            _unpack_devkit(root, base, files, wanted)
        if not is_complete(root, known):
            _unpack_sbd(root, known, fetch_archive(wanted[-1], root, given, policy), wanted[-1])
            if not is_complete(root, known):  # a hand-made folder without the images that only SBD has masks for
                _refuse_incomplete_folder(root, known)
    return find_voc_folder(root, known.year)


def is_complete(root: Path, source: Source) -> bool:
    """Return whether the data is complete: all archives are marked as unpacked, or every listed file exists."""
    try:
        folder = find_voc_folder(root, source.year)
        if set(source.archives).issubset(_unpacked_archives(folder)):
            # Files deleted since are reported by the index.
            lists = [list_path(folder, name) for name in source.lists.values() if name]
            masks = [folder / source.mask_folder(split) for split in source.lists]
            return all(path.is_file() for path in lists) and all(path.is_dir() for path in masks)
        if _first_missing(folder, source) is not None:
            return False
        # Made by hand: train_aug is exactly 10,582 images.
        return source.name != "voc2012_aug" or len(read_split(folder, source.name, "train")) == source.sizes["train"]
    except (VocSegError, OSError):
        return False


def _require_declared(folder: Path, source: Source, archives: Mapping[str, Archive]) -> None:
    """Refuse data unpacked from archives with other checksums than those declared now."""
    for name, md5 in _unpacked_archives(folder).items():
        if name in source.archives and name in archives and archives[name].md5 != md5:
            raise VocSegError(
                f"{folder} was unpacked from a {name} of md5 {md5}, but conf/base/globals.yml now declares "
                f"{archives[name].md5}. Move the folder away to create it again, or restore that md5."
            )


def _first_missing(folder: Path, source: Source) -> Path | None:
    """Return the first missing file of a source's lists, or None; files are not opened."""
    for name in source.lists.values():
        if name and not list_path(folder, name).is_file():
            return list_path(folder, name)
    images = {path.name for path in (folder / "JPEGImages").iterdir()}
    for split in (read_split(folder, source.name, name) for name in source.lists):
        masks = {path.name for path in split.masks.iterdir()} if split.ids else set()
        for image_id in split.ids:
            for path, there in ((split.image_path(image_id), images), (split.mask_path(image_id), masks)):
                if path.name not in there:
                    return path
    return None


def _archive_named(archives: Mapping[str, Archive], name: str) -> Archive:
    if name not in archives:
        raise VocSegError(
            f"conf/base/globals.yml has no archive {name}; it has {', '.join(archives) or 'none'}. "
            "Restore its entry with md5 and addresses."
        )
    return archives[name]


def _draw_sample(root: Path) -> Path:
    try:
        if (folder := drawn_scenes(root)) is not None:
            return folder
        with download_lock(root):
            if not (root / "VOCdevkit").exists():
                logger.info("Drawing the sample, %d scenes, into %s", sum(DEFAULT_COUNTS.values()), root)
            return write_scenes(root)
    except OSError as error:
        raise VocSegError(
            f"The drawn sample could not be written to {root}: {error}. "
            "Make that folder writable, empty it, or use an existing VOCdevkit with --params voc_root=PATH."
        ) from error


def _refuse_incomplete_folder(root: Path, source: Source) -> None:
    """Refuse to overwrite an incomplete folder of other origin."""
    if not (root / "VOCdevkit").exists():
        return
    folder = root / "VOCdevkit" / f"VOC{source.year}"
    if not folder.exists():
        raise VocSegError(f"{folder.parent} exists, but has no {folder.name}. {_RECOVERY_ADVICE}")
    try:
        lost = _first_missing(folder, source)
        missing = f"{lost.relative_to(folder)} is missing" if lost else "its lists are not the official ones"
    except (VocSegError, OSError) as error:
        missing = str(error)
    raise VocSegError(f"{folder} exists, but is incomplete: {missing}. {_RECOVERY_ADVICE}")


def _unpack_devkit(root: Path, source: Source, files: list[Path], archives: list[Archive]) -> None:
    """Unpack archives into one ``VOCdevkit``, atomically."""
    partial = root / ".unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        parts = [partial / str(number) for number in range(len(files))]
        for path, part in zip(files, parts):
            logger.info("Unpacking %s into %s", path.name, root)
            unpack(path, part)
            if not (part / "VOCdevkit" / f"VOC{source.year}").is_dir():
                raise VocSegError(f"{path} has no folder VOCdevkit/VOC{source.year}: it is a different archive.")
        for part in parts[1:]:
            _move_into(part, parts[0])
        devkit = parts[0] / "VOCdevkit"
        _write_marker(devkit / f"VOC{source.year}", archives[: len(files)])
        _flush_disk()
        devkit.rename(root / "VOCdevkit")
    except OSError as error:
        raise VocSegError(f"Could not unpack into {root}: {error}. Fix the cause and run again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info("%s is complete; %s may be deleted.", root / "VOCdevkit", " and ".join(map(str, files)))


def _move_into(part: Path, target_root: Path) -> None:
    for path in [path for path in part.rglob("*") if path.is_file()]:
        target = target_root / path.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _unpack_sbd(root: Path, source: Source, path: Path, archive: Archive) -> None:
    voc = find_voc_folder(root, source.year)
    partial = root / ".sbd"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        logger.info("Unpacking the masks of %s", path.name)
        unpack(path, partial, is_needed_member)
        found = [folder for folder in partial.rglob("cls") if folder.is_dir()]
        if len(found) != 1:
            raise VocSegError(f"{path} has no folder dataset/cls with SBD's masks: it is a different archive.")
        add_train_aug(voc, found[0].parent, source.sizes["train"])
        _flush_disk()
        _write_marker(voc, [archive])
    except OSError as error:
        raise VocSegError(f"Could not unpack into {root}: {error}. Fix the cause and run again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info("%s has the masks of train_aug; %s may be deleted.", voc, path)


def _unpacked_archives(folder: Path) -> dict[str, str]:
    """Return name and md5 of the archives that were unpacked into a folder."""
    try:
        found = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _flush_disk() -> None:
    """Sync everything to disk before a folder is marked complete: its files are not checked again."""
    if hasattr(os, "sync"):
        os.sync()


def _write_marker(folder: Path, archives: list[Archive]) -> None:
    marks = _unpacked_archives(folder) | {archive.name: archive.md5 for archive in archives}
    with atomic_write(folder / _MARKER) as partial:
        partial.write_text(json.dumps(marks, indent=2) + "\n", encoding="utf-8")
