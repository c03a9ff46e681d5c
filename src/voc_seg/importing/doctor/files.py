"""Checks of files: unreadable ones, sizes, EXIF orientations, what was not used."""

import re
from collections.abc import Iterator, Sequence

from voc_seg.system.names import counted, listed, windows_name_problem

from ..findings import Finding, of_images
from ..inspect import PairFacts
from ..layout import Found

_REMEDIES = {
    "missing": "Copy the files to where they belong, or remove these images from the folder and its lists.",
    "dangling link": "Fetch the files that the links point to.",
    "empty": "Copy or export these files again.",
    "truncated": "Copy or download these files again; they end too early.",
    "damaged": "Copy or export these files again.",
    "mask with transparency": "Save these masks without transparency, with a palette or as 8-bit grey.",
    "mask of": "Export the masks again as PNG, without anti-aliasing, smoothing and lossy compression.",
    "mask mode": "Save these masks as PNG with a palette or as 8-bit grey.",
    "image mode": "Save these images with 8 bits a channel.",
    "unknown labels": "Name them under data.values in parameters.yml, as classes or as void.",
    "size": "Import the images that were annotated.",
    "name that is not UTF": "Rename these files or their folders, for example with convmv.",
    "oversized": "Divide these images into tiles.",
}
_ANNOTATION_REMEDY = "Correct these annotations in the labelling tool, and export them again."
_OTHER_REMEDY = "Export these files again in a format that is read: JPEG, PNG, TIFF, BMP or WebP; masks never as JPEG."


def file_findings(facts: Sequence[PairFacts], found: Found) -> Iterator[Finding]:
    """Yield findings about files that cannot be used, were not used, or have names that are not portable."""
    groups: dict[str, list[PairFacts]] = {}
    for one in facts:
        if one.problem:
            groups.setdefault(_kind_of(one.problem), []).append(one)
    for kind, ones in groups.items():
        yield _unusable(kind, ones)
    if found.unlabelled:
        count = len(found.unlabelled)
        yield Finding(
            "note",
            "unlabelled",
            f"{counted(count, 'image')} without mask or annotation: not used.",
            "Label them, or predict masks for them with the trained model: kedro run --pipelines inference",
            count,
            tuple(path.name for path in found.unlabelled[:5]),
        )
    for note in found.notes:
        yield Finding("note", "layout", note)
    if names := [one.image_id for one in facts if windows_name_problem(one.image_id)]:
        yield of_images(
            "note",
            "not-portable",
            f"{counted(len(names), 'image id')} that Windows does not allow as a file name: {names[0]} "
            f"({windows_name_problem(names[0])}).",
            "Rename these images and masks if predictions are to be used there.",
            names,
        )


def _kind_of(problem: str) -> str:
    start = problem.partition(":")[0].strip()
    if start.startswith("Git LFS pointer"):
        return "Git LFS pointer"  # instead of image or mask
    return re.sub(r"\s*\b\d+\b.*", "", start)  # "mask of 3021 colours" is one kind


def _unusable(kind: str, ones: Sequence[PairFacts]) -> Finding:
    count, ids = len(ones), [one.image_id for one in ones]
    if kind.startswith("Git LFS pointer"):
        what = f"{counted(count, 'pair')} with a Git LFS pointer in place of a file: the content was not fetched."
        return of_images("error", "git-lfs", what, "Fetch the files with: git lfs pull", ids)
    names = {"mask of": "antialiased", "unknown labels": "unknown-values"}
    name = next((text for start, text in names.items() if kind.startswith(start)), "unreadable")
    other = _ANNOTATION_REMEDY if ".json" in ones[0].problem.lower() else _OTHER_REMEDY
    remedy = next((text for start, text in _REMEDIES.items() if kind.startswith(start)), other)
    return of_images("error", name, f"{counted(count, 'pair')} that cannot be used: {ones[0].problem}.", remedy, ids)


