"""Tiles of large images: they cover an image once, are blended without an edge, and equal the whole where they can."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from voc_seg.config import EvaluationConfig, InferenceConfig
from voc_seg.engine import scores as scoring
from voc_seg.engine import tiles
from voc_seg.engine.inference import Segmenter
from voc_seg.engine.prediction import predict_all
from voc_seg.engine.preprocessing import Preprocessing
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.tiles import score_parts, tiles_along
from voc_seg.samples.store import Sample

CPU = Runtime(torch.device("cpu"), torch.float32)


class Pointwise(nn.Module):
    """Three scores from the colours of each pixel; ``tilt`` adds the column's position in the network's input."""

    def __init__(self, tilt: float = 0.0) -> None:
        super().__init__()
        self.tilt = tilt
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        ramp = torch.linspace(-1, 1, images.shape[-1]).expand(images.shape[-2:])
        return torch.stack([images[:, 0], images[:, 1], images[:, 2] + self.tilt * ramp], dim=1)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assemble(model: nn.Module, image: np.ndarray, sizes: list[tuple[int, int]], tile: int, **more: Any) -> Tensor:
    """All parts in one tensor ``(classes, H, W)``; fails where they do not cover every pixel once."""
    height, width = image.shape[:2]
    found, covered = torch.zeros(3, height, width), torch.zeros(height, width, dtype=torch.int64)
    for rows, columns, scores in score_parts(model, image, sizes, False, tile, more.get("runtime", CPU)):
        assert scores.dtype == torch.float32
        found[:, rows, columns] = scores[0]
        covered[rows, columns] += 1
    assert (covered == 1).all()
    return found


@pytest.mark.parametrize(("length", "network_length", "tile"), [
    (1000, 1000, 256), (257, 257, 256), (12_000, 12_000, 1024), (12_000, 3600, 1024),
    (1001, 2002, 256), (5000, 129, 128), (2, 2000, 1024), (3, 600, 128),
])  # fmt: skip
def test_tiles_cover_a_side_and_are_blended_in_pairs(length: int, network_length: int, tile: int) -> None:
    spans = list(tiles_along(length, network_length, tile))
    part = max(1, length * tile // network_length)
    assert {span.stop - span.start for span in spans} == {part}
    assert {span.size for span in spans} == {tile}
    used = np.zeros(length, int)
    for span in spans:
        assert span.start <= span.first and span.last <= span.stop
        used[span.first : span.last] += 1
    blended = min(part // 8, 128)
    assert used.min() == 1 and (used == 2).sum() == blended * (len(spans) - 1) and used.max() <= 2
    assert (spans[0].before, spans[-1].after) == (0, 0)
    for one, other in pairwise(spans):
        assert one.stop - other.start >= part // 4
        assert one.after == other.before == one.last - other.first == blended
        # Context beyond the pixels that are used.
        assert min(one.stop - one.last, other.first - other.start) >= part // 16 - 1


def test_a_side_that_fits_is_one_piece() -> None:
    (span,) = tiles_along(5000, 256, 256)
    assert span == tiles.Tile(0, 5000, 0, 5000, 0, 0, 256)


@pytest.mark.parametrize("size", [(300, 500), (129, 1000), (1, 1000), (700, 1), (131, 257)])
@pytest.mark.parametrize("rows", [2**20, 37])
def test_tiles_of_a_pointwise_network_are_the_whole(
    size: tuple[int, int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, model = noise(*size), Pointwise()
    expected = assemble(model, image, [size], 4096)
    monkeypatch.setattr(scoring, "_WHOLE", rows * 128)
    monkeypatch.setattr(scoring, "_STRIP", rows * 128)
    torch.testing.assert_close(assemble(model, image, [size], 128), expected, rtol=0, atol=1e-6)
    assert model.sizes[0] == size and max(map(max, model.sizes[1:])) == 128


def test_blending_is_a_raised_cosine_by_hand() -> None:
    """Two tiles whose scores are the position in the tile: the seam is their weighted mean, pixel by pixel."""
    image = np.full((1, 200, 3), 128, np.uint8)
    first, second = tiles_along(200, 200, 128)
    assert (first.start, second.start, second.first, first.last) == (0, 72, 92, 108)
    found = (
        assemble(Pointwise(tilt=1.0), image, [(1, 200)], 128)[2, 0]
        - assemble(Pointwise(), image, [(1, 200)], 128)[2, 0]
    )
    position = np.linspace(-1, 1, 128)
    weight = np.clip((np.arange(92, 108) - 92 + 0.5) / 16, 0, 1)
    weight = np.sin(np.pi / 2 * weight) ** 2
    np.testing.assert_allclose(found[:92], position[:92], atol=1e-5)
    np.testing.assert_allclose(found[108:], position[36:], atol=1e-5)
    expected = (1 - weight) * position[92:108] + weight * position[20:36]
    np.testing.assert_allclose(found[92:108], expected, atol=1e-5)


def test_no_edge_shows_between_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the network depends on the position in its input, scores jump at a hard seam, and change slowly now."""
    image = np.full((300, 300, 3), 128, np.uint8)

    def largest_step() -> float:
        found = assemble(Pointwise(tilt=1.0), image, [(300, 300)], 128)[2]
        return max(found.diff(dim=0).abs().max().item(), found.diff(dim=1).abs().max().item())

    blended = largest_step()
    monkeypatch.setattr(tiles, "_BLENDED", 0)
    assert blended < 0.15 < 1.2 < largest_step()


