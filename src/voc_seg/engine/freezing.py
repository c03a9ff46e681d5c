"""Parts of the network that do not change in training: frozen stages and frozen batch-norm statistics."""

import itertools
import logging
from typing import Literal

from torch import nn

from voc_seg.config import Parameters, TrainingConfig
from voc_seg.models.segmentation_net import SegmentationNet
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)


def warn_untrained_frozen(parameters: Parameters) -> None:
    """Warn about weights and statistics that are frozen although they were never trained."""
    config = parameters.training
    if parameters.model.weights is not None or config.frozen_stages == "all":  # "all" has a warning of its own
        return
    kept = [f"frozen_stages={config.frozen_stages}"] if config.frozen_stages else []
    kept += ["freeze_batch_norm=true"] if config.freeze_batch_norm else []
    if kept:
        logger.warning(
            "model.weights is null, so training.%s would keep values that were never trained. Turn freezing off, or "
            "start from pretrained weights: model.weights=pretrained", " and training.".join(kept),
        )  # fmt: skip


def freeze_stages(model: SegmentationNet, stages: int | Literal["all"]) -> None:
    """Exclude the first encoder stages, or the whole encoder, from training: no gradients are computed for them.

    Raises:
        VocSegError: The encoder has fewer stages.
    """
    every = model.encoder.stages()
    if stages != "all" and stages > len(every):
        raise VocSegError(
            f"training.frozen_stages is {stages}, but the encoder has {len(every)} stages. Set it to {len(every)} at "
            "most, or to all, which stores the encoder's features."
        )
    frozen = [[model.encoder]] if stages == "all" else every[:stages]
    for module in itertools.chain(*frozen):
        module.requires_grad_(False)


def train_mode(model: SegmentationNet, config: TrainingConfig) -> None:
    """Set training mode, except for batch-norm layers whose statistics are frozen, and for a frozen encoder."""
    model.train()
    if config.frozen_stages == "all":
        model.encoder.eval()
        return
    stages = model.encoder.stages()
    frozen = stages if config.freeze_batch_norm else stages[: config.frozen_stages]
    for module in itertools.chain(*frozen):
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.SyncBatchNorm)):
                layer.eval()
