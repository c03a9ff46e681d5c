"""Networks from settings, from ImageNet weights and from saved models."""

import logging
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.error import URLError

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import get_weight

from voc_seg.config import ModelConfig
from voc_seg.errors import VocSegError

from .encoder import count_parameters
from .segmentation_net import SegmentationNet

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
    require_weights_file(config)
    state = _download(config.encoder) if config.weights == "imagenet" else _read(Path(config.weights))
    state = {key: value.float() for key, value in state.items() if not key.startswith("fc.")}
    expected = model.encoder.state_dict()
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
    model.encoder.load_state_dict(state, strict=False)


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


def require_weights_file(config: ModelConfig) -> None:
    """Refuse the path of weights that are not there; this is quick, so it can be asked before anything runs.

    Raises:
        VocSegError: With the path.
    """
    path = Path(config.weights or "")
    if config.weights not in (None, "imagenet") and not path.is_file():
        raise VocSegError(
            f"model.weights: there is no file {path.absolute()}. Use null, imagenet, or the path of a "
            ".pth or .safetensors state dict."
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes make of a reader of zip files and pickles
        first_line = str(error).partition("\n")[0]  # torch's others advise to switch the protection off
        raise VocSegError(
            f"model.weights: {path} cannot be read as a state dict "
            f"({type(error).__name__}: {first_line}). "
            "It may be cut short or hold more than tensors; fetch it again or save its state_dict() alone."
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise VocSegError(f"model.weights: {path} holds no plain state dict of tensors; save model.state_dict().")
    return state
