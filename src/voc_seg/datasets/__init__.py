"""Kedro datasets: the only code that touches disk or network on behalf of a node."""

from .checkpoints import CheckpointsDataset, ModelDataset
from .earlier_table import EarlierTableDataset
from .in_memory import InMemoryDataset
from .pictures import PicturesDataset, SegmentationsDataset
from .predictions import MasksDataset, PredictionFiguresDataset
from .report import Report, ReportDataset
from .runs import Run, RunsDataset
from .sample_store import SampleStoreDataset
from .voc_split import VOCSplitDataset
from .whole_files import (
    BytesDataset,
    CSVDataset,
    JSONDataset,
    MatplotlibDataset,
    OptionalJSONDataset,
    ParquetDataset,
    TextDataset,
)

__all__ = [
    "BytesDataset",
    "CSVDataset",
    "CheckpointsDataset",
    "EarlierTableDataset",
    "InMemoryDataset",
    "JSONDataset",
    "MasksDataset",
    "MatplotlibDataset",
    "ModelDataset",
    "OptionalJSONDataset",
    "ParquetDataset",
    "PicturesDataset",
    "PredictionFiguresDataset",
    "Report",
    "ReportDataset",
    "Run",
    "RunsDataset",
    "SampleStoreDataset",
    "SegmentationsDataset",
    "TextDataset",
    "VOCSplitDataset",
]
