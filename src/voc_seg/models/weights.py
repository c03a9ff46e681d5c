"""Tensors from weight files: recognises the format and the ResNet, finds nested tensors, and checks the values."""

import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_checks import LFS_POINTER

_BEGINNINGS = (
    (LFS_POINTER, "it is a pointer of Git LFS; fetch the file itself: git lfs pull"),
    (b"<", "it is a web page, not a file of weights"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"\x1f\x8b", "it is compressed with gzip; unpack it first"),
    (b"\x93NUMPY", "it is a NumPy array"),
)
_DEEPEST = 8
"""Levels of dictionaries that are searched: a pickle may hold a dictionary that contains itself."""

_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch inserts into the names of compiled, sharded and checkpointed modules, at any depth."""

_NOT_WEIGHTS = re.compile(r"optim|exp_avg|momentum_buffer")
"""Beginnings of keys of optimiser states, whose tensors may have the names and shapes of the weights."""

_NAMES_OBJECT = re.compile(r"(?:GLOBAL |class |type )([A-Za-z_][\w.]+)")

_BLOCKS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
"""Torchvision's ResNets by the number of blocks per stage, and whether these are bottlenecks."""


def read_content(path: Path, what: str, advice: str, checksums: bool = False) -> tuple[Any, dict[str, str]]:
    """The object in a file of ``torch.save``, or the tensors of a safetensors file, on the CPU; and the metadata.

    The format is recognised by content, not by file name.

    Args:
        path: The file.
        what: The expected content, for the message.
        advice: What to do about another content, a sentence.
        checksums: Verify the checksums in the file, which ``torch.load`` does not. Files from elsewhere may have none.

    Raises:
        VocSegError: The file is missing, empty, damaged, a pointer of Git LFS, of another kind, or would run code.
    """
    if not path.is_file():
        # Opening a pipe would block.
        found = "is not a regular file" if path.exists() else "does not exist"
        raise VocSegError(f"{path} cannot be read as {what} (it {found}). {advice}")
    try:
        with path.open("rb") as file:
            head = file.read(64)
            # A safetensors file begins with the length of its header and then the header, which is JSON.
            if head[8:9] == b"{":
                with safe_open(path, framework="pt") as tensors:
                    metadata = tensors.metadata() or {}
                return load_file(path), metadata
            if checksums and zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    if damaged := archive.testzip():
                        raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            file.seek(0)
            # Given a path, torch would choose the format by the extension.
            return torch.load(file, map_location="cpu", weights_only=True), {}
    except PermissionError as error:
        raise VocSegError(
            f"{path} may not be read by this user ({error.strerror}). Change its permissions, or its owner."
        ) from error
    except Exception as error:  # torch.load raises many exception types on malformed files
        raise VocSegError(f"{path} cannot be read as {what} ({_reason(path, error)}). {advice}") from error


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read. Torch's own advice, to disable its protection, is never shown."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "it is empty"
    for beginning, reason in _BEGINNINGS:
        if head.lstrip().startswith(beginning):
            return reason
    if head.startswith(b"\x08") and head[2:3] == b"\x12":
        return "it is an ONNX model"
    text = str(error)
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            return "it is cut short"
        if "TorchScript" in text:
            return "it is a TorchScript archive, which holds code"
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except Exception:  # zipfile raises several exception types on malformed directories
            return "it is damaged"
        if not any(name.endswith("data.pkl") for name in names):
            return "it is a zip archive, but not one written by torch.save"
    if "weights_only" in text:
        named = _NAMES_OBJECT.search(text.partition("WeightsUnpickler error")[2])
        if named:
            return f"it holds a Python object, {named[1]}, which could run code"
        return "it is damaged, or was not written by torch.save"
    if not head.startswith(b"PK") and head[8:9] != b"{":
        return "it is damaged, or was written by neither torch.save nor safetensors"
    first_line = text.partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {first_line:.150}" if first_line else type(error).__name__


def flatten(content: Any) -> dict[str, Tensor]:
    """All tensors in nested dictionaries, their keys joined by dots; none of an optimiser's state."""
    found: dict[str, Tensor] = {}
    _collect(content, "", found, _DEEPEST)
    return found


def _collect(content: Any, prefix: str, found: dict[str, Tensor], depth: int) -> None:
    if not isinstance(content, Mapping) or not depth:
        return
    for key, value in content.items():
        if not isinstance(key, str) or _NOT_WEIGHTS.match(key):
            continue
        if isinstance(value, Tensor):
            found[_WRAPPERS.sub("", prefix + key)] = value
        else:
            _collect(value, f"{prefix}{key}.", found, depth - 1)


def weight_fault(key: str, value: Tensor) -> str:
    """Why a tensor of the right shape is no valid weight or statistic; empty if it is valid."""
    if value.device.type == "meta":
        return "holds no values"
    if value.layout != torch.strided or value.is_quantized:
        return "is sparse or quantised"
    if key.endswith("num_batches_tracked"):
        return ""
    if not value.is_floating_point():
        return f"is of {value.dtype}"
    numbers = value.float()
    if not numbers.isfinite().all():
        return "holds NaN or infinity"
    if key.endswith("running_var") and (numbers < 0).any():
        return "holds negative variances"
    return ""


def identify_resnet(state: Collection[str]) -> str:
    """The name of torchvision's ResNet with these keys; empty if there is none."""
    blocks: tuple[int, ...] = tuple(
        len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")}) for stage in range(1, 5)
    )
    return _BLOCKS.get((blocks, "layer1.0.conv3.weight" in state), "")
