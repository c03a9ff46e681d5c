"""The tensors of an encoder in a file of any project: in nested dictionaries, under any prefix, by name and shape."""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from voc_seg.config import ModelConfig
from voc_seg.system.errors import VocSegError

from .encoder import ENCODER_CHANNELS, RGB_CHANNELS, widen
from .weights import identify_resnet, weight_fault

logger = logging.getLogger(__name__)

_AVERAGED = re.compile(r"(?:^|[._])(?:ema|teacher)(?=[._]|$)")
"""Prefixes of the moving average of a network: the copy that self-distillation and EMA training publish."""

_COUNTER = "num_batches_tracked"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class FoundEncoder:
    """The tensors of an encoder in a file.

    | field   | meaning                                                                 |
    |---------|-------------------------------------------------------------------------|
    | tensors | float32 and complete, by the keys of the encoder's state dict            |
    | prefix  | of their keys in the file                                               |
    | unused  | numbers of tensors elsewhere in the file, by the beginning of their keys |
    | widened | whether filters of RGB have become filters of other channels             |
    """

    tensors: dict[str, Tensor]
    prefix: str
    unused: dict[str, int]
    widened: bool


def find_encoder(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    channels: int,
    config: ModelConfig,
    not_needed: Collection[str] = (),
) -> FoundEncoder:
    """The tensors for an encoder, refused unless all are present, of the right shape, finite and the encoder's alone.

    A prefix is found by the names and shapes behind it, not from a list. Of several encoders that fit, the moving
    average is taken, with a warning, or any if they are equal. Other choices are the user's.

    Args:
        state: All tensors of the file, by :func:`voc_seg.models.weights.flatten`.
        expected: The encoder's state dict.
        channels: Of the images: first filters for RGB are adapted to them.
        config: For messages.
        not_needed: Keys of the whole network that the encoder does without.

    Raises:
        VocSegError: With the tensors that are missing, of another shape or unknown; or no encoder, or several, fit.
    """
    found = _by_prefix(state, expected)
    complete = [prefix for prefix in sorted(found) if not _missing(expected, found[prefix])]
    fitting = [prefix for prefix in complete if not _misfits(state, expected, found[prefix], channels)]
    if not fitting:
        # With no match at all, the first search says that everything is missing.
        best = max(sorted(found), key=lambda prefix: len(found[prefix]), default="")
        raise _refusal(state, expected, best, found.get(best, {}), channels, config)
    prefix = _choose(state, {prefix: found[prefix] for prefix in fitting}, config)
    names = found[prefix]
    needed = {name: value for name, value in state.items() if name.removeprefix(prefix) not in not_needed}
    if _of_another_network(needed, prefix, names.values()):
        raise _refusal(needed, expected, prefix, names, channels, config)
    for name in names.values():
        if fault := weight_fault(name, state[name]):
            raise VocSegError(
                f"model.weights {config.weights}: {name} {fault}; weights are finite floating-point numbers. "
                "Use another file."
            )
    tensors = {key: _widened(state[name], expected[key], channels).float() for key, name in names.items()}
    widened = any(state[name].shape != expected[key].shape for key, name in names.items())
    return FoundEncoder(tensors, prefix, _unused(state, prefix, names.values()), widened)


def _by_prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Names in the file by prefix and by key of the encoder.

    Dots and underscores count as equal: a network of timm with ``features_only`` calls ``stages.0`` of the full network
    ``stages_0``. What all keys of the encoder begin with is a prefix too, of a wrapper around the network.
    """
    same: Callable[[str], str] = lambda key: key.replace("_", ".")  # noqa: E731
    if len({same(key) for key in expected}) < len(expected):
        same = str
    common = len(_common_beginning(expected))
    keys = {same(key[common:]): key for key in expected}
    found: dict[str, dict[str, str]] = {}
    for name in state:
        start = 0
        while True:
            if key := keys.get(same(name[start:])):
                found.setdefault(name[:start], {})[key] = name
            dot = name.find(".", start)
            if dot < 0:
                break
            start = dot + 1
    return found


def _common_beginning(keys: Iterable[str]) -> str:
    """The modules that the names of all tensors begin with, and a dot; empty if there are none."""
    modules = [key.split(".")[:-1] for key in keys]
    shared = []
    for level in zip(*modules):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{module}." for module in shared)


def _missing(expected: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Keys without a tensor; the first weight files of torchvision have no batch counters."""
    return [key for key in expected if key not in names and not key.endswith(_COUNTER)]


def _misfits(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: Mapping[str, str], channels: int
) -> list[str]:
    return [key for key, name in names.items() if not _fits(state[name], expected[key], channels)]


def _fits(value: Tensor, wanted: Tensor, channels: int) -> bool:
    return value.shape == wanted.shape or _is_of_rgb(value, wanted, channels)


def _is_of_rgb(value: Tensor, wanted: Tensor, channels: int) -> bool:
    """Whether these are filters of RGB images, and filters of as many channels as the images have are wanted."""
    shape = list(value.shape)
    return (
        channels != RGB_CHANNELS
        and value.ndim == 4
        and shape[1] == RGB_CHANNELS
        and [shape[0], channels, *shape[2:]] == list(wanted.shape)
    )


