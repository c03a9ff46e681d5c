"""State dicts from files of others, told apart by their content."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from voc_seg.errors import VocSegError

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` or safetensors file by their keys, also of one wrapped as ``{"state_dict": ...}``.

    Raises:
        VocSegError: The file is empty, damaged, a pointer of Git LFS, would run code, or holds no state dict.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            raise VocSegError(
                f"model.weights: {path} cannot be read as a state dict: it is a pointer of Git LFS. "
                "Fetch the file itself: git lfs pull"
            )
        # A safetensors file begins with the length of its header and then the header, which is JSON.
        if head[8:9] == b"{":
            state = load_file(path)
        else:
            with path.open("rb") as file:  # given a path, torch goes by its ending
                state = torch.load(file, map_location="cpu", weights_only=True)
    except VocSegError:
        raise
    except Exception as error:  # whatever bytes make of a reader of zip files and pickles
        # Not torch's words on a file that would run code: they advise to switch the protection off.
        text = str(error).partition("\n")[0]
        reason = "it would run code" if "weights_only" in str(error) or "Unsupported" in text else text
        raise VocSegError(
            f"model.weights: {path} cannot be read as a state dict ({type(error).__name__}: {reason}). "
            "It may be empty, cut short or hold more than tensors; fetch it again or save its state_dict() alone."
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict) and state[key]:
            state = state[key]
            break
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise VocSegError(f"model.weights: {path} holds no plain state dict of tensors; save model.state_dict().")
    return state
