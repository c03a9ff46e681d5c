"""Checks of the class statistics: classes without a pixel, a first class that is not background."""

import re
from collections.abc import Iterable

import pandas as pd

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed

from .mask_values import NUMBERED_FROM_ONE, shifted_values

_MIN_BACKGROUND = 0.05
"""Fraction of the labelled pixels below which the background class is questioned."""
_BACKGROUND = {"background", "bg"}
_BACKGROUND_LIKE = {
    "other", "others", "rest", "none", "nothing", "void", "unlabelled", "unlabeled", "unknown", "ignore", "empty",
}  # fmt: skip
_ONE_VALUE = re.compile(r"unknown labels: .* has (\d+) \(.*", re.DOTALL)


def absent_classes(statistics: pd.DataFrame, split: str) -> list[str]:
    """Return the classes without a pixel in a split; none if the split has no labelled pixel."""
    pixels = statistics[f"{split}_pixels"]
    return statistics.loc[(pixels == 0) & pixels.any(), "class_name"].tolist()


def absence_warnings(statistics: pd.DataFrame, splits: Iterable[str] = ("train", "val")) -> list[str]:
    """Return a warning for every split in which classes have no pixel."""
    warnings = []
    for split in splits:
        absent, names = absent_classes(statistics, split), statistics["class_name"].tolist()
        if not absent:
            continue
        if absent == names[1:]:
            effect = f"Every pixel is {names[0]!r}: a score on it says nothing about the other classes."
        elif split == "train":
            effect = "They cannot be learnt."
        else:
            effect = "Unless they are predicted there, they have no IoU, and the mIoU is the mean over the others."
        warnings.append(
            f"{split}: {len(absent)} of {len(names)} classes have no pixel in any usable image: {listed(absent)}. "
            f"{effect}"
        )
    return warnings


def background_warnings(statistics: pd.DataFrame, split: str = "train", has_values: bool = False) -> list[str]:
    """Return warnings that mask value 0 may not be background; none without a labelled pixel.

    With ``has_values`` the settings say which stored values the first class has, so it need not be background.
    """
    if not statistics[f"{split}_pixels"].any():
        return []
    first = statistics.iloc[0]
    name, share = first["class_name"], first[f"{split}_pixel_share"]
    subject = "the first class" if has_values else "mask value 0"
    covers = f"{subject} is {name!r} and covers {100 * share:.3g} % of the labelled pixels of {split}"
    if name.lower() in _BACKGROUND and share < _MIN_BACKGROUND:
        return [
            f"{covers}, little for a background. Do the masks begin at another value, or are data.classes in another "
            "order than the mask values?"
        ]
    if not has_values and not _is_background_like(name):
        return [
            f"{covers}. If {name!r} is the background, all is well. If not, and 0 is the background in these masks, "
            "data.classes needs background as its first class."
        ]
    return []


def unknown_value_hint(rejected: pd.DataFrame, class_names: list[str] | tuple[str, ...]) -> str:
    """Return the likely cause if the only unknown mask value is one above the declared classes; else empty."""
    reasons = rejected.loc[rejected["reason"].str.startswith("unknown labels:"), "reason"]
    matches = [_ONE_VALUE.fullmatch(reason) for reason in reasons]
    if not matches or any(match is None or int(match[1]) != len(class_names) for match in matches):
        return ""
    if reasons.str.contains(NUMBERED_FROM_ONE, regex=False).all():
        return (
            f"{len(matches)} masks hold the value {len(class_names)} and no 0: the masks probably number the classes "
            f"from 1, so the others are read wrongly too. Set {shifted_values(class_names)} and run data_processing "
            "again."
        )
    lacking = (
        "A class is probably missing from data.classes"
        if _is_background_like(class_names[0])
        else f"Background is probably missing from data.classes: it comes first, before {class_names[0]!r}"
    )
    return (
        f"{len(matches)} masks hold the value {len(class_names)}, one more than the last of the {len(class_names)} "
        f"classes in data.classes. {lacking}."
    )


def require_foreground(statistics: pd.DataFrame, split: str = "train") -> None:
    """Refuse a split whose labelled pixels are all of the first class."""
    names = statistics["class_name"].tolist()
    if absent_classes(statistics, split) == names[1:]:
        raise VocSegError(
            f"Every labelled pixel of {split} is {names[0]!r} (mask value 0): every declared class but {names[0]} is "
            f"absent ({listed(names[1:])}), so there is nothing to learn. Check that data.classes lists the classes "
            "in the order of the mask values and that the masks hold these values; data.values maps the values in "
            "the files to classes. Then run: kedro run --pipelines data_processing"
        )


def _is_background_like(name: str) -> bool:
    """Return whether a class name means "no object": background, other, unlabelled."""
    return not (_BACKGROUND | _BACKGROUND_LIKE).isdisjoint(re.split(r"[\W_]+", name.lower()))
