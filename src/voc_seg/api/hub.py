"""Models on the Hugging Face Hub, with addresses that begin with ``hf://``; nothing is ever uploaded."""

import re
from pathlib import Path
from urllib.parse import unquote

from voc_seg.models.exchange import TORCH
from voc_seg.system.errors import VocSegError

_SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<model>[^/@]+/[^/@]+)(@(?P<revision>refs/(?:convert|pr)/\w+|[^/@]+))?(/(?P<file>[^@]+))?"
)


def is_on_hub(path: Path | str) -> bool:
    """Whether a path is the address of a model on the hub."""
    return _address(path).startswith(_SCHEME)


def _address(path: Path | str) -> str:
    """The path as text; as a Path, an address has lost one slash."""
    return path if isinstance(path, str) else re.sub("^hf:/(?!/)", _SCHEME, path.as_posix())


def download_from_hub(address: Path | str) -> Path:
    """Download a file of a model, unless ``huggingface_hub`` has it in its cache, and return its path.

    Args:
        address: ``hf://USER/NAME``, ``hf://USER/NAME@REVISION`` (a branch, tag or commit, ``%2F`` for a slash in it, or
            a pull request, ``refs/pr/1``) or, for a file other than ``model.safetensors``, ``hf://USER/NAME/FILE``; the
            form of ``huggingface_hub.HfFileSystem``.

    Raises:
        VocSegError: The address has another form, there is no such file, or the hub cannot be reached.
    """
    address = _address(address)
    if (found := _ADDRESS.fullmatch(address)) is None:
        raise VocSegError(
            f"{address} is not the address of a model. Write hf://USER/NAME, hf://USER/NAME@REVISION or "
            "hf://USER/NAME/FILE."
        )
    revision = unquote(found["revision"] or "") or None
    try:
        import huggingface_hub  # optional, and slow to import
    except ImportError:
        raise VocSegError(f"{address} needs huggingface_hub. Install it with: pip install huggingface_hub") from None
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                found["model"], found["file"] or TORCH, revision=revision, library_name="voc_seg"
            )
        )
    except Exception as error:  # its own types, those of its HTTP client, and OSError
        reason = " ".join(str(error).split())
        raise VocSegError(
            f"{address} cannot be loaded ({reason:.300}). Check the name and the network; a private model needs: "
            "hf auth login"
        ) from error
