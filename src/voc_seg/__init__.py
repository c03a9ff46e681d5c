"""Train, check and evaluate semantic segmentation networks on PASCAL VOC, as a Kedro project."""

from typing import TYPE_CHECKING, Any

from voc_seg.system.openmp import limit_spinning

if TYPE_CHECKING:
    from voc_seg.api import load as load

__version__ = "0.1.0"

limit_spinning()  # before anything imports torch


def __getattr__(name: str) -> Any:
    """``voc_seg.load``, imported when it is first used: torch takes seconds."""
    if name == "load":
        from voc_seg.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
