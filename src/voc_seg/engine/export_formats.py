"""Compare mIoU and speed of exported files on the same images; keep the INT8 file if it is as good.

Calibration images are from train, and the comparison is on val. Test has no part in the choice.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from voc_seg.config import ModelInput, RuntimeConfig
from voc_seg.metrics.confusion import confusion_matrix
from voc_seg.metrics.counts import Counts
from voc_seg.metrics.differences import RunScores, compare_groups
from voc_seg.models.exchange import INT8, MASKS, NETWORK, TORCH
from voc_seg.models.onnx_export import INPUT, OUTPUT
from voc_seg.models.onnx_int8 import is_worth_it, share_of_convolutions, to_int8
from voc_seg.models.onnx_masks import IMAGE, MASK, Processing, to_masks
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.progress import progress_bar

from .device_facts import processor_name
from .inference import recorded_segmenter
from .preprocessing import recorded_preprocessing
from .runtime import choose_runtime
from .scores import network_input

logger = logging.getLogger(__name__)

LARGEST_LOSS = 0.005
"""The INT8 file is kept if its mIoU falls by less."""
_CALIBRATED, _SCORED = 16, 100
"""Images of train for the ranges of activations; images of val that are scored. With 4 to 64 of the former, mIoU on the
sample differed by at most 0.2 points, by their number no more than by their choice."""
_ROUNDS = 7

Predict = Callable[[np.ndarray], np.ndarray]


def with_processing(network: bytes, saved: dict[str, Any]) -> bytes:
    """The ONNX file of a network with everything around it; see :func:`voc_seg.models.onnx_masks.to_masks`.

    Args:
        network: ``model.onnx``.
        saved: The content of ``best_model.pth``.
    """
    preprocessing = recorded_preprocessing(saved)
    processing = Processing(
        preprocessing.scales, preprocessing.flip, preprocessing.image_size, preprocessing.longer_side
    )
    return to_masks(network, processing, ModelInput.of(saved), len(saved["class_names"]))


def quantise_and_compare(
    network: bytes, masks: bytes, saved: dict[str, Any], train: SampleStore, val: SampleStore
) -> tuple[bytes, dict[str, Any]]:
    """Make ``model_masks_int8.onnx``, and compare all files on val.

    Args:
        network: ``model.onnx``.
        masks: ``model_masks.onnx``.
        saved: The content of ``best_model.pth``.
        train: The training images; 16 of them, always the same, give the ranges of the activations.
        val: Validation images; 100 of them, always the same, are scored.

    Returns:
        The file, empty if it would be hardly smaller or lose ``LARGEST_LOSS`` or more of mIoU; and the measurements of
        :func:`compare_files`, with ``calibrated``, the number of images of train.
    """
    files = {MASKS: masks}
    calibrated = _some(train, _CALIBRATED)
    if is_worth_it(network):
        files[INT8] = with_processing(to_int8(network, _network_inputs(saved, calibrated)), saved)
    else:
        logger.info(
            "%s is not written: only convolutions become smaller, and they are only %.0f %% of this network",
            INT8, 100 * share_of_convolutions(network),
        )  # fmt: skip
    measured = compare_files(network, files, saved, val) | {"calibrated": len(calibrated)}
    kept = INT8 in files and measured["miou"][MASKS] - measured["miou"][INT8] < LARGEST_LOSS
    return files[INT8] if kept else b"", measured


def _network_inputs(saved: dict[str, Any], samples: list[Sample]) -> Iterator[np.ndarray]:
    """The normalised network input of each image, once for each scale."""
    preprocessing, model_input = recorded_preprocessing(saved), ModelInput.of(saved)
    with progress_bar("calibrating INT8", len(samples)) as advance:
        for sample in samples:
            for size in preprocessing.network_sizes(*sample.mask.shape):
                yield normalise(network_input(np.array(sample.image)[None], size), model_input).numpy()
            advance(1)


def _some(samples: SampleStore, count: int) -> list[Sample]:
    """At most this many samples, always the same."""
    chosen = np.random.default_rng(0).permutation(len(samples))[:count]
    return [samples[int(position)] for position in sorted(chosen)]


def compare_files(network: bytes, onnx: Mapping[str, bytes], saved: dict[str, Any], val: SampleStore) -> dict[str, Any]:
    """mIoU and speed of the files of an export on this CPU.

    Args:
        network: ``model.onnx``; only its speed is measured, as its masks are those of ``model_masks.onnx``.
        onnx: Files that return masks, by name.
        saved: The content of ``best_model.pth``, for PyTorch.
        val: At most 100 of its images are scored.

    Returns:
        ``miou`` and ``milliseconds``, by the name of the file; ``change``, if there is an INT8 file, the 95 % interval
        of how much higher its mIoU is than that of ``model_masks.onnx``; ``images``; ``size``, height and width of the
        timed image, the most frequent size; ``rounds``; ``processor``; ``threads``; ``precision`` of PyTorch.
    """
    samples = _some(val, _SCORED)
    runtime = choose_runtime(RuntimeConfig(device="cpu"))
    segmenter = recorded_segmenter(saved, runtime)
    predictors: dict[str, Predict] = {TORCH: segmenter}
    predictors |= {name: _predictor(content, IMAGE, MASK) for name, content in onnx.items()}
    scored = _score(predictors, samples, len(saved["class_names"]))

    sizes = [sample.mask.shape for sample in samples]
    timed = samples[sizes.index(max(sizes, key=sizes.count))]
    image, prepared = np.array(timed.image), next(_network_inputs(saved, [timed]))
    logits = _predictor(network, INPUT, OUTPUT)
    calls = {name: (predict, image) for name, predict in predictors.items()} | {NETWORK: (logits, prepared)}
    found: dict[str, Any] = {"miou": {name: float(counts.total().miou()) for name, counts in scored.items()}}
    if INT8 in scored:
        change = compare_groups(*([RunScores.of(scored[name])] for name in (INT8, MASKS)))
        found["change"] = change.low, change.high
    return found | {
        "milliseconds": _time(calls),
        "images": len(samples),
        "size": timed.mask.shape,
        "rounds": _ROUNDS,
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "precision": runtime.precision,
    }


def _predictor(content: bytes, given: str, wanted: str) -> Predict:
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda array: np.asarray(session.run([wanted], {given: array})[0])


def _score(predictors: Mapping[str, Predict], samples: list[Sample], classes: int) -> dict[str, Counts]:
    """Pixels by class of each image, by the name of the predictor."""
    found = {}
    with progress_bar("comparing the exported files", len(samples) * len(predictors)) as advance:
        for name, predict in predictors.items():
            confusions = []
            for sample in samples:
                truth, mask = np.array(sample.mask), predict(np.array(sample.image))
                confusions.append(confusion_matrix(torch.from_numpy(truth), torch.from_numpy(mask), classes).numpy())
                advance(1)
            found[name] = Counts.of(np.array(confusions))
    return found


def _time(calls: Mapping[str, tuple[Predict, np.ndarray]]) -> dict[str, float]:
    """Median milliseconds of each call.

    The calls are not interleaved: threads of ONNX Runtime and OpenMP keep the cores busy for a while after each.
    """
    found = {}
    for name, (predict, array) in calls.items():
        predict(array)
        seconds = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            predict(array)
            seconds.append(time.perf_counter() - started)
        found[name] = 1000 * statistics.median(seconds)
    return found
