"""The doctor: what is wrong, doubtful or worth knowing about a data set, before anything is trained on it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from voc_seg.system.names import printable

from .class_plan import ClassPlan
from .doctor.classes import class_findings
from .doctor.copies import copy_findings
from .doctor.files import exif_findings, file_findings, size_findings
from .doctor.images import image_findings
from .doctor.masks import mask_findings
from .doctor.meaning import labelled_pairs
from .findings import Finding, by_severity
from .inspect import PairFacts
from .layout import Found


def check_data(
    facts: Sequence[PairFacts], plan: ClassPlan, splits: Mapping[str, str], found: Found
) -> tuple[Finding, ...]:
    """Examine a data set.

    Args:
        facts: All pairs, also unreadable ones.
        plan: The classes.
        splits: train, val or test by image id; images may lack one.
        found: What the layout found.

    Returns:
        Findings, errors first. A check that fails is a finding of its own: bad data never raises.
    """
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "files": lambda: file_findings(facts, found),
        "sizes": lambda: size_findings(facts),
        "EXIF orientations": lambda: exif_findings(facts, found),
        "images": lambda: image_findings(facts),
        "copies": lambda: copy_findings(facts, splits),
        "splits": lambda: _split_findings(facts, splits),
        "classes": lambda: class_findings(labelled_pairs(facts, plan), plan, splits),
        "masks": lambda: mask_findings(labelled_pairs(facts, plan), plan),
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            findings += check()
        except Exception as error:
            text = printable(f"{type(error).__name__}: {error}")
            findings.append(Finding("warning", "check-failed", f"The check of {name} failed ({text})."))
    return by_severity(findings)


def _split_findings(facts: Sequence[PairFacts], splits: Mapping[str, str]) -> Iterator[Finding]:
    usable = [one.image_id for one in facts if not one.problem]
    counts = {name: sum(splits.get(one) == name for one in usable) for name in ("train", "val")}
    if not usable:
        yield Finding("error", "no-images", "No pair of image and mask can be used.", "", len(facts))
    elif any(splits.get(one) for one in usable):
        for name, count in counts.items():
            if not count:
                yield Finding(
                    "error", f"no-{name}", f"The split {name} has no usable image.", "Move some images to it.", 0
                )
