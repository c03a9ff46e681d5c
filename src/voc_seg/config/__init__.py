"""Every setting of the project: one frozen, typed block for each key of the ``parameters*.yml`` files.

A hook checks all of them before any node runs (``voc_seg.hooks.validation``): an unknown key, a wrong type or a value
out of range ends a run before it starts. Nodes receive these blocks (``voc_seg.hooks.context``). Other top-level keys
belong to the user.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from .block import Block, flattened
from .data import AugmentationConfig, ClassConfig, DataConfig
from .foreign import meant, own_settings, unread
from .network import ModelConfig
from .results import ComparisonConfig, EvaluationConfig, InferenceConfig
from .running import RunName, RuntimeConfig, TrackingConfig
from .training import CheckpointConfig, OptimizerConfig, SanityConfig, ScheduleConfig, TrainingConfig

__all__ = [
    "AugmentationConfig", "CheckpointConfig", "ClassConfig", "ComparisonConfig", "DataConfig", "EvaluationConfig",
    "InferenceConfig", "ModelConfig", "OptimizerConfig", "Parameters", "RuntimeConfig", "SanityConfig",
    "ScheduleConfig", "TrackingConfig", "TrainingConfig", "flattened",
]  # fmt: skip


class Parameters(Block):
    """Everything of this project that ``parameters*.yml`` and ``--params`` may hold."""

    run: RunName = Field(
        None,
        description="name of the run: its outputs go into data/runs/NAME instead of data; as --params only",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="fixes initial weights, order and augmentation")
    voc_root: Path | None = Field(None, description="a VOCdevkit already on disk; as --params only")
    voc_archive: Path | None = Field(None, description="a downloaded archive, or a folder of them; as --params only")
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    sanity: SanityConfig = SanityConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    inference: InferenceConfig = InferenceConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Parameters":
        """Our settings among all parameters.

        Raises:
            pydantic.ValidationError: One of them is wrong, or a key is a slip of ours.
        """
        return cls.model_validate(own_settings(settings, cls))

    @classmethod
    def meant(cls, key: Any, value: Any) -> str | None:
        """The key of ours that an unknown one was probably meant to be."""
        return meant(key, value, cls)

    @classmethod
    def unread(cls, settings: Mapping[str, Any], given: Mapping[str, Any], read: set[str]) -> list[str]:
        """Warnings of the user's own keys that no node of a run reads, see `voc_seg.config.foreign`."""
        return unread(settings, given, read, cls)
