"""One model, one photograph, every way to use it: the same mask. Each way also has tests of its own."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect

import voc_seg
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, RuntimeConfig
from voc_seg.datasets import FilesDataset
from voc_seg.models import onnx_export
from voc_seg.models.exchange import take_model
from voc_seg.pipelines.export.nodes import build_demo, export_model
from voc_seg.pipelines.inference.nodes import segment
from voc_seg.voc.images import decode_image

pytest.importorskip("fastapi", reason="the extra serve is not installed: pip install 'voc_seg[serve]'")
mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("narrow_encoder"),
    pytest.mark.skipif(bool(onnx_export.missing_packages()), reason="the extra onnx is not installed"),
]
SIZES = ((64, 64), (333, 97), (375, 500), (900, 1200), (2000, 3000))
LARGEST_IN_PAGE = 2_000_000
"""The page reduces photographs with more pixels, and says so."""
MOST_DIFFERENT = 0.0005
"""Share of the pixels."""
SCALES = EvaluationConfig(scale=0.5, flip=True, scales=(0.4, 0.6))


@pytest.fixture(scope="module")
def saved(untrained_model: Callable) -> dict[str, Any]:
    return untrained_model(SCALES)


@pytest.fixture(scope="module")
def folder(saved: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from voc_seg.hooks.mlflow_model import save_model

    folder = tmp_path_factory.mktemp("model")
    torch.save(saved, folder / "best_model.pth")
    taken = take_model(saved)
    _, masks, _, weights, _, card = export_model(taken, {}, {}, DataConfig(), SCALES, InferenceConfig())
    (folder / "model_masks.onnx").write_bytes(masks)
    (folder / "model.safetensors").write_bytes(weights)
    FilesDataset(filepath=str(folder / "demo")).save(build_demo(taken, masks, card, DataConfig()))
    save_model(folder / "best_model.pth", folder / "mlflow")
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Callable[[bytes], bytes]]:
    from fastapi.testclient import TestClient

    from voc_seg.serving.app import create_app
    from voc_seg.serving.limits import Limits

    app = create_app(voc_seg.load(folder / "best_model.pth", device="cpu"), Limits())
    with TestClient(app) as client:
        yield lambda image: client.post("/predict", files={"image": image}).raise_for_status().content


@pytest.fixture(scope="module")
def page(open_page: Callable, folder: Path) -> Iterator[Page]:
    with open_page(folder / "demo" / "index.html", "wide light") as page:
        yield page


def masks_of_page(page: Page, path: Path, saved_as: Path) -> np.ndarray:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files(path)
    expect(page.locator("#status")).to_contain_text(f"{path.name}: ", timeout=60_000)
    expect(page.locator("#status")).to_contain_text("segmented in")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the mask as PNG").click()
    download.value.save_as(saved_as)
    return np.asarray(Image.open(saved_as))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_way_gives_the_same_mask(
    size: tuple[int, int], saved: dict[str, Any], folder: Path, served: Callable, page: Page, tmp_path: Path
) -> None:
    height, width = size
    colours = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    path = tmp_path / f"{height}x{width}.png"
    Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC).save(path)

    def of_pipeline(precision: str) -> np.ndarray:
        runtime = RuntimeConfig(device="cpu", precision=precision)
        images = {"photo": decode_image(path)}
        found, _ = segment(images, {}, saved, DataConfig(), SCALES, InferenceConfig(), runtime)
        return np.asarray(found["photo"].mask)

    expected, in_fp32 = of_pipeline("auto"), of_pipeline("fp32")
    assert expected.shape == size and len(np.unique(expected)) > 1

    as_png = path.read_bytes()
    pyfunc = mlflow.pyfunc.load_model(str(folder / "mlflow"))
    same = {
        "best_model.pth": voc_seg.load(folder / "best_model.pth", device="cpu").predict(path).mask,
        "model.safetensors": voc_seg.load(folder / "model.safetensors", device="cpu").predict(path).mask,
        "server": np.asarray(Image.open(io.BytesIO(served(as_png)))),
        "MLflow": np.asarray(Image.open(io.BytesIO(pyfunc.predict(pd.DataFrame({"image": [as_png]}))["mask"][0]))),
    }
    assert {way: int((mask != expected).sum()) for way, mask in same.items()} == dict.fromkeys(same, 0)

    # Other arithmetic, so pixels at which two classes are about equally likely may differ; both compute in fp32.
    near = {"ONNX Runtime": voc_seg.load(folder / "model_masks.onnx").predict(path).mask}
    if height * width <= LARGEST_IN_PAGE:
        near["page"] = masks_of_page(page, path, tmp_path / "mask.png")
    shares = {way: float((mask != in_fp32).mean()) for way, mask in near.items()}
    assert max(shares.values()) <= MOST_DIFFERENT, shares
