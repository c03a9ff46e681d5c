"""What a network says about labels: the same whole and in tiles, and as an evaluation predicts."""

import numpy as np
import pytest
import torch

from voc_seg.config import EvaluationConfig, ModelConfig
from voc_seg.engine.label_review import review_labels
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.scores import average_in_strips, network_input, network_logits
from voc_seg.metrics.label_errors import LabelSums, softmin, softmin_sums
from voc_seg.metrics.label_regions import ReviewedImage
from voc_seg.models.registry import build_model
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.voc.classes import VOID

CPU = Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def network() -> SegmentationNet:
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=16), 21)
    with torch.no_grad():  # probabilities that are not all alike
        model.decoder.classify.weight.mul_(50)
    return model.eval()


def review(model: SegmentationNet, sample: Sample, **settings: object) -> ReviewedImage:
    (found,) = review_labels(model, [sample], EvaluationConfig(**settings), CPU)
    return found


@pytest.mark.parametrize("settings", [{}, {"scale": 0.5, "flip": True}, {"scales": (0.5, 1.0)}])
def test_it_sees_what_an_evaluation_predicts(
    network: SegmentationNet, train_store: SampleStore, settings: dict
) -> None:
    config = EvaluationConfig(**settings)
    predictions = {found.id: found for found in predict_all(network, train_store, config, CPU)}
    reviewed = {found.id: found for found in review_labels(network, train_store, config, CPU)}
    assert reviewed.keys() == predictions.keys()
    for sample in train_store:
        found = reviewed[sample.id]
        labelled = sample.mask != VOID
        mask = found.differences.prediction(sample.mask)
        assert np.mean(mask[labelled] == predictions[sample.id].mask[labelled]) > 0.999
        assert (mask[~labelled] == VOID).all()
        assert found.sums.pixels.tolist() == predictions[sample.id].confusion.sum(1).tolist()
        assert found.sums.hits.sum() == pytest.approx(np.trace(predictions[sample.id].confusion), abs=5)


def test_numbers_are_those_of_the_probabilities(network: SegmentationNet, train_store: SampleStore) -> None:
    sample = train_store[0]
    height, width = sample.mask.shape
    found = review(network, sample)
    with torch.inference_mode():
        pixels = network_input(np.array(sample.image)[None], (height, width))
        ((_, scores),) = average_in_strips([network_logits(network, pixels, False, CPU)], height, width)
    probabilities = scores.softmax(1)[0].numpy()
    labelled = sample.mask != VOID
    labels = sample.mask[labelled]
    of_label = probabilities[:, labelled][labels, np.arange(labels.size)]
    predicted = probabilities[:, labelled].argmax(0)
    assert found.quality == pytest.approx(softmin(softmin_sums(of_label)), rel=1e-4)
    expected = LabelSums.of(labels, predicted, of_label, 21)
    assert found.sums.probability == pytest.approx(expected.probability, rel=1e-4)
    order = np.argsort(found.differences.where)
    wrong = labels != predicted
    assert found.differences.given[order].tolist() == labels[wrong].tolist()
    assert found.differences.predicted[order].tolist() == predicted[wrong].tolist()
    assert found.differences.probability[order] == pytest.approx(of_label[wrong], abs=1e-3)
    assert found.differences.confidence[order] == pytest.approx(probabilities[:, labelled].max(0)[wrong], abs=1e-3)


def test_tiles_cover_every_pixel_once(network: SegmentationNet) -> None:
    rng = np.random.default_rng(0)
    mask = rng.choice(np.array([0, 5, VOID], np.uint8), (300, 200))
    found = review(network, Sample("large", rng.integers(0, 256, (300, 200, 3), np.uint8), mask), tile=128)
    assert found.sums.pixels.sum() == (mask != VOID).sum()
    assert len(np.unique(found.differences.where)) == len(found.differences.where)
    assert (mask.reshape(-1)[found.differences.where] == found.differences.given).all()
    assert len(found.differences.where) == (found.sums.pixels - found.sums.hits).sum()
