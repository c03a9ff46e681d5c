"""Whether the installed torch has kernels for a GPU, and which wheels have them where it has none."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TURING = (7, 5)
"""The oldest compute capability in wheels of CUDA 13. Those of CUDA 12.6 begin at 5.0; torch 2.14 is the last release
that has them: github.com/pytorch/pytorch/issues/190385."""


def missing_kernels(index: int) -> str:
    """Say why torch cannot compute on a GPU and what to install; empty if it can.

    Args:
        index: Number of the GPU, from 0.
    """
    capability, built = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    # ROCm has names of its own (gfx90a) and reports capabilities that mean something else.
    if torch.version.hip or not built or has_kernels(capability, built):
        return ""
    if capability < _TURING:
        wheels = (
            "Wheels for CUDA 12.6 have them, up to torch 2.14: pip install --force-reinstall 'torch<2.15' torchvision "
            "--index-url https://download.pytorch.org/whl/cu126"
        )
    else:
        wheels = "https://pytorch.org/get-started/locally shows which wheels have them"
    return (
        f"{torch.cuda.get_device_name(index)} (cuda:{index}) has compute capability {capability[0]}.{capability[1]}, "
        f"and torch {torch.__version__} has kernels for {', '.join(built)} only. {wheels}"
    )


def has_kernels(capability: tuple[int, int], built: list[str]) -> bool:
    """Whether a GPU runs code that was built for some architectures.

    By docs.nvidia.com/cuda/cuda-c-programming-guide, "Application Compatibility": machine code (``sm_80``) runs on the
    same major version and its own minor or a later one, ``sm_90a`` on exactly that one, ``sm_100f`` on its family,
    which is the same rule as for machine code without a letter. PTX (``compute_90``) is compiled for any later one.

    Args:
        capability: Of the GPU, as ``torch.cuda.get_device_capability`` gives it.
        built: As ``torch.cuda.get_arch_list`` gives them; other names are ignored.
    """
    for architecture in built:
        parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
        if parts is None:
            continue
        kind, major, minor, letter = parts.groups()
        version = int(major), int(minor)
        if letter == "a":
            runs = capability == version
        elif kind == "compute" and not letter:
            runs = capability >= version
        else:
            runs = capability[0] == version[0] and capability >= version
        if runs:
            return True
    return False


@contextmanager
def ignore_unsupported_gpu_warning() -> Iterator[None]:
    """Context in which torch does not list, in twenty lines, what it was built for: :func:`missing_kernels` says it."""
    with warnings.catch_warnings():
        for start in ("Found GPU", r"\n.*with CUDA capability"):
            warnings.filterwarnings("ignore", start, UserWarning)
        yield
