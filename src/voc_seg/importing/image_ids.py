"""Image ids for files that may have the same name in several folders."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePath

from voc_seg.system.names import LONGEST_ID, formula_sign, image_id_problem, name_key


def image_ids(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a distinct image id for each path.

    The id is the file name without its ending. Where names repeat (ignoring case), the folders are added to all of
    them, as many as needed: ``train/a.jpg`` and ``val/a.jpg`` become ``train_a`` and ``val_a``. Characters that ids
    cannot have become ``_``.
    """
    parts = _without_common_folder([_parts(path) for path in paths])
    depth = [1] * len(parts)
    while True:
        ids = ["_".join(part[-count:]) for part, count in zip(parts, depth)]
        groups: dict[str, list[int]] = {}
        for index, one in enumerate(ids):
            groups.setdefault(name_key(one), []).append(index)
        unclear = [group for group in groups.values() if len({parts[index] for index in group}) > 1]
        longer = [index for group in unclear for index in group if depth[index] < len(parts[index])]
        if not longer:
            return _numbered(ids)
        for index in longer:
            depth[index] += 1


def _parts(path: str) -> tuple[str, ...]:
    pure = PurePath(path)
    folders = pure.relative_to(pure.anchor).parent.parts
    names = [*folders, pure.stem if pure.suffix else pure.name]
    return tuple(clean for name in names if (clean := _clean(name)))


def _without_common_folder(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Remove the folders above all images: they tell none apart, and change when the data is moved."""
    levels = zip(*(path[:-1] for path in paths))
    common = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, levels))
    return [path[common:] for path in paths]


def _clean(name: str) -> str:
    """Replace what an image id cannot have; see `voc_seg.system.names.image_id_problem`."""
    text = name.encode(errors="replace").decode().strip()
    text = "".join(letter if image_id_problem(f"a{letter}a", windows=True) is None else "_" for letter in text)
    text = re.sub(r"^[.\s]+|[.\s]+$", "_", text)
    if formula_sign(text):
        text = "_" + text.replace(";", "_").lstrip("=+-@")
    return text


def _numbered(ids: Sequence[str]) -> tuple[str, ...]:
    """Shorten ids that are too long, and number those that are still equal."""
    taken: set[str] = set()
    found = []
    for one in ids:
        name, number = _shortened(one), 2
        while name_key(name) in taken:
            name, number = _shortened(one, f"_{number}"), number + 1
        taken.add(name_key(name))
        found.append(name)
    return tuple(found)


def _shortened(name: str, end: str = "") -> str:
    """Return the last bytes of a name that leave room for ``end``, and ``end``."""
    room = LONGEST_ID - len(end)
    return (name.encode()[-room:].decode(errors="ignore").strip(" .") or "image") + end
