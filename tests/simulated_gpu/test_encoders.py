"""Networks of timm train on a device as on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest

from voc_seg.engine.run import EpochReport

pytest.importorskip("timm")

GPU = "simgpu:0"


def _numbers(reports: list[EpochReport]) -> list[Any]:
    return [(row["train_loss"], row["val_loss"], row["val_miou"]) for row in reports[-1].history]


@pytest.mark.parametrize("encoder", ["timm:test_efficientnet", "timm:test_convnext", "timm:test_vit"])
def test_a_training_is_near_the_cpus(fit_on: Callable[..., list[EpochReport]], encoder: str) -> None:
    """To the bit it is not: attention and layer norm are computed by other operators."""
    blocks = {"model": {"encoder": encoder, "dropout": 0.0}, "training": {"epochs": 1}}
    host, device = _numbers(fit_on("cpu", **blocks)), _numbers(fit_on(GPU, **blocks))
    assert device[0] == pytest.approx(host[0], rel=1e-4)
    precise = _numbers(fit_on(GPU, **blocks, runtime={"precision": "bf16"}))
    assert precise[0][0] == pytest.approx(host[0][0], rel=0.05)
