"""A tiny training against a stored loss list, and bit by bit against the same training written out."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from voc_seg.config import Parameters
from voc_seg.engine import training
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.models.registry import build_model
from voc_seg.samples.augment import augment
from voc_seg.samples.batches import epoch_order, normalise
from voc_seg.samples.store import SampleStore

CLASSES = tuple(f"class {index}" for index in range(21))
STORED = [3.4205878, 3.2426889, 3.3854995, 3.2317824, 3.2314255, 3.1392026]
"""Loss of each of the six steps in float32 on a CPU. Refactoring must not change them; a new recipe may."""


@pytest.fixture
def parameters(make_parameters) -> Parameters:
    return make_parameters(
        training={"epochs": 3, "batch_size": 2, "ema_decay": 0.9}, runtime={"device": "cpu", "precision": "fp32"}
    )


@pytest.fixture
def reports(train_store, val_store, parameters, monkeypatch) -> tuple[list[float], dict]:
    """The loss of every step of ``fit``, and its last checkpoint."""
    losses = []
    step = training.train_step
    monkeypatch.setattr(training, "train_step", lambda *args: losses.append(step(*args)) or losses[-1])
    *_, last = training.fit(train_store, val_store, CLASSES, parameters)
    return losses, last.checkpoint


def written_out(store: SampleStore, parameters: Parameters) -> tuple[list[float], dict]:
    """The losses and final weights of the same training without engine: model, data and optimiser, one step a line."""
    torch.manual_seed(parameters.seed)
    model = build_model(parameters.model, len(CLASSES)).train()
    config = parameters.training
    optimizer = build_optimizer(model, config.optimizer)
    losses, steps = [], config.epochs * len(store) // config.batch_size
    for epoch in range(config.epochs):
        for indices in epoch_order(len(store), parameters.seed, epoch).reshape(-1, config.batch_size).tolist():
            draws = [np.random.default_rng([1, parameters.seed, epoch, index]) for index in indices]
            crops = [augment(store[index], parameters.augmentation, draw) for index, draw in zip(indices, draws)]
            images = torch.stack([image.permute(1, 2, 0) for image, _ in crops]).permute(0, 3, 1, 2)
            targets = torch.stack([target for _, target in crops]).long()
            for group in optimizer.param_groups:  # poly without warm-up
                group["lr"] = config.optimizer.learning_rate * (1 - len(losses) / steps) ** config.schedule.power
                group["lr"] *= group["factor"]
            optimizer.zero_grad()
            rows = model(normalise(images)).movedim(1, -1).flatten(0, -2)
            pixels = functional.cross_entropy(rows, targets.flatten(), ignore_index=255, reduction="none")
            loss = pixels.sum() / (targets != 255).sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, model.state_dict()


def test_losses_are_the_stored_ones(reports) -> None:
    # Processors round convolutions in their own ways, and each step builds on the one before.
    assert reports[0][0] == pytest.approx(STORED[0], rel=1e-4)
    assert reports[0] == pytest.approx(STORED, rel=1e-2)


def test_fit_equals_the_written_out_training_to_the_bit(reports, train_store, parameters) -> None:
    losses, checkpoint = reports
    expected, weights = written_out(train_store, parameters)
    assert losses == expected
    assert all(torch.equal(checkpoint["model"][name], value) for name, value in weights.items())
