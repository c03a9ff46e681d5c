"""``training.frozen_stages: all``: the encoder's features are computed once, and the decoder is trained on them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voc_seg.config import EvaluationConfig, Parameters, TrainingConfig
from voc_seg.models.exchange import model_digest
from voc_seg.models.head import Head, used_maps
from voc_seg.models.segmentation_net import SegmentationNet, input_of
from voc_seg.samples.batches import normalise
from voc_seg.samples.feature_batches import FeatureWindows
from voc_seg.samples.feature_cache import FeatureCache
from voc_seg.samples.feature_store import FeatureFormat, FeatureStore, ImageFeatures
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError

from .distributed import barrier, rank, world_size
from .failures import EVALUATION_MEMORY_ADVICE, explain_failures
from .prediction import Pending, compare_with_mask, queue_predictions, whole_rows
from .runtime import Runtime
from .scores import network_input, network_size
from .tiles import is_tiled

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Increase it whenever an encoder computes other features from the same weights."""

_DECODER_SETTINGS = {"decoder", "skips", "width", "context", "dropout", "auxiliary", "weights"}
"""Settings of the model that do not change the encoder's features, except by its weights, which are compared."""


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of both splits, and the positions of the stored maps among those of the encoder."""

    train: FeatureWindows
    val: FeatureStore
    used: tuple[int, ...]


def cache_features(
    model: SegmentationNet,
    train: SampleStore,
    val: SampleStore,
    parameters: Parameters,
    runtime: Runtime,
    cache: FeatureCache | None,
) -> FrozenFeatures | None:
    """With ``training.frozen_stages=all``, compute the features of both splits, or find those computed before.

    ``cache`` of None is a folder beside the training samples.

    Raises:
        VocSegError: The disk has no room for them, or memory runs out.
    """
    if parameters.training.frozen_stages != "all":
        return None
    cache = cache or FeatureCache(train.path.parent / "features")
    augmentation, evaluation = parameters.augmentation, parameters.evaluation
    if ignored := settings_without_effect(parameters):
        logger.info(
            "training.frozen_stages=all trains on stored features of images at evaluation.scale=%g, so these have no "
            "effect: %s", evaluation.scale, ", ".join(ignored),
        )  # fmt: skip
    if parameters.model.weights is None:
        logger.warning(
            "training.frozen_stages is all and model.weights null: the frozen encoder has random weights. Set "
            "model.weights=pretrained."
        )
    used = tuple(used_maps(model))
    mirrored = augmentation.flip > 0, evaluation.flip
    was_training = model.training
    model.eval()
    with explain_failures(EVALUATION_MEMORY_ADVICE):
        stores = [
            _features_of(split, samples, model, parameters, runtime, cache, used, 1 + int(views))
            for split, samples, views in zip(("train", "val"), (train, val), mirrored)
        ]
    model.train(was_training)
    barrier()
    windows = FeatureWindows(train, stores[0], augmentation.crop_size, augmentation.flip, parameters.seed)
    logger.info("Windows of %d x %d pixels, batches of %d", *reversed(windows.window), parameters.training.crops)
    return FrozenFeatures(windows, stores[1], used)


def _features_of(
    split: str,
    samples: SampleStore,
    model: SegmentationNet,
    parameters: Parameters,
    runtime: Runtime,
    cache: FeatureCache,
    used: tuple[int, ...],
    views: int,
) -> FeatureStore:
    encoder, image_size = model.encoder, parameters.augmentation.image_size
    scale = parameters.evaluation.scale
    layout = FeatureFormat(
        tuple(encoder.channels[level] for level in used),
        tuple(encoder.strides[level] for level in used),
        encoder.multiple,
        "bf16" if runtime.dtype is torch.bfloat16 else "fp16",
        views,
    )
    settings = parameters.model.model_dump(mode="json", exclude=_DECODER_SETTINGS)
    facts = {
        "versions": {
            "format": _FORMAT,
            "torch": torch.__version__,
            "timm": version("timm") if parameters.model.timm_name else None,
        },
        "encoder": settings,
        "encoder_weights": model_digest({"model": encoder.state_dict()}),
        "input": input_of(model).record,
        "scale": scale,
        "image_size": image_size and list(image_size),
        "precision": runtime.precision,
        "maps": list(used),
        "views": views,
        "samples": samples.content or samples.origin.fingerprint or str(samples.path.stat().st_mtime_ns),
    }

    def compute(index: int) -> ImageFeatures:
        sample = samples[index]
        height, width = network_size(image_size or sample.mask.shape, scale)
        maps = encode(model, network_input(np.stack([sample.image]), (height, width)), views == 2, runtime)
        return ImageFeatures(sample.id, height, width, [maps[level].permute(0, 2, 3, 1) for level in used])

    sizes = [network_size(image_size or sample.mask.shape, scale) for sample in samples]
    name = f"{split}-{parameters.model.encoder}"
    return cache.features(name, facts, layout, sizes, compute, (rank(), world_size()))


@torch.inference_mode()
def encode(model: SegmentationNet, pixels: Tensor, mirrored: bool, runtime: Runtime) -> list[Tensor]:
    """All feature maps ``(views, C, H, W)`` of an image ``uint8 (1, C, h, w)`` and, if ``mirrored``, its mirror image.

    As in evaluation, images are extended to the encoder's multiple.
    """
    pixels = torch.cat([pixels, pixels.flip(-1)]) if mirrored else pixels
    images = normalise(pixels.to(runtime.device, non_blocking=True), input_of(model))
    with runtime.autocast():
        return model.encoder(model.pad(images.contiguous(memory_format=runtime.memory_format)))


def settings_without_effect(parameters: Parameters) -> list[str]:
    """Settings that are not off and have no effect with stored features, as ``key=value``."""
    augmentation, training = parameters.augmentation, parameters.training
    acting, off = augmentation.of_features(parameters.evaluation.scale), TrainingConfig()
    pairs = [(f"augmentation.{key}", value, getattr(acting, key)) for key, value in augmentation]
    pairs += [("training.freeze_batch_norm", training.freeze_batch_norm, off.freeze_batch_norm)]
    pairs += [
        (f"training.optimizer.{key}", getattr(training.optimizer, key), getattr(off.optimizer, key))
        for key in ("encoder_factor", "layer_decay")
    ]
    return [
        f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value, plain in pairs if value != plain
    ]


def require_same_scale(checkpoint: dict[str, Any], parameters: Parameters) -> None:
    """Refuse to resume a training on features of another scale; elsewhere that only changes validation.

    Raises:
        VocSegError: With both scales.
    """
    before, now = checkpoint["config"]["evaluation"]["scale"], parameters.evaluation.scale
    if parameters.training.frozen_stages == "all" and before != now:
        raise VocSegError(
            f"training.resume: evaluation.scale is {now:g}, and {before:g} in the checkpoint. With "
            "training.frozen_stages=all the decoder is trained on features of that scale: use it again, or retrain "
            "without training.resume=true."
        )


@torch.inference_mode()
def queue_cached_predictions(
    model: SegmentationNet,
    features: FrozenFeatures,
    samples: SampleStore,
    config: EvaluationConfig,
    runtime: Runtime,
    image_size: tuple[int, int] | None,
) -> Iterator[Pending]:
    """Predict this rank's images of the validation split from their features, without waiting for any.

    Images that evaluation cuts into tiles go through the whole network, as there.
    """
    head = Head(model, features.used).eval()
    for index in range(rank(), len(samples), world_size()):
        sample, (height, width) = samples[index], features.val.sizes[index]
        if is_tiled([(height, width)], config.tile):
            yield from queue_predictions(model, [sample], config, runtime, image_size, 0, 1)
            continue
        views = [
            [maps[None].permute(0, 3, 1, 2) for maps in features.val.read(index, view)]
            for view in range(1 + int(config.flip))
        ]
        if runtime.asynchronous:
            views = [[maps.pin_memory() for maps in view] for view in views]
        with runtime.autocast():
            logits = head(maps_to_device(views[0], runtime))[..., :height, :width]
            if config.flip:
                mirrored = head(maps_to_device(views[1], runtime))[..., :height, :width]
                logits = (logits + mirrored.flip(-1)) / 2
        truth = torch.from_numpy(np.stack([sample.mask]))
        truth = truth.pin_memory() if runtime.asynchronous else truth
        truth = truth.to(runtime.device, non_blocking=True)
        yield compare_with_mask(sample.id, whole_rows([logits.float()], *sample.mask.shape), truth)


def maps_to_device(maps: list[Tensor], runtime: Runtime) -> list[Tensor]:
    """Stored maps on the device, in float32 unless the network computes in less."""
    placed = [one.to(runtime.device, non_blocking=True) for one in maps]
    return [one.to(runtime.dtype).contiguous(memory_format=runtime.memory_format) for one in placed]
