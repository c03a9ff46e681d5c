"""Checks of masks against their images, and of values that look like noise or blur."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from voc_seg.system.names import counted, listed

from ..alignment import misplaced_mask, misplaced_masks
from ..class_plan import ClassPlan
from ..findings import Finding, of_images
from ..layout import VOID_NAME, Stored
from ..stored import stored_counts, text_of
from .meaning import LabelledPair, stored_key

_MANY_MISPLACED = 0.05
"""Fraction of masks flagged above which it is not chance; of right ones, 0.2 to 1.8 % are flagged."""
_SOFT_VALUES, _SURELY_SOFT = 3, 8
"""Number of values along borders only that may be blur, and that surely is; one or two may be classes of thin lines."""
_STRAY_PIXELS, _USUAL_PIXELS = 10, 200


def mask_findings(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    """Yield findings about where masks lie, soft borders and stray pixels."""
    yield from _placement(pairs)
    yield from _soft_borders(pairs, plan)
    yield from _stray(pairs, plan)
    yield from _palettes(pairs, plan)


def _palettes(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    """Yield a finding about palettes that show values in colours of other classes: masks of another numbering."""
    if plan.by_colour:
        return
    owners = {colour: name for name, colour in zip(plan.names, plan.colours) if colour}
    clashes = {
        pair.facts.image_id: (value, meaning, owners[colour])
        for pair in pairs
        for value, colour in pair.facts.palette.items()
        if (meaning := plan.values.get(value, VOID_NAME)) != VOID_NAME and owners.get(colour, meaning) != meaning
    }
    if clashes:
        value, meaning, other = next(iter(clashes.values()))
        yield of_images(
            "error",
            "palette",
            f"{counted(len(clashes), 'mask')} with a palette that contradicts data.values: {value} means {meaning} "
            f"and has the colour of {other}.",
            "If the colours are right, export these masks with the values of the others. If the values are, correct "
            "the colours under data.classes.",
            clashes,
        )


def _placement(pairs: Sequence[LabelledPair]) -> Iterator[Finding]:
    fitting = [one for one in pairs if one.facts.mask_size in (one.facts.size, one.facts.upright_size)]
    fitting = [one for one in fitting if one.facts.traits.upright_score is None]  # how they lie depends on data.exif
    whole = misplaced_masks([one.facts.traits.alignment for one in fitting])
    if whole:
        shifted = whole.how.startswith("shifted")
        yield Finding(
            "warning" if shifted else "error",
            "misplaced-masks",
            f"The masks look {whole.how}: their borders then lie on edges of the images (score {whole.better:.2f}, as "
            f"they are {whole.score:.2f}; 0.5 is chance).",
            "Look at the overlays, and export the masks again or move them." if shifted
            else "Look at the overlays; turn or mirror masks or images so that both agree.",
            len(fitting),
            tuple(one.id for one in fitting[:5]),
        )  # fmt: skip
        return
    single = [(one, better) for one in fitting if (better := misplaced_mask(one.facts.traits.alignment))]
    if single:
        single.sort(key=lambda one: one[1].score - one[1].better)
        many = len(single) > max(2, _MANY_MISPLACED * len(fitting))
        yield of_images(
            "warning" if many else "note",
            "misplaced-mask",
            f"{counted(len(single), 'mask')} may be misplaced: borders fit the image better elsewhere. That of "
            f"{single[0][0].id} looks {single[0][1].how}.",
            "Look at the overlays. About one correct mask in a hundred is named by mistake.",
            [one.id for one, _ in single],
        )


def _soft_borders(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    occurs: Counter[Stored] = Counter()
    thin: dict[Stored, list[str]] = {}
    for one in pairs:
        occurs.update(stored_counts(one.facts, plan.by_colour).keys())
        for key in {stored_key(one.facts, key, plan) for key in one.facts.traits.border_values}:
            thin.setdefault(key, []).append(one.id)
    soft = [key for key, ids in thin.items() if len(ids) == occurs[key] and plan.values.get(key) != VOID_NAME]
    if len(soft) < _SOFT_VALUES:
        return
    wanted = {image_id for key in soft for image_id in thin[key]}
    images = [one.id for one in pairs if one.id in wanted]
    soft.sort(key=lambda key: -len(thin[key]))
    yield of_images(
        "error" if len(soft) >= _SURELY_SOFT else "warning",
        "antialiased",
        f"{len(soft)} values or colours only as thin lines along borders ({listed([*map(text_of, soft)], 4)}): "
        f"{counted(len(images), 'mask')} with smoothed (anti-aliased) or compressed borders.",
        "Export masks as PNG without anti-aliasing, or map these values to void (--void). Right if classes are lines.",
        images,
    )


def _stray(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    areas = {name: [one.pixels[name] for one in pairs if one.pixels.get(name)] for name in plan.names[1:]}
    usual = {name: median(ones) for name, ones in areas.items() if ones}
    stray: dict[str, list[str]] = {}
    for one in pairs:
        for name, area in usual.items():
            if area >= _USUAL_PIXELS and 0 < one.pixels.get(name, 0) <= _STRAY_PIXELS:
                stray.setdefault(one.id, []).append(name)
    if stray:
        names = sorted({name for ones in stray.values() for name in ones})
        yield of_images(
            "note",
            "stray-pixels",
            f"{counted(len(stray), 'mask')} with a class of at most {_STRAY_PIXELS} pixels that is larger elsewhere "
            f"({listed(names)}): slips of the brush?",
            "Look at these masks; remove the pixels if nothing is there.",
            stray,
        )
