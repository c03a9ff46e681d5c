"""Checks of the images: sizes, grey and other channels."""

from collections.abc import Iterator, Sequence
from statistics import quantiles

from voc_seg.system.names import counted

from ..findings import Finding, of_images
from ..inspect import PairFacts

_SMALL = 64
_SIZE_RATIO = 3.0
_MODES = {
    "RGBA": "a fourth channel, read as transparency",
    "LA": "a second channel, read as transparency",
    "PA": "transparency",
    "CMYK": "four printing colours, converted to RGB",
    "YCbCr": "YCbCr colours, converted to RGB",
    "LAB": "Lab colours, converted to RGB",
    "P": "a palette, converted to RGB",
    "1": "one bit",
    "I;16": "16 bits a channel",
    "I": "32 bits a channel",
    "F": "floating-point values",
}


def image_findings(facts: Sequence[PairFacts]) -> Iterator[Finding]:
    """Yield findings about sizes and channels of the readable images."""
    read = [one for one in facts if not one.problem and min(one.size) > 0]
    if not read:
        return
    yield from _sizes(read)
    grey = [one for one in read if one.traits.grey]
    if 0 < len(grey) < len(read):
        few, what = (grey, "grey") if 2 * len(grey) <= len(read) else (
            [one for one in read if not one.traits.grey], "in colour"
        )  # fmt: skip
        yield of_images(
            "note",
            "grey-images",
            f"{len(few)} of {counted(len(read), 'image')} {what}, the others not.",
            "Right if new images vary in the same way; otherwise the network may go by it.",
            [one.image_id for one in few],
        )
    elif grey:
        yield Finding("note", "grey-images", f"{counted(len(read), 'image')}, all grey.", "", len(read))
    for mode in sorted({one.traits.image_mode for one in read} & set(_MODES)):
        ones = [one for one in read if one.traits.image_mode == mode]
        yield of_images(
            "note",
            "channels",
            f"{counted(len(ones), 'image')} with {_MODES[mode]} (mode {mode}).",
            "If the fourth channel is infra-red or depth, set data.channels." if mode == "RGBA" else "",
            [one.image_id for one in ones],
        )


def _sizes(read: Sequence[PairFacts]) -> Iterator[Finding]:
    small = [one for one in read if min(one.size) < _SMALL]
    if small:
        yield of_images(
            "warning",
            "small-images",
            f"{counted(len(small), 'image')} below {_SMALL} pixels on a side, and the network works at 1/16 of that.",
            "Use larger images, or set augmentation.image_size, which enlarges them.",
            [one.image_id for one in small],
        )
    if len(read) < 3:
        return
    longer = sorted(max(one.size) for one in read)
    low, high = quantiles(longer, n=20)[0], quantiles(longer, n=20)[-1]
    if high > _SIZE_RATIO * max(low, 1):
        odd = [one.image_id for one in read if max(one.size) >= high or max(one.size) <= low]
        yield of_images(
            "note",
            "sizes-vary",
            f"Images are of very different sizes: longer sides of {longer[0]} to {longer[-1]} pixels. Objects of one "
            "kind may appear at very different scales.",
            "Set data.longer_side, or augmentation.image_size, to bring them to one scale.",
            odd,
        )
