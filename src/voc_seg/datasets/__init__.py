"""Kedro datasets: the only code that touches disk or network on behalf of a node."""

from .checkpoints import CheckpointsDataset, ModelDataset
from .earlier_table import EarlierTableDataset
from .image_folder import PicturesDataset, SegmentationsDataset
from .in_memory import InMemoryDataset
from .predictions import MasksDataset, PredictionFiguresDataset
from .report import Report, ReportDataset
from .runs import Run, RunsDataset
from .sample_store import SampleStoreDataset
from .single_files import (
    BytesDataset,
    CSVDataset,
    JSONDataset,
    MatplotlibDataset,
    OptionalJSONDataset,
    ParquetDataset,
    TextDataset,
)
from .voc_split import VOCSplitDataset

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
