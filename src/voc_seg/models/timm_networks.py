"""timm's networks by name: whether they exist, how they normalise images, and their pretrained weights."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from voc_seg.config import ModelConfig
from voc_seg.config.network import TIMM
from voc_seg.system.errors import VocSegError

logger = logging.getLogger(__name__)

EXAMPLE = "convnext_tiny"
"""A network for messages that can be used in every way."""

_TIMEOUT = 20
"""Seconds without an answer after which a download fails; torch.hub's own would wait forever behind some firewalls."""


@contextmanager
def socket_timeout() -> Iterator[None]:
    """Context in which connections fail after 20 seconds without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


_LIST_ALL = "All names: python -c 'import timm; print(timm.list_models())'"


def require_timm(name: str) -> Any:
    """The module ``timm``.

    Raises:
        VocSegError: It is not installed.
    """
    if find_spec("timm") is None:
        raise VocSegError(
            f"model.encoder {TIMM}{name} needs the package timm, which is not installed: pip install 'voc_seg[timm]'"
        )
    import timm

    return timm


def require_name(name: str) -> None:
    """Refuse a network that this version of timm does not have, or does not have with this tag of weights.

    Raises:
        VocSegError: With the closest names.
    """
    timm = require_timm(name)
    network, _, tag = name.partition(".")
    if not timm.is_model(network):
        close = get_close_matches(network, timm.list_models(), 3, 0.7)
        hint = f"Did you mean {' or '.join(TIMM + one for one in close)}?" if close else _LIST_ALL
        raise VocSegError(f"model.encoder {TIMM}{name}: timm {timm.__version__} has no network {network}. {hint}")
    known = sorted(one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")) if tag else []
    if tag and tag not in known:
        raise VocSegError(
            f"model.encoder {TIMM}{name}: timm {timm.__version__} has no weights {tag} of {network}. Known: "
            f"{', '.join(known) or 'none'}."
        )


def require_pretrained(name: str) -> None:
    """Refuse a network without pretrained weights to download.

    Raises:
        VocSegError: With the way out.
    """
    settings = require_timm(name).get_pretrained_cfg(name)
    if settings is None or not settings.has_weights:
        raise VocSegError(
            f"model.weights=pretrained: timm has no pretrained weights of {name}. Set model.weights to a file or to "
            "null, or choose another model.encoder."
        )


def statistics(config: ModelConfig) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of RGB images that an encoder of timm was trained with; None for another encoder.

    Raises:
        VocSegError: timm is not installed, or does not have the network.
    """
    if config.timm_name is None:
        return None
    require_name(config.timm_name)
    settings = require_timm(config.timm_name).get_pretrained_cfg(config.timm_name)
    return (tuple(settings.mean), tuple(settings.std)) if settings else None


def download(name: str) -> dict[str, Tensor]:
    """The pretrained weights of a network for RGB images, as timm converts them; from its cache if they are there.

    Raises:
        VocSegError: There are none, or they could not be downloaded; with the reason and the way out.
    """
    timm = require_timm(name)
    require_pretrained(name)
    logger.info("Loading the pretrained weights of %s, from the cache or else by downloading them", name)
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it would report each of a dozen attempts, twice
    try:
        with socket_timeout():  # for weights that are not on Hugging Face, whose client has a limit of its own
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # of huggingface_hub, httpx or requests, urllib, safetensors and torch
        raise VocSegError(_advice(name, timm.get_pretrained_cfg(name), error)) from error
    finally:
        hub.setLevel(level)


def _advice(name: str, settings: Any, error: Exception) -> str:
    """Why a download failed, and what to do."""
    page = f"https://huggingface.co/{settings.hf_hub_id}" if settings.hf_hub_id else ""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if type(error).__name__ == "GatedRepoError" or (status in (401, 403) and page):
        return (
            f"The weights of {name} are only for people who have accepted their licence (status {status}). Accept it "
            f"on {page}, log in with: hf auth login, and repeat the command; or set model.weights to a file."
        )
    reason = " ".join(str(error).split())
    return (
        f"Could not download the pretrained weights of {name} from {page or settings.url}: {type(error).__name__}: "
        f"{reason:.200}. Repeat the command when the network is back; or download "
        f"{page + '/resolve/main/model.safetensors' if page else 'that file'} yourself and set model.weights to its "
        "path; or train from scratch with model.weights=null."
    )
