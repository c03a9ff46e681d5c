"""Train, check and evaluate semantic segmentation networks on PASCAL VOC, as a Kedro project."""

__version__ = "0.1.0"