def size_findings(facts: Sequence[PairFacts]) -> Iterator[Finding]:
    """Yield findings about masks of another size than their images."""
    read = [one for one in facts if not one.problem and one.mask_size not in (one.size, one.upright_size)]
    turned = [one for one in read if one.mask_size == one.size[::-1]]
    other = [one for one in read if one.mask_size != one.size[::-1]]
    if turned:
        yield of_images(
            "error",
            "turned",
            f"{counted(len(turned), 'mask')} turned by 90 degrees against the image: {_sizes(turned[0])}.",
            "Turn masks or images, and export the masks again if they were drawn on images in another orientation.",
            [one.image_id for one in turned],
        )
    if other:
        yield of_images(
            "error",
            "wrong-size",
            f"{counted(len(other), 'mask')} of another size than the image: {_sizes(other[0])}.",
            "Export masks at the full size of their images; check that image and mask belong together.",
            [one.image_id for one in other],
        )


def exif_setting(facts: Sequence[PairFacts], found: Found) -> tuple[str, str]:
    """Return the ``data.exif`` that the images with an EXIF orientation need, and why; both empty if unknown.

    Sizes decide where the image is turned by a quarter. Otherwise the edges decide: the mask should fit better the way
    it was drawn. Without images that need the setting it is ``refuse``, which reads each by its size.
    """
    turned = [one for one in facts if not one.problem and one.orientation != 1]
    unclear = [one for one in turned if one.mask_size == one.size == one.upright_size]
    if not unclear:
        return "refuse", "as sizes say how each mask was drawn"
    if found.draw is not None and found.upright:
        return "apply", "as the labelling tool shows images upright"
    upright = sum(one.mask_size == one.upright_size != one.size for one in turned)
    stored = sum(one.mask_size == one.size != one.upright_size for one in turned)
    if upright and not stored:
        return "apply", f"as the sizes of other masks show ({upright})"
    if stored and not upright:
        return "ignore", f"as the sizes of other masks show ({stored})"
    scores = [(one.traits.alignment.as_is, one.traits.upright_score) for one in unclear]
    known = [(as_is, upright_score) for as_is, upright_score in scores if as_is and upright_score]
    if not known:
        return "", ""
    as_is, by_exif = (sum(ones) / len(known) for ones in zip(*known))
    if abs(as_is - by_exif) < 0.03:
        return "", ""
    setting, how, best, other = ("apply", "upright", by_exif, as_is) if by_exif > as_is else (
        "ignore", "as stored", as_is, by_exif
    )  # fmt: skip
    return setting, f"as masks lie on the edges of the images {how} (score {best:.2f}, otherwise {other:.2f})"


def exif_findings(facts: Sequence[PairFacts], found: Found) -> Iterator[Finding]:
    """Yield findings about images with an EXIF orientation."""
    turned = [one for one in facts if not one.problem and one.orientation != 1]
    unclear = [one for one in turned if one.mask_size == one.size == one.upright_size]
    clear = [one for one in turned if one.size != one.upright_size and one.mask_size in (one.size, one.upright_size)]
    if unclear:
        setting, why = exif_setting(facts, found)
        remedy = f"Set data.exif={setting}, {why}." if setting else (
            "Set data.exif=apply if the labelling tool showed images upright, as most do; data.exif=ignore if masks "
            "were drawn on the pixels as stored."
        )  # fmt: skip
        yield of_images(
            "error",
            "exif-unclear",
            f"{counted(len(unclear), 'image')} with an EXIF orientation whose mask fits upright and as stored. "
            "By default, they are refused.",
            remedy,
            [one.image_id for one in unclear],
        )
    if clear:
        upright = sum(one.mask_size == one.upright_size for one in clear)
        how = [f"{upright} upright"] * bool(upright) + [f"{len(clear) - upright} as stored"] * (upright < len(clear))
        yield of_images(
            "note",
            "exif",
            f"{counted(len(clear), 'image')} with an EXIF orientation; by size, masks fit {listed(how)}.",
            "The default data.exif=refuse reads each of them as its mask was drawn.",
            [one.image_id for one in clear],
        )


def _sizes(one: PairFacts) -> str:
    """Sizes of an example, width x height."""
    (height, width), (rows, columns) = one.size, one.mask_size
    return f"{one.image_id} is {width}x{height}, its mask {columns}x{rows}"
