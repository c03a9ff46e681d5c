"""Label errors as tables, and what a run says about them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from voc_seg.metrics.label_errors import LabelSums
from voc_seg.metrics.label_regions import Region, ReviewedImage
from voc_seg.samples.store import SampleStore
from voc_seg.system.names import counted, listed
from voc_seg.voc.classes import Classes

IMAGE_COLUMNS = ("image_id", "split", "mask_file", "label_quality", "suspicious_share", "regions")
ISSUE_COLUMNS = (
    "rank", "image_id", "split", "mask_file", "left", "top", "width", "height", "mask_width", "mask_height", "pixels",
    "given", "suggested", "confidence", "score",
)  # fmt: skip


@dataclass(frozen=True)
class ReviewedSplit:
    """A split, and what the network says about each of its images, in the order of the samples."""

    name: str
    samples: SampleStore
    images: Sequence[ReviewedImage]

    @cached_property
    def mask_files(self) -> dict[str, str]:
        """Folder and name of each mask by image id, from the index; empty if it is missing."""
        index = self.samples.read_index() if self.samples.read_index else pd.DataFrame()
        return dict(zip(index["image_id"], index["mask_file"])) if "mask_file" in index.columns else {}


@dataclass(frozen=True)
class Issue:
    """A region of an image whose label is in doubt."""

    split: ReviewedSplit
    position: int  # of the image in the split
    region: Region

    @property
    def image(self) -> ReviewedImage:
        """Its image."""
        return self.split.images[self.position]


@dataclass(frozen=True)
class Review:
    """All that a review has found.

    | field            | meaning                                                        |
    |------------------|----------------------------------------------------------------|
    | splits           | the reviewed images                                            |
    | sums             | over the labelled pixels of all of them                        |
    | issues           | regions, the most suspicious first                             |
    | classes          | names and colours                                              |
    | seen_in_training | whether the network was trained on some of the images          |
    """

    splits: tuple[ReviewedSplit, ...]
    sums: LabelSums
    issues: tuple[Issue, ...]
    classes: Classes
    seen_in_training: bool

    @property
    def where(self) -> str:
        """Names of the splits, as in "train, val and test"."""
        *others, last = [split.name for split in self.splits]
        return f"{', '.join(others)} and {last}" if others else last

    def not_judged(self) -> list[str]:
        """Names of labelled classes that the network has not learnt; nothing with their label is an issue."""
        missing = (self.sums.pixels > 0) & ~self.sums.judged()
        return [name for name, is_missing in zip(self.classes.names, missing) if is_missing]


def issue_table(review: Review) -> pd.DataFrame:
    """One row a region, the most suspicious first: columns `ISSUE_COLUMNS`."""
    names = review.classes.names

    def row(rank: int, issue: Issue) -> tuple:
        region, image = issue.region, issue.image
        height, width = image.differences.shape
        left, top = region.columns.start, region.rows.start
        box = left, top, region.columns.stop - left, region.rows.stop - top
        labels = names[region.given], names[region.suggested]
        known = image.id, issue.split.name, issue.split.mask_files.get(image.id, "")
        return (rank, *known, *box, width, height, region.pixels, *labels, region.confidence, region.score)

    rows = [row(rank, issue) for rank, issue in enumerate(review.issues, start=1)]
    return pd.DataFrame(rows, columns=list(ISSUE_COLUMNS))


def quality_table(review: Review) -> pd.DataFrame:
    """One row an image, that with the lowest label quality first: columns `IMAGE_COLUMNS`."""
    pixels: Counter[tuple[str, str]] = Counter()
    regions: Counter[tuple[str, str]] = Counter()
    for issue in review.issues:
        key = issue.split.name, issue.image.id
        pixels[key] += issue.region.pixels
        regions[key] += 1

    def rows() -> Iterator[tuple]:
        for split in review.splits:
            for image in split.images:
                key, labelled = (split.name, image.id), max(1, int(image.sums.pixels.sum()))
                mask_file = split.mask_files.get(image.id, "")
                yield image.id, split.name, mask_file, image.quality, pixels[key] / labelled, regions[key]

    table = pd.DataFrame(rows(), columns=list(IMAGE_COLUMNS))
    return table.sort_values("label_quality", kind="stable", ignore_index=True)


def summary(review: Review) -> Iterator[str]:
    """What the run says: how much was found, what it is, and how far to trust it."""
    total = sum(len(split.images) for split in review.splits)
    where = review.where
    if not review.issues:
        yield f"No label error found in {counted(total, 'image')} of {where}."
    else:
        images = len({(issue.split.name, issue.image.id) for issue in review.issues})
        names = review.classes.names
        kinds = Counter((issue.region.given, issue.region.suggested) for issue in review.issues)
        often = ", ".join(f"{names[a]} -> {names[b]} ({count})" for (a, b), count in kinds.most_common(3))
        yield (
            f"Label errors to look at: {counted(len(review.issues), 'region')} in {images} of "
            f"{counted(total, 'image')} of {where}. Most often (label -> model): {often}. Correct the "
            "masks that are wrong, then prepare the data and train again."
        )
    if skipped := review.not_judged():
        yield f"Not judged, because the model hardly finds them: {listed(skipped)}."
    if review.seen_in_training:
        yield (
            "The model was trained on images of train. It has learnt some of their errors and does not see these; the "
            "longer the training, the more."
        )


def class_rows(review: Review) -> list[dict]:
    """For each labelled class: index, threshold, recall, whether it is judged, and regions with its label."""
    counts = Counter(issue.region.given for issue in review.issues)
    thresholds, recalls, judged = review.sums.thresholds(), review.sums.recall(), review.sums.judged()
    return [
        {"index": index, "threshold": float(thresholds[index]), "recall": float(recalls[index]),
         "judged": bool(judged[index]), "regions": counts[index]}
        for index in np.flatnonzero(review.sums.pixels).tolist()
    ]  # fmt: skip
