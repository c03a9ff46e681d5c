"""Train, check and evaluate semantic segmentation networks on PASCAL VOC, as a Kedro project."""

from voc_seg.system.openmp import limit_spinning

__version__ = "0.1.0"

limit_spinning()  # before anything imports torch