@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (0.6, 1.0), (1.7, 0.4)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(150, 333), (40, 62)])
def test_evaluation_gives_the_masks_of_inference(
    scales: tuple[float, ...], precision: torch.dtype, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 5, padding=2), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1)).eval()
    runtime = Runtime(torch.device("cpu"), precision)
    image = noise(*size)
    truth = np.random.default_rng(1).integers(0, 4, size).astype(np.uint8)
    config = EvaluationConfig(scales=scales, tile=128, flip=True)
    (scored,) = predict_all(model, [Sample("noise", image, truth)], config, runtime)
    mask = (
        Segmenter(model, Preprocessing(scales, True, None, None, 128), runtime, InferenceConfig()).predict(image).mask
    )
    np.testing.assert_array_equal(scored.mask, mask)
    assert scored.confusion.sum() == truth.size
    assert scored.confusion.trace() == (mask == truth).sum()
    assert np.isfinite(scored.loss)


def test_each_tile_goes_through_the_network_at_every_scale() -> None:
    model = Pointwise()
    assemble(model, noise(128, 224), [(64, 112), (128, 224)], 128)
    assert model.sizes == [(64, 64), (128, 128)] * 2


def test_a_large_image_keeps_few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides one tile: its edge, and at most 128 rows of the image's width."""
    kept: list[int] = []
    plain = torch.Tensor.new_empty

    def noted(self: Tensor, size: tuple[int, ...]) -> Tensor:
        kept.append(torch.Size(size).numel())
        return plain(self, size)

    monkeypatch.setattr(torch.Tensor, "new_empty", noted)
    for size in ((1500, 4000), (300, 800)):
        kept.clear()
        for _, _, scores in score_parts(Pointwise(), noise(1500, 4000), [size], False, 256, CPU):
            assert scores[0, 0].numel() <= 2**20
        assert max(kept) <= 3 * 128 * 4000


class Scores(nn.Module):
    """Known scores: one set for inputs of the image's size, another for smaller ones."""

    def forward(self, images: Tensor) -> Tensor:
        values = [2.0, 0.0, 1.0] if images.shape[-1] == 8 else [0.0, 3.0, -200.0]
        return torch.tensor(values).reshape(1, 3, 1, 1).expand(len(images), 3, *images.shape[-2:])


def test_probabilities_of_several_scales_are_averaged_by_hand() -> None:
    def softmax(values: list[float]) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum()

    mean = (softmax([2.0, 0.0, 1.0]) + softmax([0.0, 3.0, -200.0])) / 2
    image = np.zeros((6, 8, 3), np.uint8)
    sample = Sample("grey", image, np.full((6, 8), 2, np.uint8))
    (found,) = predict_all(Scores(), [sample], EvaluationConfig(scales=(1.0, 0.5)), CPU)
    assert (found.mask == mean.argmax()).all() and mean.argmax() == 1
    assert found.loss == pytest.approx(-48 * np.log(mean[2]), rel=1e-5)  # finite, though one scale says exp(-203)
    (plain,) = predict_all(Scores(), [sample], EvaluationConfig(), CPU)
    assert (plain.mask == 0).all()


def test_one_of_several_scales_is_that_scale() -> None:
    sample = Sample("noise", noise(40, 62), np.zeros((40, 62), np.uint8))
    alone, listed, twice = (
        next(iter(predict_all(Pointwise(), [sample], EvaluationConfig(**settings), CPU)))
        for settings in ({"scale": 0.5}, {"scales": (0.5,)}, {"scales": (0.5, 0.5)})
    )
    np.testing.assert_array_equal(alone.mask, listed.mask)
    assert alone.loss == listed.loss == pytest.approx(twice.loss, rel=1e-5)


def test_images_of_one_size_stay_together_at_every_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voc_seg.engine.prediction.images_per_forward", lambda runtime: 8)
    batches: list[tuple[int, ...]] = []

    class Noted(Pointwise):
        def forward(self, images: Tensor) -> Tensor:
            batches.append(tuple(images.shape))
            return super().forward(images)

    samples = [Sample(str(n), noise(40, 60), np.zeros((40, 60), np.uint8)) for n in range(3)]
    assert len(list(predict_all(Noted(), samples, EvaluationConfig(scales=(0.5, 1.0)), CPU))) == 3
    assert batches == [(3, 3, 20, 30), (3, 3, 40, 60)]
