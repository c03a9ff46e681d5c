"""A trained network as a self-contained safetensors file: weights, and settings as metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from voc_seg.system.errors import VocSegError

from .saved import require_best_model
from .weights import read_content

TORCH, NETWORK, MASKS, INT8 = "model.safetensors", "model.onnx", "model_masks.onnx", "model_masks_int8.onnx"
"""The files of an export."""


def model_digest(saved: dict[str, Any]) -> str:
    """A digest of the weights of a saved network, 16 hexadecimal digits, independent of the file format."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(saved["model"].items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def take_model(best_model: dict[str, Any]) -> dict[str, Any]:
    """The best model with its digest, read once: a training may replace the file in the meantime.

    Evaluation and export share this node, and Kedro runs it once for both, so they use the same model.
    """
    return best_model | {"model_digest": model_digest(best_model)}


def merge_evaluation(metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``metrics.json`` and ``evaluation_facts.json``; empty unless both are from the same evaluation.

    Speeds identify an evaluation: they never agree to the last digit.
    """
    same = all(metrics.get(key) == facts.get(key) for key in ("images_per_second", "model_digest"))
    return {**facts, **metrics} if same else {}


def model_metadata(saved: dict[str, Any], **more: Any) -> dict[str, str]:
    """Metadata of a saved network as text, the only type that file formats accept.

    Args:
        saved: The content of ``best_model.pth``.
        more: Further plain values to include.

    Returns:
        All fields except the weights, by name, each value as JSON.

    Raises:
        VocSegError: A value cannot be written as JSON.
    """
    found = {}
    for key, value in {**saved, **more}.items():
        if key == "model":
            continue
        try:
            found[key] = json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise VocSegError(
                f"The network to export has a {type(value).__name__} as {key}, which cannot be written as JSON. Remove "
                f"{key} from best_model.pth, or train again: kedro run --pipelines training"
            ) from error
    return found


def to_safetensors(saved: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """The weights of ``best_model.pth`` as a safetensors file, with the result of :func:`model_metadata`."""
    tensors = {name: value.contiguous() for name, value in saved["model"].items()}
    return save(tensors, metadata | {_METADATA_DIGEST: _metadata_digest(metadata)})


_METADATA_DIGEST = "metadata_digest"


def _metadata_digest(metadata: Mapping[str, str]) -> str:
    """A digest of all other metadata, whose damage would change masks as that of weights does."""
    items = sorted((key, value) for key, value in metadata.items() if key != _METADATA_DIGEST)
    return json.dumps(hashlib.blake2b(json.dumps(items).encode(), digest_size=8).hexdigest())


def to_config(metadata: Mapping[str, str]) -> bytes:
    """The metadata of an export as ``config.json``, by which the Hugging Face Hub counts downloads; it is not read."""
    about = {"library_name": "voc_seg", "architectures": ["SegmentationNet"]}
    return json.dumps(about | {key: json.loads(metadata[key]) for key in sorted(metadata)}, indent=2).encode()


def read_saved(path: Path, checksums: bool = True) -> dict[str, Any]:
    """The content of a ``best_model.pth``, a checkpoint or an exported ``model.safetensors``.

    Args:
        path: The file; its format is recognised by content.
        checksums: Compare with the checksums in the file.

    Raises:
        VocSegError: As :func:`read_content`, or the file is none of these.
    """
    state, metadata = read_content(
        path,
        "a saved network",
        "It may be cut short or come from elsewhere; make it again with: kedro run --pipelines training",
        checksums,
    )
    if metadata or not isinstance(state, dict) or _only_tensors(state):
        return _with_metadata(path, state, metadata)
    return state


def read_safetensors(path: Path | str) -> dict[str, Any]:
    """The content of ``best_model.pth``, read from a ``model.safetensors`` of this project.

    Pass it to ``restore_model`` to get the network.

    Raises:
        VocSegError: The file is missing, damaged, has only weights, or its metadata is not that of a network.
    """
    path = Path(path)
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Make it with: kedro run --pipelines export")
    advice = "It may be cut short; make it again with: kedro run --pipelines export"
    saved = _with_metadata(path, *read_content(path, "an exported network", advice))
    require_best_model(saved, str(path))
    return saved


def _only_tensors(state: dict[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in state.values())


def _with_metadata(path: Path, weights: Any, metadata: dict[str, str]) -> dict[str, Any]:
    """A saved network from the tensors and the metadata of a safetensors file."""
    if not isinstance(weights, dict) or "model_config" not in metadata:
        raise VocSegError(
            f"{path} does not say which network its weights belong to: this project did not write it. Weights of an "
            "encoder go into model.weights; whole networks are made with: kedro run --pipelines training,export"
        )
    if metadata.get(_METADATA_DIGEST, digest := _metadata_digest(metadata)) != digest:
        raise VocSegError(
            f"{path} is damaged: its metadata has changed. Make it again with: kedro run --pipelines export"
        )
    try:
        about = {key: json.loads(value) for key, value in metadata.items() if key != _METADATA_DIGEST}
    except (ValueError, RecursionError) as error:
        raise VocSegError(
            f"{path} cannot be read as an exported network (its metadata is not JSON: {error}). Make it again with: "
            "kedro run --pipelines export"
        ) from error
    saved = {**about, "model": weights}
    if about.get("model_digest", digest := model_digest(saved)) != digest:
        raise VocSegError(
            f"{path} is damaged: its weights have the digest {digest}, but were written with {about['model_digest']}. "
            "Make it again with: kedro run --pipelines export"
        )
    return saved
