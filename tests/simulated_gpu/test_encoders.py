"""Every family of encoders trains on a device as on the CPU; all other checks are in tests/models/test_encoders.py."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voc_seg.engine.run import EpochReport

pytest.importorskip("timm")

_spec = importlib.util.spec_from_file_location("families", Path(__file__).parents[1] / "families.py")
families = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = families  # timm looks up where a network comes from
_spec.loader.exec_module(families)

pytestmark = pytest.mark.usefixtures("narrow_encoder", "small_transformers")

GPU = "simgpu:0"
QUICKEST = ("timm:test_efficientnet", "timm:test_convnext", "timm:test_vit")
AT_LENGTH = (pytest.mark.slow, pytest.mark.long)
IN_TURN = [pytest.param(name, marks=() if name in QUICKEST else AT_LENGTH) for name in families.FAMILIES]


@pytest.fixture(scope="module")
def small_transformers() -> None:
    families.register_small_transformers()


def _numbers(reports: list[EpochReport]) -> list[Any]:
    return [(row["train_loss"], row["val_loss"], row["val_miou"]) for row in reports[-1].history]


@pytest.mark.parametrize("encoder", IN_TURN)
def test_a_training_is_near_the_cpus(fit_on: Callable[..., list[EpochReport]], encoder: str) -> None:
    """To the bit it is not: attention and layer norm are computed by other operators."""
    blocks = {"model": {"encoder": encoder, "dropout": 0.0}, "training": {"epochs": 1}}
    host, device = _numbers(fit_on("cpu", **blocks)), _numbers(fit_on(GPU, **blocks))
    assert device[0] == pytest.approx(host[0], rel=1e-4)
    precise = _numbers(fit_on(GPU, **blocks, runtime={"precision": "bf16"}))
    assert precise[0][0] == pytest.approx(host[0][0], rel=0.05)
