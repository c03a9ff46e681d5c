"""What an evaluation keeps of each image adds up to its scores, whatever the parts and the ranks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from voc_seg.config import EvaluationConfig, ModelConfig
from voc_seg.engine.evaluation import Evaluation, evaluate
from voc_seg.engine.runtime import Runtime
from voc_seg.metrics.boundaries import count_boundaries, from_columns
from voc_seg.metrics.counts import Counts, from_table
from voc_seg.models.registry import build_model
from voc_seg.samples.store import SampleStore

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def scored(train_store: SampleStore) -> Callable[..., Evaluation]:
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=8), 21)
    return lambda **settings: evaluate(model, train_store, EvaluationConfig(**settings), CPU)


def test_the_counts_of_the_images_add_up_to_the_confusion_matrix(
    scored: Callable[..., Evaluation], train_store: SampleStore
) -> None:
    found = scored()
    counts = from_table(found.confusions, 21)
    assert found.confusions["image_id"].tolist() == list(train_store.ids)
    for name in ("hits", "truth", "predicted"):
        expected = getattr(Counts.of(found.score.confusion), name)
        np.testing.assert_array_equal(getattr(counts.total(), name), expected)
    sample = train_store[1]
    expected = count_boundaries(sample.mask, found.masks[sample.id], 21)
    np.testing.assert_array_equal(from_columns(found.confusions, 21).boundary.hits[1], expected.boundary.hits)


def test_the_calibration_counts_every_ninth_labelled_pixel(
    scored: Callable[..., Evaluation], train_store: SampleStore
) -> None:
    found = scored().calibration
    assert found is not None
    labelled = sum(int((sample.mask[::9, ::9] != 255).sum()) for sample in train_store)
    assert found.top[..., 0].sum() == labelled
    assert (found.classes[..., 0].sum(-1) == labelled).all()
    right = sum(int((sample.mask[::9, ::9] == scored().masks[sample.id][::9, ::9]).sum()) for sample in train_store)
    assert found.top[..., 2].sum() == right
