"""Data-parallel training: DistributedDataParallel, and layers that act on the whole batch of all ranks."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from voc_seg.samples.batches import Batch
from voc_seg.samples.feature_batches import FeatureBatch

from .compiling import CompiledNetwork
from .distributed import world_size

Network = TypeVar("Network", bound=nn.Module)


class _AllReduceSum(torch.autograd.Function):
    """Sum over the ranks. Its gradient is summed too, because the loss is that of all ranks."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _AllReduceSum.apply(gradient.contiguous())


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over all ranks in plain operations, for CPUs and for empty slices.

    torch's SyncBatchNorm needs a GPU. Given an empty slice under autocast, its ranks exchange different types
    (torch/nn/modules/_functions.py, SyncBatchNorm.forward), which may hang.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise this rank's maps ``float (N, C, H, W)`` in float32 or better; N may be 0."""
        if not self.training:
            return _activate(self, super().forward(maps))
        values = maps.to(torch.promote_types(maps.dtype, torch.float32))
        size = _AllReduceSum.apply(values.new_full((), values.numel() / self.num_features))  # of a channel on all ranks
        mean = _AllReduceSum.apply(values.sum((0, 2, 3))) / size
        centred = values - mean[:, None, None]
        # Two passes: the difference of two large sums would lose digits.
        variance = _AllReduceSum.apply(centred.square().sum((0, 2, 3))) / size
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1  # type: ignore[operator, assignment]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * size / (size - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return _activate(self, (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype))


class GpuSyncBatchNorm2d(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, except for batches that leave some rank without a crop."""

    has_empty_slices = False  # set for each batch, alike on all ranks

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise this rank's maps ``float (N, C, H, W)``; N may be 0."""
        if self.training and self.has_empty_slices:
            return SyncBatchNorm2d.forward(self, maps)  # type: ignore[arg-type]
        return _activate(self, super().forward(maps))


def _activate(layer: nn.Module, maps: Tensor) -> Tensor:
    """What a layer does after batch norm: timm's ``BatchNormAct2d`` includes the activation."""
    for name in ("drop", "act"):
        after = getattr(layer, name, None)
        maps = maps if after is None else after(maps)
    return maps


class SyncDropout2d(nn.Dropout2d):
    """Dropout that draws for the whole batch and applies this rank's slice.

    A single process draws the same values, and the generators of all ranks stay equal.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.first, self.whole = 0, 0

    def forward(self, maps: Tensor) -> Tensor:
        """Apply dropout to this rank's maps ``float (N, C, H, W)``."""
        if not self.training or not self.p:
            return maps
        # As torch draws it (aten/src/ATen/native/Dropout.cpp, make_feature_noise).
        kept = maps.new_empty(self.whole, maps.shape[1], 1, 1).bernoulli_(1 - self.p).div_(1 - self.p)
        return maps * kept[self.first : self.first + len(maps)]


def convert_sync_layers(model: Network, sync_batch_norm: bool) -> Network:
    """Replace layers that must see the whole batch; a single process keeps its network unchanged.

    Args:
        model: On its device. Names of parameters and buffers do not change.
        sync_batch_norm: Also convert batch norm; otherwise each rank uses the statistics of its slice.
    """
    if world_size() == 1:
        return model
    gpu = next(model.parameters()).is_cuda
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Dropout2d):
                setattr(parent, name, SyncDropout2d(layer.p))
            elif sync_batch_norm and isinstance(layer, nn.BatchNorm2d):
                # Keeps the parameter objects, which the optimiser may hold, and the activation in layers of timm.
                if gpu:
                    layer.__class__, layer.process_group = GpuSyncBatchNorm2d, None  # type: ignore[assignment]
                else:
                    layer.__class__ = SyncBatchNorm2d
    return model


def wrap_ddp(model: nn.Module) -> nn.Module:
    """Wrap the network so that backward passes sum gradients over all ranks; unchanged for a single process."""
    if world_size() == 1:
        return model
    device = next(model.parameters()).device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the option has another name from torch 2.14 on
        return DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,  # done before each validation, not at every step
            gradient_as_bucket_view=True,
        )


def gradient_sync(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Context for a backward pass: gradients are summed over the ranks in the last pass of a step only."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext()


def set_batch_offset(model: nn.Module, batch: Batch | FeatureBatch) -> None:
    """Set which slice of the whole batch the layers see next, and whether that batch is a full one."""
    if isinstance(model, (DistributedDataParallel, CompiledNetwork)):
        for layer in model.modules():
            if isinstance(layer, SyncDropout2d):
                layer.first, layer.whole = batch.first, batch.whole
            elif isinstance(layer, GpuSyncBatchNorm2d):
                layer.has_empty_slices = batch.whole < world_size()
            elif isinstance(layer, CompiledNetwork):
                layer.full = batch.whole == layer.crops >= world_size()  # no rank is without a crop
