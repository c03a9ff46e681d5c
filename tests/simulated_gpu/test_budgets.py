"""What training, validation and evaluation may ask of a GPU: waits, launches, bytes over the bus, memory.

A budget holds for one more step or image: the difference between two runs, one with more of them.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from voc_seg.config import EvaluationConfig, InferenceConfig, Parameters
from voc_seg.engine import prediction, run, runtime
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.failures import require_finite_weights
from voc_seg.engine.freezing import train_mode
from voc_seg.engine.inference import Segmenter
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.preprocessing import Preprocessing
from voc_seg.engine.runtime import Runtime, deterministic
from voc_seg.engine.scores import network_input
from voc_seg.engine.training import fit, train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.voc.classes import CLASS_NAMES

GPU = "simgpu:0"
PIXELS = 96 * 70
TERMS: dict[str, Any] = {
    "class_weights": "balanced", "label_smoothing": 0.1, "ohem": 0.5, "dice": 1, "lovasz": 1, "focal": 1, "boundary": 1,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"runtime": {"precision": "bf16"}},
    "fp16": {"runtime": {"precision": "fp16"}},
    "accumulation": {"training": {"batch_size": 1, "accumulation": 2}},
    "aspp": {"model": {"decoder": "aspp", "width": 16, "auxiliary": 0.4}},
    "linear": {"model": {"decoder": "linear", "output_stride": 8}},
    "EMA": {"training": {"ema_decay": 0.9}, "runtime": {"precision": "bf16"}},
    "every term of the loss": {"training": {"loss": TERMS}, "runtime": {"precision": "bf16"}},
}


@pytest.fixture(scope="module")
def fp32(gpu: ModuleType) -> Runtime:
    """The device in fp32."""
    return Runtime(torch.device(GPU), torch.float32)


@pytest.fixture(scope="module")
def store_of(scene_samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], SampleStore]:
    """Makes a store of so many images of one size."""

    def make(count: int) -> SampleStore:
        path: Path = tmp_path_factory.mktemp("packed") / "samples.arrow"
        first = scene_samples[0]
        image, mask = first.image[:70, :96], first.mask[:70, :96]
        assert mask.size == PIXELS
        write_store(path, [replace(first, id=f"{number:03}", image=image, mask=mask) for number in range(count)])
        return SampleStore(path)

    return make


@pytest.fixture(scope="module")
def count_fit(
    gpu: ModuleType, store_of: Callable[[int], SampleStore], make_parameters: Callable[..., Parameters]
) -> Callable[..., Any]:
    """Counts one epoch of a training with so many images of each split."""

    def count(train: int, val: int, **blocks: Any) -> Any:
        blocks["training"] = {"epochs": 1, "batch_size": 2, **blocks.get("training", {})}
        stores = store_of(train), store_of(val)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runtime, "_choose_device", lambda name: torch.device(GPU))
            patch.setattr(run, "build_optimizer", partial(build_optimizer, fused=True))  # as on CUDA
            with gpu.counting() as counts:
                list(fit(*stores, CLASS_NAMES, make_parameters(**blocks)))
        return counts

    count(2, 1)  # constants stay on the device from then on
    return count


def difference(larger: Any, smaller: Any, number: int) -> dict[str, float]:
    """What each of so many steps or images adds."""
    totals = [
        {
            "launches": counts.launches.total(),
            "waits": counts.waits.total(),
            "to device": counts.bytes(to_host=False),
            "to host": counts.bytes(to_host=True),
            "host conversions": counts.host_conversions,
        }
        for counts in (larger, smaller)
    ]
    return {name: (totals[0][name] - totals[1][name]) / number for name in totals[0]}


@pytest.fixture(scope="module")
def step(count_fit: Callable[..., Any]) -> Callable[[str], dict[str, float]]:
    """What one more step asks; from the third step on."""
    known: dict[str, dict[str, float]] = {}

    def measure(variant: str) -> dict[str, float]:
        if variant not in known:
            blocks = VARIANTS[variant]
            known[variant] = difference(count_fit(8, 1, **blocks), count_fit(4, 1, **blocks), 2)
        return known[variant]

    return measure


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_waits_once_at_most(step: Callable, variant: str) -> None:
    assert step(variant)["waits"] <= 1


@pytest.mark.parametrize("variant", ["fp32", "bf16", "fp16", "aspp", "linear", "EMA"])
def test_a_step_has_few_launches(step: Callable, variant: str) -> None:
    assert step(variant)["launches"] <= 450


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_sends_bytes_and_reads_a_number(step: Callable, variant: str) -> None:
    assert step(variant)["to device"] <= 2 * 64 * 64 * 4 + 64  # two crops and their targets
    assert step(variant)["to host"] <= 8
    assert step(variant)["host conversions"] == 0


@pytest.fixture(scope="module")
def validation(count_fit: Callable[..., Any]) -> dict[str, float]:
    """What one more validation image asks."""
    return difference(count_fit(2, 10), count_fit(2, 2), 8)


def test_a_validation_image_waits_for_nothing(validation: dict[str, float]) -> None:
    assert validation["waits"] == 0


def test_a_validation_image_sends_bytes_and_reads_nothing(validation: dict[str, float]) -> None:
    assert validation["to device"] <= 4.5 * PIXELS  # RGB, classes, and padding to a common size
    assert validation["to host"] == 0
    assert validation["host conversions"] == 0


@pytest.mark.parametrize("settings", [{}, {"scales": [1.0, 0.5]}])
def test_an_evaluated_image_gives_its_mask_as_bytes(
    gpu: ModuleType,
    fp32: Runtime,
    store_of: Callable[[int], SampleStore],
    parameters: Parameters,
    settings: dict[str, Any],
) -> None:
    def count(images: int) -> Any:
        model, store = build_model(parameters.model, len(CLASS_NAMES)), store_of(images)
        with gpu.counting() as counts:
            evaluate(model, store, EvaluationConfig(**settings), fp32)
        return counts

    count(1)  # constants stay on the device from then on
    asked = difference(count(10), count(2), 8)
    assert asked["to host"] <= 1.5 * PIXELS + 8 * (len(CLASS_NAMES) ** 2 + 1)  # mask, confusion matrix, loss
    assert asked["waits"] <= 1
    assert asked["host conversions"] == 0


def test_images_are_read_ahead_by_a_thread(
    gpu: ModuleType,
    fp32: Runtime,
    store_of: Callable[[int], SampleStore],
    parameters: Parameters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[threading.Thread] = set()

    def watched(*given: Any) -> torch.Tensor:
        threads.add(threading.current_thread())
        return network_input(*given)

    monkeypatch.setattr(prediction, "network_input", watched)
    model = build_model(parameters.model, len(CLASS_NAMES)).to(GPU).eval()
    list(predict_all(model, store_of(9), EvaluationConfig(), fp32, with_pixels=True))
    assert threads and threading.main_thread() not in threads


def test_inference_copies_bytes(gpu: ModuleType, fp32: Runtime, parameters: Parameters) -> None:
    model = build_model(parameters.model, len(CLASS_NAMES)).to(GPU).eval()
    preprocessing = Preprocessing((1.0,), False, None, None, InferenceConfig().tile)
    with gpu.counting() as counts:
        Segmenter(model, preprocessing, fp32, InferenceConfig()).predict(np.zeros((64, 96, 3), dtype=np.uint8))
    assert counts.bytes(to_host=True) == 64 * 96
    assert counts.host_conversions == 0


def test_one_wait_checks_that_all_weights_are_finite(gpu: ModuleType, parameters: Parameters) -> None:
    model = build_model(parameters.model, len(CLASS_NAMES)).to(GPU)
    with gpu.counting() as counts:
        require_finite_weights(model, 0, "")
    assert counts.waits.total() == 1
    assert counts.launches.total() <= 20


NONDETERMINISTIC = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_ctc_loss_backward", "_embedding_bag_backward",
    "adaptive_max_pool2d_backward", "avg_pool3d_backward", "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward", "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "kthvalue",
    "max_unpool2d", "max_unpool3d", "median", "nll_loss2d_backward", "nll_loss2d_forward", "put_",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "scatter_reduce",
    "upsample_bicubic2d_backward", "upsample_bilinear2d_backward", "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}  # fmt: skip
"""Operators without a deterministic kernel on CUDA: documentation of ``torch.use_deterministic_algorithms``."""


@pytest.mark.parametrize("wanted", [True, False])
def test_a_deterministic_step_has_no_operator_that_is_not(
    gpu: ModuleType, fp32: Runtime, parameters: Parameters, store_of: Callable[[int], SampleStore], wanted: bool
) -> None:
    model = build_model(parameters.model, len(CLASS_NAMES)).to(GPU)
    optimizer = build_optimizer(model, parameters.training.optimizer)
    train_mode(model, parameters.training)
    batches = training_batches(store_of(2), parameters.augmentation, 2, 0, range(1))
    with deterministic(wanted), gpu.counting() as counts:
        train_step(model, optimizer, [next(batches)], fp32)
    found = {name.removesuffix("_out") for name in counts.launches} & NONDETERMINISTIC
    assert found == (set() if wanted else {"upsample_bilinear2d_backward"})


def test_a_large_validation_image_needs_little_memory(
    gpu: ModuleType, fp32: Runtime, parameters: Parameters, scene_samples: list[Sample]
) -> None:
    """Beyond what the network needs: 500 MB for 12 megapixels, so 167 MB for 4."""
    side = 2000
    rows, columns = (np.linspace(0, length - 1, side).astype(int) for length in scene_samples[0].mask.shape)
    first = scene_samples[0]
    sample = replace(first, image=first.image[np.ix_(rows, columns)], mask=first.mask[np.ix_(rows, columns)])
    model = build_model(parameters.model, len(CLASS_NAMES)).to(GPU).eval()
    peaks = []
    for of in (Sample("a", sample.image[::20, ::20].copy(), sample.mask[::20, ::20].copy()), sample):
        torch.simgpu.reset_peak_memory_stats(GPU)
        scale = 100 / of.mask.shape[0]  # the network's input is the same
        list(predict_all(model, [of], EvaluationConfig(scale=scale), fp32, with_pixels=True))
        peaks.append(torch.simgpu.max_memory_allocated(GPU))
    assert peaks[1] - peaks[0] <= 500e6 * side**2 / 12e6
