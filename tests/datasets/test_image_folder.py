"""Images come from a path; their masks and overlays are saved one by one and installed together."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from voc_seg.datasets import PicturesDataset, SegmentationsDataset
from voc_seg.datasets.image_folder import Segmentation, Uncertainty
from voc_seg.samples.inference_images import LazyMapping
from voc_seg.voc.masks import palette_image


def _made(value: int, shape: tuple[int, int] = (6, 8)) -> Segmentation:
    return Segmentation(palette_image(np.full(shape, value, np.uint8)), Image.new("RGB", (8, 9), "red"))


@pytest.fixture
def dataset(tmp_path: Path) -> SegmentationsDataset:
    return SegmentationsDataset(filepath=str(tmp_path / "07_model_output" / "inference"))


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_a_run_without_a_path_says_what_to_type() -> None:
    dataset = PicturesDataset()
    assert dataset.exists()
    with pytest.raises(DatasetError, match=r"kedro run --pipelines inference --params inference.images=PATH"):
        dataset.load()


def test_pictures_are_only_read(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    dataset = PicturesDataset(images=str(tmp_path))
    assert list(dataset.load()) == ["a"]
    with pytest.raises(DatasetError, match="read-only"):
        dataset.save({})


def test_masks_and_overlays_lie_beside_each_other(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    assert not dataset.exists()
    dataset.save({"a": _made(15), "b.jpg": _made(0)})
    folder = tmp_path / "07_model_output"
    assert _files(folder) == [f"inference/{name}" for name in (
        "masks/a.png", "masks/b.jpg.png", "overlays/a.jpg", "overlays/b.jpg.jpg"
    )]  # fmt: skip
    with Image.open(folder / "inference/masks/a.png") as mask, Image.open(folder / "inference/overlays/a.jpg") as seen:
        assert (mask.mode, mask.size, seen.format, seen.size) == ("P", (8, 6), "JPEG", (8, 9))
    masks = dataset.load()
    assert list(masks) == ["a", "b.jpg"]
    assert (masks["a"] == 15).all()


def test_a_large_mask_is_no_reason_to_warn(
    dataset: SegmentationsDataset, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    dataset.save({"a": _made(1)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6 * 8 - 1)
    assert dataset.load()["a"].shape == (6, 8)
    assert len(recwarn) == 0


def test_an_earlier_run_leaves_nothing(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    dataset.save({"a": _made(1), "b": _made(1)})
    dataset.save({"b": _made(2)})
    assert _files(tmp_path) == [f"07_model_output/inference/{name}" for name in ("masks/b.png", "overlays/b.jpg")]


def test_files_of_others_stay(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    folder = tmp_path / "07_model_output" / "inference"
    dataset.save({"a": _made(1), "b": _made(1)})
    shutil.copytree(folder, folder.with_name("inference.old"))
    shutil.copy(folder / "masks/a.png", folder / "masks/a corrected.png")
    (folder / "notes.txt").write_text("mine")
    dataset.save({"b": _made(2)})
    assert _files(folder) == ["masks/a corrected.png", "masks/b.png", "notes.txt", "overlays/b.jpg"]
    assert _files(folder.with_name("inference.old")) == [
        "masks/a.png",
        "masks/b.png",
        "overlays/a.jpg",
        "overlays/b.jpg",
    ]


def test_a_folder_that_was_moved_away_stays_away(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    dataset.save({"a": _made(1)})
    folder = tmp_path / "07_model_output" / "inference"
    folder.rename(folder.with_name("inference.old"))
    assert not dataset.exists()
    dataset.save({"b": _made(2)})
    assert _files(tmp_path / "07_model_output") == [
        f"inference{name}" for name in (".old/masks/a.png", ".old/overlays/a.jpg", "/masks/b.png", "/overlays/b.jpg")
    ]


def _failing(error: BaseException) -> Callable[[str], Segmentation]:
    def make(name: str) -> Segmentation:
        if name == "b":
            raise error
        return _made(3)

    return make


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_run_that_breaks_off_leaves_the_earlier_one(
    dataset: SegmentationsDataset, tmp_path: Path, error: BaseException
) -> None:
    dataset.save({"old": _made(1)})
    with pytest.raises((DatasetError, KeyboardInterrupt)):
        dataset.save(LazyMapping(("a", "b"), _failing(error)))
    assert _files(tmp_path) == [f"07_model_output/inference/{name}" for name in ("masks/old.png", "overlays/old.jpg")]


def test_pictures_that_are_gone_leave_no_files(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    dataset.save({"a": _made(1), "b": None})
    masks = dataset.load()
    assert (list(masks), "b" in masks) == (["a"], False)
    with pytest.raises(DatasetError, match="None of the images can be read any more"):
        dataset.save({"b": None, "c": None})
    assert _files(tmp_path) == [f"07_model_output/inference/{name}" for name in ("masks/a.png", "overlays/a.jpg")]


def test_only_a_few_are_held_at_a_time(dataset: SegmentationsDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    made, written = [], []
    save = Image.Image.save

    def noted(self: Image.Image, path: Path, **options: object) -> None:
        save(self, path, **options)
        if self.mode == "P":
            written.append(path)

    def make(name: str) -> Segmentation:
        made.append(len(written))
        return _made(1)

    monkeypatch.setattr(Image.Image, "save", noted)
    dataset.save(LazyMapping([str(number) for number in range(60)], make))
    assert max(number - done for number, done in enumerate(made)) <= 6


def _all(value: int) -> Segmentation:
    grey = Image.fromarray(np.full((6, 8), value, np.uint8))
    return _made(1)._replace(confidence=grey, uncertainty=Uncertainty(value / 255, grey, np.full(4, value, np.float32)))


def test_confidence_and_uncertainty_lie_beside_the_masks(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    dataset.save({"a": _all(10), "gone": None, "b": _all(20)})
    kinds = [("confidence", "png"), ("masks", "png"), ("overlays", "jpg"), ("uncertainty", "png")]
    found = [f"07_model_output/inference/{kind}/{name}.{ending}" for kind, ending in kinds for name in "ab"]
    assert _files(tmp_path) == sorted([*found, "07_model_output/inference/uncertainty.parquet"])
    with Image.open(tmp_path / found[0]) as confidence:
        assert (confidence.mode, np.unique(confidence).tolist()) == ("L", [10])
    loaded = dataset.load()
    assert list(loaded) == ["a", "b"]
    table = loaded.uncertainties()
    assert table["image"].tolist() == ["a", "b"]
    assert table["uncertainty"].tolist() == pytest.approx([10 / 255, 20 / 255])
    assert np.stack(table["feature"].tolist()).tolist() == [[10] * 4, [20] * 4]
    assert (loaded.uncertainty("b") == 20).all()


def test_what_the_next_run_does_not_ask_for_is_gone(dataset: SegmentationsDataset, tmp_path: Path) -> None:
    dataset.save({"a": _all(10)})
    dataset.save({"a": _made(1)})
    folder = tmp_path / "07_model_output/inference"
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["masks", "overlays"]
    assert dataset.load().uncertainties().empty


def test_every_image_is_computed_once(dataset: SegmentationsDataset) -> None:
    made: list[str] = []

    def make(name: str) -> Segmentation:
        made.append(name)
        return _all(1)

    dataset.save(LazyMapping(("a", "b", "c"), make))
    assert made == ["a", "b", "c"]
