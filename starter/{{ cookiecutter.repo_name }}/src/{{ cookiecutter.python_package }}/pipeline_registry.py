"""The pipelines of voc_seg, and every folder under ``pipelines/``."""

from voc_seg.pipeline_registry import register_pipelines

__all__ = ["register_pipelines"]