def _widened(value: Tensor, wanted: Tensor, channels: int) -> Tensor:
    return value if value.shape == wanted.shape else widen(value.float(), channels)


def _choose(state: Mapping[str, Tensor], fitting: Mapping[str, Mapping[str, str]], config: ModelConfig) -> str:
    """The prefix to take, of those where an encoder fits."""
    first, *others = fitting
    if all(_are_equal(state, fitting[first], fitting[other]) for other in others):
        return first
    listed = ", ".join(map(repr, fitting))
    averaged = [prefix for prefix in fitting if _AVERAGED.search(prefix)]
    if len(averaged) != 1:
        raise VocSegError(
            f"model.weights {config.weights} holds {len(fitting)} encoders that fit, under {listed}. Save the "
            "state_dict() of one of them."
        )
    logger.warning(
        "model.weights holds %d encoders that fit, under %s: taking %r, the averaged network. For another, save its "
        "state_dict() to a file of its own.",
        len(fitting), listed, averaged[0],
    )  # fmt: skip
    return averaged[0]


def _are_equal(state: Mapping[str, Tensor], names: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether both have the same values: a shared module is saved under each of its names."""
    pairs = [(state[name], state[others[key]]) for key, name in names.items() if not key.endswith(_COUNTER)]
    return not any(weight_fault("", one) or weight_fault("", two) or not torch.equal(one, two) for one, two in pairs)


def _of_another_network(state: Mapping[str, Tensor], prefix: str, names: Iterable[str]) -> list[str]:
    """Unknown tensors among those of the encoder: the file has a deeper or another network that contains ours.

    They are in a module or a block with tensors of the encoder, or in a further block of a numbered list. Other unknown
    tensors are heads.
    """
    known = {name.removeprefix(prefix) for name in names}
    modules = {name.rpartition(".")[0] for name in known} - {""}
    blocks = {tuple(name.split(".")[:2]) for name in known if name.count(".") > 1}
    numbered = {_NUMBER.sub("#", name) for name in known}
    return [
        name
        for name in (key.removeprefix(prefix) for key in state if key.startswith(prefix))
        if name not in known
        and not name.endswith(_COUNTER)
        and (
            name.rpartition(".")[0] in modules
            or tuple(name.split(".")[:2]) in blocks
            or _NUMBER.sub("#", name) in numbered
        )
    ]


def _unused(state: Mapping[str, Tensor], prefix: str, names: Iterable[str]) -> dict[str, int]:
    """Numbers of tensors that are not the encoder's, by the part of the file's keys that tells them from it."""
    taken, path = set(names), prefix.split(".")[:-1]
    counts: dict[str, int] = {}
    for name in state:
        if name not in taken and not (name.startswith(prefix) and name.endswith(_COUNTER)):
            parts = name.split(".")
            shared = next((i for i, (one, two) in enumerate(zip(parts, path)) if one != two), len(path))
            part = ".".join(parts[: shared + 1])
            counts[part] = counts.get(part, 0) + 1
    return counts


def _refusal(
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    prefix: str,
    names: Mapping[str, str],
    channels: int,
    config: ModelConfig,
) -> VocSegError:
    missing, wrong = _missing(expected, names), _misfits(state, expected, names, channels)
    unknown = [key.removeprefix(prefix) for key in state if key.startswith(prefix) and key not in names.values()]
    if not missing and not wrong:
        unknown = _of_another_network(state, prefix, names.values())
    shapes = ""
    if wrong:
        found, wanted = tuple(state[names[wrong[0]]].shape), tuple(expected[wrong[0]].shape)
        shapes = f" {wrong[0]} is {found} in the file and {wanted} in the encoder."
    return VocSegError(
        f"model.weights {config.weights} does not fit model.encoder {config.encoder}: "
        f"{len(missing)} tensors missing {missing[:3]}, {len(wrong)} of another shape {wrong[:3]}, "
        f"{len(unknown)} unknown {unknown[:3]}.{shapes} {_advice(state, config)}"
    )


def _advice(state: Mapping[str, Tensor], config: ModelConfig) -> str:
    """Advice on weights of another network."""
    first = "layer1.0.conv1.weight"
    prefixes = [key.removesuffix(first) for key in state if key.endswith(first)] or [""]
    names = ({key.removeprefix(prefix) for key in state if key.startswith(prefix)} for prefix in prefixes)
    found = next(filter(None, map(identify_resnet, names)), "")
    if found in ENCODER_CHANNELS and found != config.encoder:
        return f"Its tensors are those of {found}: set model.encoder={found}, or use other weights."
    if found and found not in ENCODER_CHANNELS:
        return (
            f"Its tensors are those of {found}; model.encoder can be {', '.join(ENCODER_CHANNELS)}. Use other weights."
        )
    return "Name the encoder the weights were trained for; keys must be those of its library, behind any prefix."
