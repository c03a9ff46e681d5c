"""Encoders of timm: hierarchical networks by the maps of their stages, plain vision transformers by a pyramid."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from voc_seg.config.network import TIMM
from voc_seg.system.errors import VocSegError

from .depthwise import fast_depthwise
from .encoder import RGB_CHANNELS, Encoder
from .timm_networks import EXAMPLE, require_name, require_timm

_COARSEST = 32
_LEVELS = (4, 8, 16, 32)
"""Strides of the pyramid over a transformer."""


class TimmEncoder(Encoder):
    """A hierarchical network of timm without its classifier, such as ConvNeXt, EfficientNet or MobileNet.

    Keys of the state dict are timm's own, so its weight files load as they are. There is neither dropout nor
    stochastic depth, so all ranks of a distributed run compute the same.

    Args:
        network: Of ``timm.create_model``; its classifier is removed.
        name: Its name, for messages.
        output_stride: Stride of the coarsest map, for which the network was created.

    Raises:
        VocSegError: The network has no feature maps of strides that double up to ``output_stride``.
    """

    def __init__(self, network: Any, name: str, output_stride: int) -> None:
        super().__init__()
        every = set(network.state_dict())
        self._choose_maps(network, name, output_stride)
        for layer in network.modules():
            if isinstance(layer, nn.modules.dropout._DropoutNd):
                layer.p = 0.0
            for probability in ("drop_prob", "prob"):  # of DropPath and PatchDropout
                if isinstance(getattr(layer, probability, None), float):
                    setattr(layer, probability, 0.0)
        self.network: Any = network
        self.unused = frozenset(every - set(network.state_dict()))
        self.register_state_dict_post_hook(_remove_prefix)
        self.register_load_state_dict_pre_hook(_add_prefix)

    def _choose_maps(self, network: Any, name: str, output_stride: int) -> None:
        """Describe the maps, and remove what the network computes only for its classifier."""
        info = _features(network, name)
        taken = [index for index, feature in enumerate(info) if 2 <= feature["reduction"] <= _COARSEST]
        self.strides = tuple(info[index]["reduction"] for index in taken)
        self.channels = tuple(info[index]["num_chs"] for index in taken)
        self.first_stage, self.multiple = 6 - len(taken), _COARSEST
        wanted = tuple(min(1 << stage, output_stride) for stage in range(self.first_stage, 6))
        if self.strides != wanted or self.first_stage > 2:
            found = ", ".join(str(feature["reduction"]) for feature in info)
            raise refusal(name, f"its feature maps have strides {found}; 4, 8, 16 and 32 are needed")
        self._bounds = tuple(info[index]["module"] for index in taken)
        self._taken = network.prune_intermediate_layers(taken, prune_norm=True)
        for head in _listed(network.pretrained_cfg.get("classifier")):
            top = head.partition(".")[0]  # with the norm that ConvNeXt and others have there
            if not any(bound.partition(".")[0] == top for bound in self._bounds):
                setattr(network, top, nn.Identity())

    def stages(self) -> list[list[nn.Module]]:
        """The modules up to each of the maps, finest first."""
        groups: list[list[nn.Module]] = [[]]
        for path, unit in _units(self.network, self._bounds):
            groups[-1].append(unit)
            if path in self._bounds:
                groups.append([])
        return _with_parameters(groups)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images whose height and width are multiples of `multiple`; see `Encoder`."""
        if self.training and not len(images) and not any(isinstance(one, _BatchNorm) for one in self.modules()):
            # A rank without a crop: attention cannot reshape nothing. Batch norm over all ranks must see no other crop.
            return [maps[:0] for maps in self._maps(images.new_zeros(1, *images.shape[1:]))]
        return self._maps(images)

    def _maps(self, images: Tensor) -> list[Tensor]:
        with fast_depthwise(images):
            return self.network.forward_intermediates(images, indices=self._taken, intermediates_only=True)


