"""Kedro datasets: the only code that accesses disk or network for a node."""

from .annotations import AnnotationsDataset
from .checkpoints import CheckpointsDataset
from .earlier_table import EarlierTableDataset
from .feature_cache import FeatureCacheDataset
from .files import FilesDataset
from .image_folder import PicturesDataset, SegmentationsDataset
from .in_memory import InMemoryDataset
from .model_file import ModelDataset
from .predictions import MasksDataset, PredictionFiguresDataset
from .report import Report, ReportDataset
from .runs import Run, RunModelsDataset, RunsDataset
from .sample_store import OptionalSampleStoreDataset, SampleStoreDataset
from .single_files import (
    BytesDataset,
    CSVDataset,
    JSONDataset,
    MatplotlibDataset,
    OptionalCSVDataset,
    OptionalJSONDataset,
    OptionalParquetDataset,
    ParquetDataset,
    TextDataset,
)
from .video_folder import VideosDataset
from .voc_split import VOCSplitDataset

__all__ = [
    "AnnotationsDataset",
    "BytesDataset",
    "CSVDataset",
    "CheckpointsDataset",
    "EarlierTableDataset",
    "FeatureCacheDataset",
    "FilesDataset",
    "InMemoryDataset",
    "JSONDataset",
    "MasksDataset",
    "MatplotlibDataset",
    "ModelDataset",
    "OptionalCSVDataset",
    "OptionalJSONDataset",
    "OptionalParquetDataset",
    "OptionalSampleStoreDataset",
    "ParquetDataset",
    "PicturesDataset",
    "PredictionFiguresDataset",
    "Report",
    "ReportDataset",
    "Run",
    "RunModelsDataset",
    "RunsDataset",
    "SampleStoreDataset",
    "SegmentationsDataset",
    "TextDataset",
    "VOCSplitDataset",
    "VideosDataset",
]
