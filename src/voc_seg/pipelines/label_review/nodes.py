"""Nodes of the label_review pipeline."""

import logging
from functools import reduce
from operator import add
from typing import Any

import pandas as pd

from voc_seg.config import DataConfig, EvaluationConfig, LabelReviewConfig, RuntimeConfig
from voc_seg.datasets import Report
from voc_seg.engine.label_review import review_labels
from voc_seg.engine.runtime import choose_runtime
from voc_seg.metrics.label_regions import find_regions
from voc_seg.models.registry import require_trained_for, restore_model
from voc_seg.models.saved import trained_on
from voc_seg.reporting import label_review_page as page
from voc_seg.reporting.label_review import Issue, Review, ReviewedSplit, issue_table, quality_table, summary
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.system.progress import progress_bar

logger = logging.getLogger(__name__)


def review(
    train_samples: SampleStore,
    val_samples: SampleStore,
    test_samples: SampleStore,
    best_model: dict[str, Any],
    data: DataConfig,
    evaluation: EvaluationConfig,
    label_review: LabelReviewConfig,
    runtime: RuntimeConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, Report]:
    """Find labels that the best model confidently contradicts: regions, images, and a page of the first regions.

    Raises:
        VocSegError: The split has no masks, or the model, the samples and ``data.classes`` do not fit each other.
    """
    classes = data.class_table
    require_trained_for(best_model, data)
    stores = {"train": train_samples, "val": val_samples, "test": test_samples}
    chosen = {
        name: store for name, store in stores.items() if label_review.split in (name, "all") and len(store)
    }  # fmt: skip
    if not chosen:
        raise VocSegError(
            f"There is no mask to review: the split {label_review.split} has no usable mask. They are not public, "
            "missing, or all rejected (data/08_reporting/rejected_images.csv). Choose another with label_review.split "
            "(train, val, test, all)."
        )
    for store in chosen.values():
        store.require_reading(data.reading)
    model, device = restore_model(best_model), choose_runtime(runtime)
    splits = []
    with progress_bar("comparing labels", sum(map(len, chosen.values()))) as advance:
        for name, store in chosen.items():
            images = []
            for image in review_labels(model, store, evaluation, device, best_model["image_size"]):
                images.append(image)
                advance(1)
            positions = store.positions()
            splits.append(ReviewedSplit(name, store, sorted(images, key=lambda image: positions[image.id])))
    sums = reduce(add, (image.sums for split in splits for image in split.images))
    issues: list[Issue] = []
    with progress_bar("finding regions", sum(len(split.images) for split in splits)) as advance:
        for split in splits:
            for position, image in enumerate(split.images):
                issues.extend(Issue(split, position, region) for region in find_regions(image.differences, sums))
                advance(1)
    issues.sort(key=lambda issue: -issue.region.score)  # stable: those of one score stay in the order of the data
    learnt = trained_on(best_model) == train_samples.origin.name and "train" in chosen
    found = Review(tuple(splits), sums, tuple(issues), classes, seen_in_training=learnt)
    for text in summary(found):
        logger.info("%s", text)
    shown = issues[: label_review.shown]
    content = page.fill_page(found, shown)
    drawn = Report(content, page.IMAGE_FOLDER, page.draw_issues(shown, classes), len(shown))
    return issue_table(found), quality_table(found), drawn
