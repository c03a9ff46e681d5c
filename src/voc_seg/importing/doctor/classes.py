"""Checks of classes: absent ones, classes in one split only, imbalance, tiny objects, void."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from voc_seg.system.names import counted, listed

from ..class_plan import ClassPlan
from ..findings import Finding, of_images
from ..layout import VOID_NAME
from ..stored import text_of
from .meaning import LabelledPair

_MUCH_VOID = 0.3
_NEARLY_ALL_VOID = 0.9
_RARE = 0.001
_COMMON = 0.99
_TINY_SHARE, _TINY_PIXELS = 0.001, 1024
"""Fraction of an image, and pixels (32 x 32), below which a class in it is called tiny."""


def class_findings(pairs: Sequence[LabelledPair], plan: ClassPlan, splits: Mapping[str, str]) -> Iterator[Finding]:
    """Yield findings about the classes of the readable pairs."""
    if not pairs:
        return
    yield from _absent(pairs, plan, splits)
    yield from _labels(pairs, plan)
    yield from _balance(pairs, plan)


def _absent(pairs: Sequence[LabelledPair], plan: ClassPlan, splits: Mapping[str, str]) -> Iterator[Finding]:
    images = {name: [one for one in pairs if one.pixels.get(name)] for name in plan.names}
    foreground = plan.names[1:]
    if absent := [name for name in plan.names if not images[name]]:
        if len(plan.names) > 1 and set(foreground) <= set(absent):
            yield Finding(
                "error",
                "nothing-to-learn",
                f"No mask has a pixel of {listed(foreground)}: every labelled pixel is {plan.names[0]}.",
                "Check which stored value means which class (--classes), and that masks, not images, were found.",
                len(absent),
            )
        else:
            yield Finding(
                "warning",
                "class-without-pixels",
                f"{listed(absent, 8)} {_have(absent)} no pixel in any mask.",
                "Remove these classes from data.classes, or check the value or colour they are stored as.",
                len(absent),
            )
    if single := [name for name in plan.names if len(images[name]) == 1 and len(pairs) > 1]:
        yield _about_classes(
            "class-in-one-image",
            f"{listed(single, 8)} in one image only: to be learnt or scored, not both.",
            "Label more images of these classes, or merge them into others: --merge",
            single,
            images,
        )
    where = {name: {splits.get(one.id, "") for one in images[name]} - {""} for name in plan.names}
    if len(set().union(*where.values())) < 2:
        return
    several = [name for name in plan.names if len(images[name]) > 1 and where[name]]
    if unseen := [name for name in several if "train" not in where[name]]:
        yield _about_classes(
            "class-not-in-train",
            f"{listed(unseen, 8)} only outside train: not learnt.",
            "Divide the images again (without lists, splits are drawn so that train and val have every class), or "
            "remove the class.",
            unseen,
            images,
        )
    if unscored := [name for name in several if where[name] == {"train"}]:
        yield _about_classes(
            "class-only-in-train",
            f"{listed(unscored, 8)} only in train: without a score.",
            "Divide the images again, so that val has every class.",
            unscored,
            images,
        )


def _about_classes(
    kind: str, message: str, remedy: str, names: Sequence[str], images: Mapping[str, Sequence[LabelledPair]]
) -> Finding:
    ids = tuple(dict.fromkeys(one.id for name in names for one in images[name]))
    return Finding("warning", kind, message, remedy, len(names), (), ids)


def _labels(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    if unknown := [one for one in pairs if one.unknown]:
        keys = sorted({text_of(key) for one in unknown for key in one.unknown})
        yield of_images(
            "error",
            "unknown-values",
            f"{counted(len(unknown), 'mask')} with values or colours without a meaning: {listed(keys)}.",
            "Name them with --classes, or make them void with --void.",
            [one.id for one in unknown],
        )
    if void := [one for one in pairs if not one.labelled and not one.unknown]:
        yield of_images(
            "error",
            "only-void",
            f"{counted(len(void), 'mask')} entirely void: nothing is labelled.",
            "Remove these images, or check which stored value means void (--void).",
            [one.id for one in void],
        )
    empty = [one for one in pairs if one.labelled and not one.objects(plan) and not one.unknown]
    if empty and len(empty) < len(pairs) and len(plan.names) > 1:
        yield of_images(
            "warning" if 2 * len(empty) > len(pairs) else "note",
            "no-objects",
            f"{len(empty)} of {counted(len(pairs), 'mask')} with only {plan.names[0]}"
            f"{' and void' if any(VOID_NAME in one.pixels for one in empty) else ''}.",
            "Right if nothing of the classes is in these images; otherwise label them or remove them.",
            [one.id for one in empty],
        )
    total = sum(one.total for one in pairs)
    share = sum(one.pixels.get(VOID_NAME, 0) for one in pairs) / max(total, 1)
    if share > _MUCH_VOID:
        yield Finding(
            "warning",
            "much-void",
            f"{100 * share:.0f} % of all pixels are void: neither learnt nor scored.",
            "If a stored value was taken for void by mistake, give its class with --classes.",
            sum(VOID_NAME in one.pixels for one in pairs),
        )
    elif nearly := [one for one in pairs if one.labelled
                    and one.pixels.get(VOID_NAME, 0) > _NEARLY_ALL_VOID * one.total]:  # fmt: skip
        yield of_images(
            "note",
            "nearly-void",
            f"{counted(len(nearly), 'mask')} with void on more than {100 * _NEARLY_ALL_VOID:.0f} % of the pixels.",
            "Label more of these images, or leave them as they are.",
            [one.id for one in nearly],
        )


def _balance(pairs: Sequence[LabelledPair], plan: ClassPlan) -> Iterator[Finding]:
    pixels = {name: sum(one.pixels.get(name, 0) for one in pairs) for name in plan.names}
    labelled = sum(pixels.values())
    if not labelled:
        return
    name, most = max(pixels.items(), key=lambda one: one[1])
    if most > _COMMON * labelled and most < labelled:
        yield Finding(
            "note",
            "imbalance",
            f"{100 * most / labelled:.1f} % of the labelled pixels are {name}: predicting it everywhere has that pixel "
            "accuracy.",
            "Judge by mIoU and class IoU. If the rest is not learnt, use a loss that weighs rare classes.",
            len(pairs),
        )
    rare = [name for name in plan.names if 0 < pixels[name] < _RARE * labelled]
    if rare:
        yield Finding(
            "note",
            "rare-classes",
            f"{listed(rare)} {_have(rare)} less than {100 * _RARE:g} % of the labelled pixels.",
            "Rare classes are learnt late: label more of them, train longer, or use a loss that weighs rare classes.",
            len(rare),
        )
    tiny: dict[str, list[str]] = {}
    for name in plan.names[1:]:
        areas = [(one.pixels[name], one) for one in pairs if one.pixels.get(name)]
        if len(areas) < 3:
            continue
        share = median(area / max(one.total, 1) for area, one in areas)
        if share < _TINY_SHARE and median(area for area, _ in areas) < _TINY_PIXELS:
            tiny[name] = [one.id for _, one in areas]
    if tiny:
        yield of_images(
            "note",
            "tiny-objects",
            f"{listed(list(tiny))} {_have(list(tiny))} less than {100 * _TINY_SHARE:g} % of a typical image: very "
            "small objects.",
            "Do not reduce the images (data.longer_side); use a large crop and scales above 1 in augmentation.scale.",
            [image_id for ids in tiny.values() for image_id in ids],
        )


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
