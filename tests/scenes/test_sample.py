"""The drawn data set: VOC's layout and conventions, balance of the classes, determinism, atomic writing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.scenes import sample as scenes
from voc_seg.scenes.painting import BACKDROPS, DRAWINGS
from voc_seg.scenes.plan import NOMINAL_HEIGHT, THEMES
from voc_seg.voc.classes import CLASS_NAMES, voc_palette

COUNTS = {"train": 3, "val": 2}


@pytest.fixture(scope="module")
def voc_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_scenes(tmp_path_factory.mktemp("drawn"), COUNTS, seed=3)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_class_has_a_drawing_a_size_and_a_theme() -> None:
    objects = set(CLASS_NAMES[1:])
    assert set(DRAWINGS) == objects
    assert set(NOMINAL_HEIGHT) == objects
    assert {name for theme in THEMES.values() for name in theme.classes} == objects
    assert {theme.backdrop for theme in THEMES.values()} == set(BACKDROPS)


@pytest.mark.parametrize(("split", "least"), [("train", 8), ("val", 4), ("test", 4)])
def test_default_schedule_shows_every_class_often_enough(split: str, least: int) -> None:
    plans = scenes.plan_split(split, scenes.DEFAULT_COUNTS[split])
    seen = Counter(name for plan in plans for name in plan.objects)
    assert min(seen[name] for name in CLASS_NAMES[1:]) >= least
    assert all(2 <= len(plan.objects) <= 5 for plan in plans)


def test_layout_is_that_of_voc(voc_root: Path) -> None:
    assert voc_root.parts[-2:] == ("VOCdevkit", "VOC2012")
    listed = []
    for split, count in COUNTS.items():
        text = (voc_root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text(encoding="utf-8")
        assert text.endswith("\n")
        ids = text.split()
        assert len(ids) == count
        assert ids[0] == f"scene_{split}_0001"
        listed += ids
    assert sorted(listed) == sorted(p.stem for p in (voc_root / "JPEGImages").iterdir())
    assert sorted(listed) == sorted(p.stem for p in (voc_root / "SegmentationClass").iterdir())


def test_masks_are_palette_pngs_of_the_size_of_their_images(voc_root: Path) -> None:
    for path in (voc_root / "SegmentationClass").iterdir():
        with Image.open(path) as labels, Image.open(voc_root / "JPEGImages" / f"{path.stem}.jpg") as image:
            assert labels.mode == "P"
            assert image.mode == "RGB"
            assert image.format == "JPEG"
            assert labels.size == image.size
            assert sorted(labels.size)[1] == 500
            np.testing.assert_array_equal(np.reshape(labels.getpalette(), (256, 3)), voc_palette())
            assert set(np.unique(np.asarray(labels)).tolist()) <= {*range(21), 255}


@pytest.mark.parametrize("index", [0, 5, 11])
def test_void_lies_between_any_two_labels(index: int) -> None:
    plan = scenes.plan_split("train", 12, seed=1)[index]
    image, mask = scenes.draw_scene(plan)
    width, height = plan.size
    assert image.shape == (height, width, 3)
    assert image.dtype == mask.dtype == np.uint8
    for a, b in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1]), (mask[1:, 1:], mask[:-1, :-1])):
        touching = (a != b) & (a != 255) & (b != 255)
        assert not touching.any()


def test_masks_name_only_planned_classes() -> None:
    for plan in scenes.plan_split("val", 6)[3:]:
        _, mask = scenes.draw_scene(plan)
        present = {CLASS_NAMES[k] for k in np.unique(mask) if k not in (0, 255)}
        assert present <= set(plan.objects)
        assert present


def test_same_seed_draws_the_same_bytes(voc_root: Path, tmp_path: Path) -> None:
    again = scenes.write_scenes(tmp_path, COUNTS, seed=3)
    assert _contents(again) == _contents(voc_root)


def test_another_seed_and_another_split_draw_other_images() -> None:
    plans = [
        scenes.plan_split("train", 1, 0),
        scenes.plan_split("train", 1, 1),
        scenes.plan_split("val", 1, 0),
    ]
    images = [scenes.draw_scene(plan)[0].tobytes() for (plan,) in plans]
    assert len(set(images)) == 3


def test_a_complete_data_set_is_not_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scenes.write_scenes(tmp_path, {"train": 1})
    monkeypatch.setattr(scenes, "draw_scene", lambda _: pytest.fail("drew again"))
    assert scenes.write_scenes(tmp_path, {"train": 1}) == root


def test_other_counts_or_a_missing_file_are_drawn_again(tmp_path: Path) -> None:
    root = scenes.write_scenes(tmp_path, {"train": 1})
    assert scenes.write_scenes(tmp_path, {"train": 2}) == root
    assert len(list((root / "JPEGImages").iterdir())) == 2
    (root / "JPEGImages" / "scene_train_0002.jpg").unlink()
    scenes.write_scenes(tmp_path, {"train": 2})
    assert (root / "JPEGImages" / "scene_train_0002.jpg").is_file()


def test_interrupted_drawing_leaves_nothing_that_counts_as_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def interrupted(plan: scenes.ScenePlan) -> tuple[np.ndarray, np.ndarray]:
        if drawn:
            raise KeyboardInterrupt
        drawn.append(plan.image_id)
        return np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((4, 5), dtype=np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(scenes, "draw_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scenes.write_scenes(tmp_path, {"train": 2})
    assert list((tmp_path / "VOCdevkit").iterdir()) == []
    root = scenes.write_scenes(tmp_path, {"train": 2})
    with Image.open(root / "JPEGImages" / "scene_train_0001.jpg") as image:
        assert max(image.size) == 500


def test_foreign_data_is_never_replaced(tmp_path: Path) -> None:
    foreign = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages"
    foreign.mkdir(parents=True)
    (foreign / "2007_000032.jpg").write_bytes(b"a photograph")
    with pytest.raises(FileExistsError, match="not a drawn sample"):
        scenes.write_scenes(tmp_path, {"train": 1})
    assert (foreign / "2007_000032.jpg").read_bytes() == b"a photograph"
