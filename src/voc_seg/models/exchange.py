"""A trained network as one safetensors file that says of itself what is needed to use it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from voc_seg.errors import VocSegError

from .saved import require_best_model
from .weights import read_content


def model_digest(saved: dict[str, Any]) -> str:
    """16 hexadecimal digits that stand for the weights of a saved network, whichever file they were read from."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(saved["model"].items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def take_model(best_model: dict[str, Any]) -> dict[str, Any]:
    """The best model with its digest, read once: a training may replace the file in the meantime.

    A node of both evaluation and export, which Kedro runs once for both: a run of the two uses one model.
    """
    return best_model | {"model_digest": model_digest(best_model)}


def one_evaluation(metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """``metrics.json`` and ``evaluation_facts.json`` together; empty unless both are from the same evaluation.

    Two evaluations never have the same speed to the last digit.
    """
    same = all(metrics.get(key) == facts.get(key) for key in ("images_per_second", "model_digest"))
    return {**facts, **metrics} if same else {}


def describe(saved: dict[str, Any], **more: Any) -> dict[str, str]:
    """What a saved network says of itself, as text: file formats take nothing else.

    Args:
        saved: The content of ``best_model.pth``.
        more: Further plain values to write down.

    Returns:
        Everything but the weights by its name, each value as JSON.

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
    """The weights of ``best_model.pth`` as the bytes of a safetensors file, with what :func:`describe` gave."""
    return save({name: value.contiguous() for name, value in saved["model"].items()}, metadata)


def read_saved(path: Path, checksums: bool = True) -> dict[str, Any]:
    """The content of a ``best_model.pth`` or checkpoint; of an exported ``model.safetensors`` the same.

    Args:
        path: The file; its content decides how it is read.
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
    if metadata or not isinstance(state, dict) or _are_tensors_alone(state):
        return _with_metadata(path, state, metadata)
    return state


def read_safetensors(path: Path | str) -> dict[str, Any]:
    """What ``best_model.pth`` held, of a ``model.safetensors`` made by this project.

    ``restore_model`` of it gives the network.

    Raises:
        VocSegError: The file is missing, damaged, holds weights alone, or its metadata is not that of a network.
    """
    path = Path(path)
    if not path.is_file():
        raise VocSegError(f"There is no file {path.absolute()}. Make it with: kedro run --pipelines export")
    advice = "It may be cut short; make it again with: kedro run --pipelines export"
    saved = _with_metadata(path, *read_content(path, "an exported network", advice))
    require_best_model(saved, str(path))
    return saved


def _are_tensors_alone(state: dict[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in state.values())


def _with_metadata(path: Path, weights: Any, metadata: dict[str, str]) -> dict[str, Any]:
    """A saved network from the tensors and the metadata of a safetensors file."""
    if not isinstance(weights, dict) or "model_config" not in metadata:
        raise VocSegError(
            f"{path} does not say which network its weights belong to: this project did not write it. Weights of an "
            "encoder go into model.weights; whole networks are made with: kedro run --pipelines training,export"
        )
    try:
        about = {key: json.loads(value) for key, value in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise VocSegError(
            f"{path} cannot be read as an exported network (its metadata is not JSON: {error}). Make it again with: "
            "kedro run --pipelines export"
        ) from error
    return {**about, "model": weights}
