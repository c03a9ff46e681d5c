"""Networks from settings, from ImageNet weights and from saved models."""

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.error import URLError

import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.models import get_weight

from voc_seg.config import ModelConfig
from voc_seg.errors import VocSegError

from .encoder import count_parameters
from .segmentation_net import SegmentationNet
from .weights import read_weights

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Of saved networks; raised with every change after which older files cannot be read."""

# The first release of torchvision's weights: plain training, what published fine-tuning results start from.
_IMAGENET = {name: f"ResNet{name[6:]}_Weights.IMAGENET1K_V1" for name in ("resnet18", "resnet34", "resnet50")}


def build_model(config: ModelConfig, classes: int) -> SegmentationNet:
    """A network with fresh decoder weights and the encoder weights the settings ask for, channels-last."""
    model = bare_model(config, classes)
    if config.weights is not None:
        load_encoder_weights(model, config)
    logger.info(
        "SegmentationNet: %s from %s, skips %s, %s context, %.1f M parameters",
        config.encoder, config.weights or "scratch", list(config.skips), config.context, count_parameters(model) / 1e6,
    )  # fmt: skip
    return model


def restore_model(saved: dict[str, Any]) -> SegmentationNet:
    """The network of a ``best_model.pth`` or a checkpoint, in evaluation mode.

    Raises:
        VocSegError: It was saved by a version with another network, its weights are of another architecture or number
            of classes than it says, or it is no saved network at all.
    """
    if saved.get("format_version") != FORMAT_VERSION:
        raise VocSegError(
            f"The saved network has format {saved.get('format_version')}, this version reads {FORMAT_VERSION}. "
            "Use the version that wrote it, or train anew: kedro run --pipelines training"
        )
    try:
        model = bare_model(ModelConfig.model_validate(saved["model_config"]), len(saved["class_names"]))
        model.load_state_dict(saved["model"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ValidationError) as error:
        detail = shorten("; ".join(str(error).splitlines()), 200, placeholder=" ...")
        raise VocSegError(
            f"The saved network does not fit what it says of itself ({type(error).__name__}: {detail}). "
            "It was damaged or put together by hand; make it again with: kedro run --pipelines training"
        ) from error
    return model.eval()


def require_classes(saved: dict[str, Any], names: Sequence[str]) -> None:
    """Refuse a model that was trained for other classes.

    Raises:
        VocSegError: With both lists of names.
    """
    known = saved["class_names"]
    if list(known) != list(names):
        raise VocSegError(
            f"The model was trained for the {len(known)} classes {', '.join(known)}; data.classes are "
            f"{', '.join(names)}. Give the data.classes (or the --env) it was trained with, or train anew: "
            "kedro run --pipelines training"
        )


def bare_model(config: ModelConfig, classes: int) -> SegmentationNet:
    """A network with fresh weights throughout, channels-last; no file is read."""
    model = SegmentationNet(
        encoder=config.encoder,
        classes=classes,
        skips=config.skips,
        width=config.width,
        context=config.context,
        output_stride=config.output_stride,
        stride_in_1x1=config.stride_in_1x1,
        dropout=config.dropout,
    )
    return model.to(memory_format=torch.channels_last)


def load_encoder_weights(model: SegmentationNet, config: ModelConfig) -> None:
    """Fill the encoder from ImageNet weights.

    Any floating-point dtype is converted to float32, and the classifier ``fc`` is ignored.

    Raises:
        VocSegError: No file at ``model.weights``.
        VocSegError: The file is damaged, would run code, or belongs to another architecture.
        VocSegError: torchvision could not download its weights.
    """
    if config.weights == "imagenet":
        state = _fitting(_download(config.encoder), model, config)
    else:
        state = _from_file(model, config)
    model.encoder.load_state_dict(state, strict=False)


def _from_file(model: SegmentationNet, config: ModelConfig) -> dict[str, Tensor]:
    path = _weights_path(config)
    return _fitting(read_weights(path), model, config)


def _fitting(state: dict[str, Tensor], model: SegmentationNet, config: ModelConfig) -> dict[str, Tensor]:
    """The tensors for the encoder, as float32; refused unless all are there, in shape and finite."""
    expected = model.encoder.state_dict()
    state = _without_prefix(state, expected.keys())
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    wrong = [key for key, value in expected.items() if key in state and state[key].shape != value.shape]
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in expected]
    if wrong or missing or unknown:
        raise VocSegError(
            f"model.weights {config.weights} does not fit model.encoder {config.encoder}: "
            f"{len(missing)} tensors missing {missing[:3]}, {len(wrong)} of another shape {wrong[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}. Name the encoder the weights were trained for; "
            "keys must be torchvision's."
        )
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        if not value.is_floating_point() or not value.isfinite().all():
            kind = f"is of {value.dtype}" if not value.is_floating_point() else "holds NaN or infinity"
            raise VocSegError(
                f"model.weights {config.weights}: {key} {kind}; weights are finite floating-point numbers. "
                "Use another file."
            )
    return {key: value.float() for key, value in state.items()}


def _without_prefix(state: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors of the encoder alone, where all of its keys stand behind a prefix: ``module.``, ``encoder.`` ..."""
    if "conv1.weight" in state:
        return state
    for prefix in sorted(key.removesuffix("conv1.weight") for key in state if key.endswith(".conv1.weight")):
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if all(key in inner for key in expected if not key.endswith("num_batches_tracked")):
            # Beside an encoder lie only the other parts of its network.
            logger.info("model.weights: taking the tensors of %s* alone, for the encoder", prefix)
            return inner
    return state


def _download(encoder: str) -> dict[str, Tensor]:
    weights = get_weight(_IMAGENET[encoder])
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, RuntimeError, OSError) as error:
        raise VocSegError(
            f"Could not download the ImageNet weights of {encoder} from {weights.url}: {error}. "
            f"Fetch that file by other means and set model.weights to its path, put it into "
            f"{torch.hub.get_dir()}/checkpoints, or train from scratch with model.weights=null."
        ) from error


def require_weights(config: ModelConfig) -> None:
    """Refuse a file of weights that cannot start a training; this is quick, so it is asked before anything runs.

    Raises:
        VocSegError: As :func:`load_encoder_weights`.
    """
    if config.weights not in (None, "imagenet"):
        _from_file(bare_model(config, 2), config)


def _weights_path(config: ModelConfig) -> Path:
    path = Path(os.path.expanduser(config.weights or ""))  # noqa: PTH111 - Path's fails for people it does not know
    if not os.path.isfile(path):  # noqa: PTH113 - nor is what may not be looked at, a folder or a pipe
        raise VocSegError(
            f"model.weights: there is no file {path.absolute()}. Use null, imagenet, or the path of a "
            ".pth or .safetensors state dict."
        )
    return path
