"""Kedro datasets: the only code that touches disk or network on behalf of a node."""

from .checkpoints import CheckpointsDataset, ModelDataset
from .earlier_table import EarlierTableDataset
from .pictures import PicturesDataset, SegmentationsDataset
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
    "PicturesDataset",
    "PredictionFiguresDataset",
    "Report",
    "ReportDataset",
    "SampleStoreDataset",
    "SegmentationsDataset",
    "VOCSplitDataset",
]
