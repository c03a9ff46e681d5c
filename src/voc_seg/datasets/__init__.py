"""Kedro datasets: the only code that touches disk or network on behalf of a node."""

from .checkpoints import CheckpointsDataset, ModelDataset
from .earlier_table import EarlierTableDataset
from .predictions import MasksDataset, PredictionFiguresDataset
from .report import Report, ReportDataset
from .sample_store import SampleStoreDataset
from .voc_split import VOCSplitDataset
from .whole_files import CSVDataset, JSONDataset, MatplotlibDataset, ParquetDataset

__all__ = [
    "CSVDataset",
    "CheckpointsDataset",
    "EarlierTableDataset",
    "JSONDataset",
    "MasksDataset",
    "MatplotlibDataset",
    "ModelDataset",
    "ParquetDataset",
    "PredictionFiguresDataset",
    "Report",
    "ReportDataset",
    "SampleStoreDataset",
    "VOCSplitDataset",
]
