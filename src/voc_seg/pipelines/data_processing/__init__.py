"""From raw files to indexed, checked and packed samples."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
