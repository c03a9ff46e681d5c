"""What a network takes: channels, and how they are read and normalised. Every saved model records it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voc_seg.voc.pixel_format import PixelFormat

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's RGB values in [0, 1], as torchvision's weights expect them."""


@dataclass(frozen=True)
class ModelInput:
    """The input of a network.

    | field | meaning                                                                       |
    |-------|-------------------------------------------------------------------------------|
    | mean  | mean of each channel, of values in [0, 1]                                     |
    | std   | standard deviation of each channel                                            |
    | range | as `PixelFormat.range`: how values of more than 8 bits are read               |
    """

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    range: tuple[float, float] | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @property
    def pixels(self) -> PixelFormat:
        """How image files are read."""
        return PixelFormat(self.channels, self.range)

    @property
    def record(self) -> dict[str, Any]:
        """As plain values, for ``config.data`` of a saved model."""
        low_high = list(self.range) if self.range else None
        return {"channels": self.channels, "mean": list(self.mean), "std": list(self.std), "range": low_high}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "ModelInput":
        """The input that a saved model records; RGB with ImageNet's statistics for one of an earlier version."""
        config = saved.get("config")
        data = config.get("data") if isinstance(config, Mapping) else None
        if not isinstance(data, Mapping) or "channels" not in data:
            return RGB_INPUT
        low_high = data.get("range")
        return cls(tuple(data["mean"]), tuple(data["std"]), tuple(low_high) if low_high else None)


RGB_INPUT = ModelInput()