class TransformerEncoder(TimmEncoder):
    """A plain vision transformer of timm: its grid has one stride, and four of its blocks give a pyramid.

    After the simple pyramid of Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (2022),
    with the blocks of Ranftl et al., "Vision Transformers for Dense Prediction" (2021): the outputs of four evenly
    spaced blocks, after the network's final norm, become maps of strides 4, 8, 16 and 32. Unlike in these papers they
    are resized by interpolation and averaging, which have no weights: so all weights are pretrained ones, and a frozen
    encoder is complete.

    Images are resized such that the stride of the grid is a power of two: by 14 / 16 for patches of 14 pixels. The
    network's position embeddings are interpolated to the grid.
    """

    def _choose_maps(self, network: Any, name: str, output_stride: int) -> None:
        """Describe the pyramid, and remove what the network computes only for its classifier."""
        info = _features(network, name)
        self._patch = info[0]["reduction"]
        self._grid = 1 << (self._patch - 1).bit_length()  # 14 -> 16
        if self._grid not in _LEVELS:
            raise refusal(name, f"its patches have {self._patch} pixels; 3 to 32 are possible")
        self.strides = tuple(min(stride, output_stride) for stride in _LEVELS)
        self.first_stage, self.multiple = 2, max(self._grid, *self.strides)
        # The last block of each quarter; of fewer than four blocks some count twice.
        blocks = [-(-len(info) * quarter // len(_LEVELS)) - 1 for quarter in range(1, len(_LEVELS) + 1)]
        self.channels = tuple(info[block]["num_chs"] for block in blocks)
        self._source = tuple(sorted(set(blocks)).index(block) for block in blocks)
        self._bounds = tuple(feature["module"] for feature in info)
        self._taken = network.prune_intermediate_layers(sorted(set(blocks)), prune_norm=False)

    def stages(self) -> list[list[nn.Module]]:
        """The embedding of patches and positions, then each of the blocks; the last one with the final norm."""
        groups: list[list[nn.Module]] = [[]]
        for path, unit in _units(self.network, self._bounds):
            if path in self._bounds:
                groups.append([])
            groups[-1].append(unit)
        return _with_parameters(groups)

    def _maps(self, images: Tensor) -> list[Tensor]:
        height, width = (side // self._grid for side in images.shape[-2:])
        if self._patch != self._grid:
            size = (height * self._patch, width * self._patch)
            images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
        maps = self.network.forward_intermediates(images, indices=self._taken, norm=True, intermediates_only=True)
        levels = []
        for source, stride in zip(self._source, self.strides):
            level = maps[source]
            if stride > self._grid:
                level = functional.avg_pool2d(level, stride // self._grid)
            elif stride < self._grid:
                size = (height * (self._grid // stride), width * (self._grid // stride))
                level = functional.interpolate(level, size, mode="bilinear", align_corners=False)
            levels.append(level)
        return levels


def build_timm_encoder(name: str, output_stride: int, channels: int) -> TimmEncoder:
    """A randomly initialised network of timm as an encoder.

    Args:
        name: Its name in timm, perhaps with a tag of weights, which may decide details of the network.
        output_stride: Stride of the coarsest map, up to 32.
        channels: Of the images.

    Raises:
        VocSegError: timm is not installed, or its network cannot be used; with the reason.
    """
    require_name(name)
    network = _create(name, output_stride, channels)
    reductions = {feature["reduction"] for feature in _features(network, name)}
    kind = TransformerEncoder if len(reductions) == 1 else TimmEncoder
    return kind(network, name, output_stride)


def _create(name: str, output_stride: int, channels: int) -> Any:
    """The network, for images of any size where it has an option for that."""
    timm = require_timm(name)
    wanted: dict[str, Any] = {} if channels == RGB_CHANNELS else {"in_chans": channels}
    # Transformers, plain and with windows; the other networks have neither option.
    for any_size in ({"dynamic_img_size": True}, {"strict_img_size": False}, {}):
        try:
            network = timm.create_model(name, **wanted, **any_size)
        except TypeError as error:
            if not any(option in str(error) for option in any_size):
                raise refusal(name, f"timm cannot create it for {channels} channels ({error})") from error
        else:
            break
    if output_stride == _COARSEST or len({feature["reduction"] for feature in _features(network, name)}) == 1:
        return network
    try:
        return timm.create_model(name, **wanted, output_stride=output_stride)
    except (TypeError, AssertionError, NotImplementedError, ValueError) as error:
        raise refusal(name, f"it cannot be built here with model.output_stride={output_stride}; set 32") from error


def require_any_size(encoder: Encoder, name: str, channels: int) -> None:
    """Refuse a network that works only with images of one size, or whose maps are not those it announces.

    Args:
        encoder: On the meta device, where computing takes no time.
        name: Its name, for messages.
        channels: Of the images.

    Raises:
        VocSegError: With the reason.
    """
    for height, width in ((32, 32), (96, 160)):
        try:
            with torch.no_grad():
                maps = encoder.eval()(torch.empty(1, channels, height, width, device="meta"))
        except Exception as error:  # assertions, shapes that do not fit
            reason = " ".join(str(error).split()) or type(error).__name__
            raise refusal(name, f"it fails for an image of {height} x {width} ({reason:.120})") from error
        for found, depth, stride in zip(maps, encoder.channels, encoder.strides):
            expected = (1, depth, height // stride, width // stride)
            if found.shape != expected:
                raise refusal(
                    name, f"an image of {height} x {width} gives a map of {tuple(found.shape)} instead of {expected}"
                )


def refusal(name: str, reason: str) -> VocSegError:
    """The error for a network that cannot be an encoder."""
    return VocSegError(f"model.encoder {TIMM}{name} cannot be used: {reason}. Another one is {TIMM}{EXAMPLE}.")


def _features(network: Any, name: str) -> list[dict[str, Any]]:
    """Channels, stride and module of each feature map of a network."""
    info = getattr(network, "feature_info", None)
    if not info or not hasattr(network, "prune_intermediate_layers"):
        raise refusal(name, "timm provides no feature maps for it")
    return [info[index] for index in range(len(info))]


def _listed(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _units(module: nn.Module, bounds: tuple[str, ...], prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest modules that contain none of ``bounds``, but may be one, in order, with their names."""
    if own := list(module.parameters(recurse=False)):
        yield prefix, nn.ParameterList(own)  # class token, position embeddings
    for name, child in module.named_children():
        path = prefix + name
        if any(bound.startswith(f"{path}.") for bound in bounds):
            yield from _units(child, bounds, f"{path}.")
        else:
            yield path, child


def _with_parameters(groups: list[list[nn.Module]]) -> list[list[nn.Module]]:
    """The groups without modules that have no parameters, and without those that are empty then."""
    learning = ([module for module in group if any(True for _ in module.parameters())] for group in groups)
    return [group for group in learning if group]


_PREFIX = "network."


def _remove_prefix(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + _PREFIX)]:
        state[prefix + key.removeprefix(prefix + _PREFIX)] = state.pop(key)


def _add_prefix(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + _PREFIX + key.removeprefix(prefix)] = state.pop(key)
