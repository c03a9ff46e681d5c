"""The labels of masks, compared with the probabilities of a network."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig
from voc_seg.metrics.label_errors import LabelSums, softmin, softmin_sums
from voc_seg.metrics.label_regions import Disagreements, ReviewedImage
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import VOID

from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .prediction import queue_scores
from .runtime import Runtime
from .tiles import ScoredPart


def review_labels(
    model: nn.Module,
    samples: Iterable[Sample],
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None = None,
) -> Iterator[ReviewedImage]:
    """Compare the labels of samples with the network; the order is that of :func:`predict_all`, not of the samples.

    Args:
        model: Trained, best on other images than the samples: it has learnt the errors of its own training images.
        samples: Images and masks.
        config: Scale, flip and tile, as in an evaluation.
        runtime: Device and precision.
        image_size: Height and width that training images were resized to; None if they kept their own.

    Raises:
        VocSegError: Memory ran out.
    """
    model = runtime.place(model).eval()
    with explain_failures(EVALUATION_MEMORY_ADVICE), runtime.keep_freed_memory():
        for sample, parts, truth, _ in queue_scores(model, samples, config, runtime, image_size):
            yield _review(sample, parts, truth)


@torch.inference_mode()
def _review(sample: Sample, parts: Iterable[ScoredPart], truth: Tensor) -> ReviewedImage:
    height, width = sample.mask.shape
    quality, sums, found = np.zeros(2), None, []
    for rows, columns, scores in parts:
        classes = scores.shape[1]
        labels = sample.mask[rows, columns]
        probabilities = scores.softmax(1)
        highest, classes_found = probabilities.max(1)
        # Void gets the probability of some class, which is not used.
        target = truth[:, None, rows, columns].long().clamp(max=classes - 1)
        of_label = probabilities.gather(1, target)[0, 0].cpu().numpy()
        confidence, predicted = highest[0].cpu().numpy(), classes_found[0].to(torch.uint8).cpu().numpy()
        labelled, differs = labels != VOID, (labels != VOID) & (labels != predicted)
        quality += softmin_sums(of_label[labelled])
        more = LabelSums.of(labels[labelled], predicted[labelled], of_label[labelled], classes)
        sums = sums + more if sums else more
        down, across = np.nonzero(differs)
        where = ((down + rows.start) * width + across + columns.start).astype(np.uint32)
        found.append((where, *(value[differs] for value in (labels, predicted, confidence, of_label))))
    assert sums is not None, "an image has at least one pixel"
    where, label, prediction, *probability = (np.concatenate(values) for values in zip(*found))
    differences = Disagreements((height, width), where, label, prediction, *(p.astype(np.float16) for p in probability))
    return ReviewedImage(sample.id, softmin(quality), sums, differences)
