"""A trained network as one safetensors file that says of itself what is needed to use it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from voc_seg.errors import VocSegError


def model_digest(saved: dict[str, Any]) -> str:
    """16 hexadecimal digits that stand for the weights of a saved network, whichever file they were read from."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(saved["model"].items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def describe(saved: dict[str, Any], **more: Any) -> dict[str, str]:
    """What a saved network says of itself, as text: file formats take nothing else.

    Args:
        saved: The content of ``best_model.pth``.
        more: Further plain values to write down.

    Returns:
        Everything but the weights by its name, each value as JSON.
    """
    return {key: json.dumps(value) for key, value in {**saved, **more}.items() if key != "model"}


def to_safetensors(saved: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """The weights of ``best_model.pth`` as the bytes of a safetensors file, with what :func:`describe` gave."""
    return save({name: value.contiguous() for name, value in saved["model"].items()}, metadata)


def read_safetensors(path: Path | str) -> dict[str, Any]:
    """What ``best_model.pth`` held, of a ``model.safetensors`` made by this project.

    ``restore_model`` of it gives the network.

    Raises:
        VocSegError: There is no such file, it is damaged, or it holds weights alone.
    """
    path = Path(path)
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Make it with: kedro run --pipelines export")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
        about = {key: json.loads(value) for key, value in metadata.items()} if "model_config" in metadata else None
    except (SafetensorError, ValueError) as error:
        raise VocSegError(
            f"{path} cannot be read as an exported network ({type(error).__name__}: {error}). It may be cut short; "
            "make it again with: kedro run --pipelines export"
        ) from error
    if about is None:
        raise VocSegError(
            f"{path} does not say which network its weights belong to: it comes from elsewhere. Weights of an encoder "
            "go into model.weights; whole networks are made with: kedro run --pipelines export"
        )
    return {**about, "model": weights}
