"""Words for folders and lists that are not there: what is there instead, and what to do."""

import os
from collections.abc import Iterable
from pathlib import Path

from voc_seg.errors import VocSegError
from voc_seg.voc.names import printable

_NAMED = 6
"""Entries of a folder that a message lists."""


def contents(folder: Path) -> str:
    """What a folder holds, as a clause; links that lead nowhere say so."""
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir fails where nothing may be looked at
        return "which is not a folder" if os.path.lexists(folder) else "which does not exist"
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return f"which cannot be looked into: {error.strerror}"
    if not entries:
        return "which is empty"
    shown = ", ".join(map(_shown, entries[:_NAMED]))
    return printable(f"which holds {shown}{' ...' if len(entries) > _NAMED else ''}")


def _shown(path: Path) -> str:
    return f"{printable(path.name)} ({_target(path)})" if is_dead_link(path) else printable(path.name)


def _target(link: Path) -> str:
    return printable(f"a link to {os.readlink(link)}, which is not there")  # noqa: PTH115 - as it stands in the link


def is_dead_link(path: Path) -> bool:
    """Whether a path is a link that leads nowhere; no error where it is too long or leads round in a circle."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def dead_link_advice(paths: Iterable[Path]) -> str:
    """What to do where one of some paths is a link that leads nowhere, as a sentence; empty where none is."""
    dead = next((path for path in paths if is_dead_link(path)), None)
    if dead is None:
        return ""
    return (
        f"{dead} is {_target(dead)}: mount the disk that it lies on, or make the link anew to where the files are now."
    )


def require_folder(folder: Path, what: str, use: str) -> None:
    """Refuse to go on without a folder.

    Args:
        folder: It.
        what: What should lie there.
        use: What to do when it is merely missing.

    Raises:
        VocSegError: It is not there, is a file, or a link that leads nowhere.
    """
    if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir fails where nothing may be looked at
        return
    if advice := dead_link_advice([folder]):
        raise VocSegError(f"{what} should lie in {folder}. {advice}")
    if os.path.lexists(folder):
        raise VocSegError(f"{what} should lie in {folder}, which is no folder that can be read. {use}")
    beside = sorted(path.name for path in folder.parent.iterdir() if path.name.lower().startswith(folder.name.lower()))
    if f"{folder.name}.dvc" in beside:
        raise VocSegError(f"{what} should lie in {folder}, which DVC has not fetched yet. Run: dvc pull")
    similar = f"{' and '.join(beside)} is there: if that is it, rename it to {folder.name}. " if beside else ""
    raise VocSegError(f"{what} should lie in {folder}, which is not there. {similar}{use}")


def other_lists(folder: Path) -> str:
    """The lists that a folder of image lists has instead of the one that is missing, as a sentence; maybe empty."""
    try:
        names = sorted(path.name for path in folder.glob("*.txt"))
    except OSError:
        return ""
    if "default.txt" in names:
        return (
            "default.txt is there, in which CVAT lists all images: copy four of five of its lines into train.txt and "
            "the others into val.txt. "
        )
    return f"{', '.join(names[:_NAMED])} {'is' if len(names) == 1 else 'are'} there. " if names else ""
