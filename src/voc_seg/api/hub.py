"""Models on the Hugging Face Hub, with addresses that begin with ``hf://``; nothing is ever uploaded."""

import re
from pathlib import Path

from voc_seg.models.exchange import TORCH
from voc_seg.system.errors import VocSegError

_SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<model>[^/@]+/[^/@]+)(@(?P<revision>[^/@]+))?(/(?P<file>[^@]+))?")


def is_on_hub(path: Path | str) -> bool:
    """Whether a path is the address of a model on the hub."""
    return isinstance(path, str) and path.startswith(_SCHEME)


def download_from_hub(address: str) -> Path:
    """Download a file of a model, unless ``huggingface_hub`` has it in its cache, and return its path.

    Args:
        address: ``hf://USER/NAME``, ``hf://USER/NAME@REVISION`` (a branch, tag or commit) or, for a file other than
            ``model.safetensors``, ``hf://USER/NAME/FILE``; the form of ``huggingface_hub.HfFileSystem``.

    Raises:
        VocSegError: The address has another form, there is no such file, or the hub cannot be reached.
    """
    if (found := _ADDRESS.fullmatch(address)) is None:
        raise VocSegError(
            f"{address} is not the address of a model. Write hf://USER/NAME, hf://USER/NAME@REVISION or "
            "hf://USER/NAME/FILE."
        )
    try:
        import huggingface_hub  # optional, and slow to import
    except ImportError:
        raise VocSegError(f"{address} needs huggingface_hub. Install it with: pip install huggingface_hub") from None
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                found["model"], found["file"] or TORCH, revision=found["revision"], library_name="voc_seg"
            )
        )
    except Exception as error:  # its own types, those of its HTTP client, and OSError
        reason = " ".join(str(error).split())
        raise VocSegError(
            f"{address} cannot be loaded ({reason:.300}). Check the name and the network; a private model needs: "
            "hf auth login"
        ) from error
