"""Kedro datasets: the only code that touches disk or network on behalf of a node."""

from .checkpoints import CheckpointsDataset, ModelDataset
from .earlier_table import EarlierTableDataset
from .predictions import MasksDataset, PredictionFiguresDataset
from .sample_store import SampleStoreDataset
from .voc_split import VOCSplitDataset

__all__ = [
    "CheckpointsDataset",
    "EarlierTableDataset",
    "MasksDataset",
    "ModelDataset",
    "PredictionFiguresDataset",
    "SampleStoreDataset",
    "VOCSplitDataset",
]
