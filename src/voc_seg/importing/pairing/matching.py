"""Which mask belongs to which image, by their names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, name_key
from voc_seg.voc.file_names import MASK_ENDINGS

from ..notes import examples
from .affixes import Rule, coverage, find_rules

_MIN_COVERAGE = 0.5
"""Share of images or masks that a rule without words for masks must explain: ``cat_1`` and ``dog_1`` are two images."""

Named = Mapping[PurePosixPath, str]
"""Files and their names: relative to the folder of images or masks, without ending."""


@dataclass(frozen=True)
class Matched:
    """Pairs of an image and a mask, and the files without a partner."""

    pairs: Mapping[PurePosixPath, PurePosixPath]  # mask by image
    images: tuple[PurePosixPath, ...] = ()  # without a mask
    masks: tuple[PurePosixPath, ...] = ()  # without an image
    notes: tuple[str, ...] = ()  # one sentence each


def match_masks(images: Named, masks: Named) -> Matched:
    """Match masks to images: by equal names, then ignoring case, then by a rule found in the names.

    A mask may also be named as the whole image file: ``a.jpg.png``. If no name agrees with its folders, but names
    without folders do and are distinct, folders do not matter. Of several masks of one name, a JPEG is taken for a
    preview, since it cannot hold labels. Other ambiguous names are not paired.

    Raises:
        VocSegError: There are only ambiguous names, or two rules fit equally well.
    """
    matching = _Matching(images, masks)
    matching.match(str)
    matching.match(name_key)
    matching.match(name_key, whole=True)
    if not matching.pairs:
        matching.drop_folders()
        matching.match(name_key)
        matching.match(name_key, whole=True)
    while matching.match_by_rule():
        pass
    if not matching.pairs and matching.ambiguous:
        raise VocSegError(_ambiguous(matching.ambiguous))
    return Matched(
        matching.pairs,
        tuple(image for image in images if image not in matching.pairs),
        tuple(matching.masks),
        matching.notes(),
    )


class _Matching:
    """Pairs found so far, and the images and masks that are left."""

    def __init__(self, images: Named, masks: Named) -> None:
        self.images, self.masks = dict(images), dict(masks)
        self.pairs: dict[PurePosixPath, PurePosixPath] = {}
        self.ambiguous: list[tuple[list[PurePosixPath], list[PurePosixPath]]] = []
        self.previews: list[PurePosixPath] = []
        self.rules: list[tuple[Rule, int]] = []
        self.without_folders = False

    def match(self, key: Callable[[str], str], whole: bool = False) -> None:
        """Match equal keys of names, with the ending of the image if ``whole``."""
        ending = {image: image.suffix if whole else "" for image in self.images}
        self._match({image: key(name + ending[image]) for image, name in self.images.items()}, key)

    def match_by_rule(self) -> bool:
        """Match by the best rule; return whether it added a pair."""
        images = {image: name_key(name) for image, name in self.images.items()}
        masks = {name_key(name) for name in self.masks.values()}
        if not images or not masks:
            return False
        names = sorted(set(images.values()))
        trusted = [
            (rule, pairs)
            for rule, pairs in find_rules(names, sorted(masks))
            if rule.in_words
            or (not self.pairs and len(pairs) > 1 and coverage(pairs, names, sorted(masks)) >= _MIN_COVERAGE)
        ]
        if not trusted:
            return False
        rule, pairs = trusted[0]
        for other, others in trusted[1:]:
            equal = other.in_words == rule.in_words and len(others) == len(pairs)
            if equal and set(others) == set(pairs) and not set(others.values()) & set(pairs.values()):
                raise VocSegError(
                    f"Each image has several masks: names differ as in {rule}, and as in {other}. Move the files that "
                    "are not the masks into another folder."
                )
        before = len(self.pairs)
        self._match({image: pairs[name] for image, name in images.items() if name in pairs}, name_key)
        self.rules.append((rule, len(self.pairs) - before))
        return len(self.pairs) > before

    def drop_folders(self) -> None:
        """Forget the folders in names, if names are distinct without them."""
        for files in (self.images, self.masks):
            short = {path: name.rpartition("/")[2] for path, name in files.items()}
            if len({name_key(name) for name in short.values()}) == len(files):
                self.without_folders |= short != files
                files.update(short)

    def notes(self) -> tuple[str, ...]:
        """Return what was assumed."""
        found = [f"Masks were matched by name: {rule} ({count:,})." for rule, count in self.rules if count]
        if self.without_folders and self.pairs:
            image, mask = next(iter(self.pairs.items()))
            found.insert(0, f"Folders in the paths were ignored, since they do not agree: {image} has the mask {mask}.")
        if self.previews:
            found.append(
                f"{counted(len(self.previews), 'JPEG file', 'JPEG files')} beside masks of the same name are taken for "
                f"previews: {examples(self.previews)}."
            )
        return (*found, *([_ambiguous(self.ambiguous)] if self.ambiguous else []))

    def _match(self, wanted: Mapping[PurePosixPath, str], key: Callable[[str], str]) -> None:
        images, masks = _grouped(wanted), _grouped({mask: key(name) for mask, name in self.masks.items()})
        for name, several in images.items():
            if name not in masks:
                continue
            lossless = [mask for mask in masks[name] if mask.suffix.lower() in MASK_ENDINGS]
            found = lossless if len(lossless) == 1 else masks[name]
            if len(several) == len(found) == 1:
                self.pairs[several[0]] = found[0]
                self.previews += [mask for mask in masks[name] if mask not in found]
            else:
                self.ambiguous.append((several, found))
            _remove(self.images, several)
            _remove(self.masks, masks[name])


def _ambiguous(groups: Sequence[tuple[list[PurePosixPath], list[PurePosixPath]]]) -> str:
    images, masks = groups[0]
    return (
        f"{counted(len(groups), 'name fits', 'names fit')} several images or masks, which are not used: for example "
        f"{examples(images)} and {examples(masks)}. Keep one image and one mask of each name."
    )


def _grouped(names: Mapping[PurePosixPath, str]) -> dict[str, list[PurePosixPath]]:
    found: dict[str, list[PurePosixPath]] = {}
    for path, name in names.items():
        found.setdefault(name, []).append(path)
    return found


def _remove(files: dict[PurePosixPath, str], paths: Iterable[PurePosixPath]) -> None:
    for path in paths:
        del files[path]
