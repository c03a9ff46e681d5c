"""Messages about missing folders and lists: what was found instead and what to do."""

import os
from collections.abc import Iterable
from pathlib import Path

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable

from .file_names import list_names

_NAMED = 6
"""Entries of a folder that a message lists."""


def contents(folder: Path) -> str:
    """Describe the contents of a folder as a relative clause; broken links are marked."""
    if not is_folder(folder):
        return "which is not a folder" if os.path.lexists(folder) else "which does not exist"
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return f"which cannot be read: {error.strerror}"
    if not entries:
        return "which is empty"
    shown = ", ".join(map(_shown, entries[:_NAMED]))
    return printable(f"which holds {shown}{' ...' if len(entries) > _NAMED else ''}")


def _shown(path: Path) -> str:
    return f"{printable(path.name)} ({_target(path)})" if is_broken_link(path) else printable(path.name)


def _target(link: Path) -> str:
    return printable(f"a link to {os.readlink(link)}, which does not exist")  # noqa: PTH115 - exactly as written in the link


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; ``Path.is_dir`` raises on missing permissions or long names."""
    return os.path.isdir(path)  # noqa: PTH112


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a broken link, including a circular one."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def broken_link_advice(paths: Iterable[Path]) -> str:
    """Return advice on the first broken link among the paths, as a sentence; empty if there is none."""
    broken = next((path for path in paths if is_broken_link(path)), None)
    if broken is None:
        return ""
    return f"{broken} is {_target(broken)}: mount the disk it points to, or link to where the files are now."


def require_folder(folder: Path, what: str, use: str) -> None:
    """Require a folder that exists and is neither a file nor a broken link.

    In the message, ``what`` is the subject (what belongs in the folder) and ``use`` the advice if it is missing.
    """
    if is_folder(folder):
        return
    if advice := broken_link_advice([folder]):
        raise VocSegError(f"{what} should be in {folder}. {advice}")
    if os.path.lexists(folder):
        raise VocSegError(f"{what} should be in {folder}, which is not a folder. {use}")
    similar = [name for name in list_names(folder.parent) if name.lower().startswith(folder.name.lower())]
    if f"{folder.name}.dvc" in similar:
        raise VocSegError(f"{what} should be in {folder}, which DVC has not fetched yet. Run: dvc pull")
    instead = f"Found {' and '.join(similar)} instead: if that is the folder, rename it to {folder.name}. "
    raise VocSegError(f"{what} should be in {folder}, which does not exist. {instead if similar else ''}{use}")


def describe_other_lists(folder: Path) -> str:
    """Describe the lists found instead of a missing one, as a sentence; empty if there are none."""
    try:
        names = sorted(path.name for path in folder.glob("*.txt"))
    except OSError:
        return ""
    if "default.txt" in names:
        return (
            "Found default.txt, in which CVAT lists all images: copy about 80% of its lines into train.txt and the "
            "rest into val.txt. "
        )
    return f"Found {', '.join(names[:_NAMED])} instead. " if names else ""
