"""Whether the ImageNet weights of ResNet-18 are available: in torchvision's cache, or as a download."""

import os
from contextlib import suppress
from pathlib import Path

import requests

ADDRESS = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
"""As torchvision's ``ResNet18_Weights.IMAGENET1K_V1``; importing torchvision would take seconds."""
_SECONDS = 4


def imagenet_weights_available() -> bool:
    """Return whether `model.weights: imagenet` will work for ResNet-18; asks the server, for a few seconds at most."""
    if (_cache() / ADDRESS.rpartition("/")[2]).is_file():
        return True
    with suppress(requests.RequestException):
        return requests.head(ADDRESS, timeout=_SECONDS, allow_redirects=True).ok
    return False


def _cache() -> Path:
    """Return the folder of ``torch.hub``, see https://docs.pytorch.org/docs/stable/hub.html."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))  # noqa: PTH118 - as torch.hub
    return Path(home).expanduser() / "hub" / "checkpoints"
