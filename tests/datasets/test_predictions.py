"""Folders of images: masks as the VOC server accepts them, figures without leftovers of earlier runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.datasets import MasksDataset, PredictionFiguresDataset
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import VOID
from voc_seg.voc.masks import palette_image

# From the VOC development kit: background black, aeroplane dark red, bicycle dark green, tvmonitor, void cream.
KNOWN_COLOURS = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    VOID: (224, 224, 192),
}


@pytest.fixture
def masks(tmp_path: Path) -> MasksDataset:
    return MasksDataset(filepath=str(tmp_path / "07_model_output" / "predictions"))


class TestMasks:
    def test_masks_are_asked_for_by_name(self, masks: MasksDataset) -> None:
        masks.save({name: palette_image(np.zeros((2, 3), np.uint8)) for name in ("a", "é")})
        found = masks.load()
        assert "é" in found and "b" not in found and len(found) == 2
        with pytest.raises(KeyError):
            found["b"]

    def test_round_trip_keeps_names_sizes_and_values(self, masks: MasksDataset, scene_samples: list[Sample]) -> None:
        given = {sample.id: sample.mask for sample in scene_samples}
        masks.save({name: palette_image(mask) for name, mask in given.items()})
        found = masks.load()
        assert list(found) == sorted(given)
        for name, mask in given.items():
            assert found[name].dtype == np.uint8
            np.testing.assert_array_equal(found[name], mask)

    def test_files_are_palette_pngs_in_voc_colours(self, masks: MasksDataset, tmp_path: Path) -> None:
        values = np.array([list(KNOWN_COLOURS)], np.uint8)
        masks.save({"2007_000032": palette_image(values)})
        with Image.open(tmp_path / "07_model_output" / "predictions" / "2007_000032.png") as picture:
            assert (picture.format, picture.mode) == ("PNG", "P")
            np.testing.assert_array_equal(np.array(picture.convert("RGB"))[0], list(KNOWN_COLOURS.values()))

    def test_every_value_survives(self, masks: MasksDataset) -> None:
        every = np.arange(256, dtype=np.uint8).reshape(16, 16)
        masks.save({"every": palette_image(every)})
        np.testing.assert_array_equal(masks.load()["every"], every)

    def test_a_name_with_a_dot_is_kept(self, masks: MasksDataset) -> None:
        masks.save({"img.v1": palette_image(np.zeros((2, 2), np.uint8))})
        assert list(masks.load()) == ["img.v1"]

    def test_a_save_replaces_the_whole_folder(self, masks: MasksDataset, tmp_path: Path) -> None:
        small, other = (palette_image(np.full((2, 3), value, np.uint8)) for value in (0, 1))
        assert not masks.exists()
        masks.save({"a": small, "b": small})
        masks.save({"b": other, "c": small})
        assert masks.exists()
        assert sorted(masks.load()) == ["b", "c"]
        assert masks.load()["b"].max() == 1
        assert [path.name for path in (tmp_path / "07_model_output").iterdir()] == ["predictions"]

    def test_scores_of_other_masks_are_deleted_first(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.json").touch()
        (tmp_path / "versions").mkdir()
        outdates = {name: {"filepath": str(tmp_path / name)} for name in ("metrics.json", "versions", "nothing")}
        dataset = MasksDataset(filepath=str(tmp_path / "masks"), outdates=outdates)
        with pytest.raises(DatasetError):  # as in a run that is killed while it saves
            dataset.save({"a": None})
        assert [path.name for path in tmp_path.iterdir() if path.name != "masks"] == ["versions"]

    def test_a_link_to_an_outdated_file_is_kept(self, tmp_path: Path) -> None:
        """Otherwise the next scores would be written beside the link, not to the user's disk."""
        (tmp_path / "disk.json").touch()
        (tmp_path / "metrics.json").symlink_to(tmp_path / "disk.json")
        outdates = {"metrics": {"filepath": str(tmp_path / "metrics.json")}}
        MasksDataset(filepath=str(tmp_path / "masks"), outdates=outdates).save({})
        assert not (tmp_path / "disk.json").exists()
        assert (tmp_path / "metrics.json").is_symlink()

    def test_the_preview_is_a_contact_sheet(self, masks: MasksDataset, decoded: Callable) -> None:
        masks.save({name: palette_image(np.full((50, 90), value, np.uint8)) for value, name in enumerate("abcde")})
        sheet = decoded(masks.preview(images=5))
        assert sheet.size == (4 * 180 + 3 * 6, 2 * 100 + 6)
        assert [sheet.getpixel((186 * column + 90, 50))[:3] for column in range(3)] == [
            KNOWN_COLOURS[0], KNOWN_COLOURS[1], KNOWN_COLOURS[2],
        ]  # fmt: skip
        assert sheet.getpixel((186 + 90, 156))[3] == 0  # beside the fifth, nothing

    def test_a_failed_save_leaves_the_old_folder(self, masks: MasksDataset) -> None:
        class Failing(dict):
            def __getitem__(self, name: str) -> Image.Image:
                if name == "b":
                    raise OSError("disk full")
                return super().__getitem__(name)

        masks.save({"old": palette_image(np.zeros((2, 2), np.uint8))})
        with pytest.raises(DatasetError, match="disk full"):
            masks.save(Failing({name: palette_image(np.ones((2, 2), np.uint8)) for name in "ab"}))
        assert list(masks.load()) == ["old"]
        masks.save({"new": palette_image(np.ones((2, 2), np.uint8))})  # leftovers of the failed save do not matter
        assert list(masks.load()) == ["new"]

    def test_an_empty_set_empties_the_folder(self, masks: MasksDataset) -> None:
        masks.save({"old": palette_image(np.zeros((2, 2), np.uint8))})
        masks.save({})
        assert masks.load() == {}


class TestFigures:
    def test_figures_are_named_by_image_and_old_ones_removed(self, tmp_path: Path) -> None:
        dataset = PredictionFiguresDataset(filepath=str(tmp_path))
        (tmp_path / "metrics.json").write_text("{}")
        (tmp_path / "prediction_gallery.png").write_bytes(b"")
        dataset.save({"a": Figure(), "b": Figure()})
        dataset.save({"b": Figure(), "c": Figure()})
        assert dataset.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "metrics.json", "prediction_b.png", "prediction_c.png", "prediction_gallery.png",
        ]  # fmt: skip
        with Image.open(tmp_path / "prediction_c.png") as picture:
            assert picture.format == "PNG"

    def test_figures_of_others_stay_whatever_their_name(self, tmp_path: Path) -> None:
        dataset = PredictionFiguresDataset(filepath=str(tmp_path))
        dataset.save({"a": Figure()})
        mine = (tmp_path / "prediction_a.png").read_bytes()
        for name in ("prediction_favourite.png", "prediction_b.png"):  # copies keep the tag of the original
            (tmp_path / name).write_bytes(mine)
        (tmp_path / "prediction_talk.png").write_bytes(b"no image at all")
        Image.new("RGB", (2, 2)).save(tmp_path / "prediction_drawn.png")
        dataset.save({"b": Figure()})
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "prediction_b.kept.png", "prediction_b.png", "prediction_drawn.png", "prediction_favourite.png",
            "prediction_talk.png",
        ]  # fmt: skip
        assert (tmp_path / "prediction_b.kept.png").read_bytes() == mine

    def test_a_figure_of_an_earlier_version_is_replaced(self, tmp_path: Path) -> None:
        Figure().savefig(tmp_path / "prediction_a.png")
        dataset = PredictionFiguresDataset(filepath=str(tmp_path))
        assert dataset.exists()
        dataset.save({"a": Figure()})
        assert [path.name for path in tmp_path.iterdir()] == ["prediction_a.png"]

    def test_figures_of_others_alone_are_no_earlier_run(self, tmp_path: Path) -> None:
        (tmp_path / "prediction_favourite.png").write_bytes(b"mine")
        assert not PredictionFiguresDataset(filepath=str(tmp_path)).exists()

    def test_an_image_called_gallery_leaves_the_gallery_alone(self, tmp_path: Path) -> None:
        (tmp_path / "prediction_gallery.png").write_bytes(b"the gallery")
        PredictionFiguresDataset(filepath=str(tmp_path)).save({name: Figure() for name in ("gallery", "gallery_")})
        assert (tmp_path / "prediction_gallery.png").read_bytes() == b"the gallery"
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            f"prediction_gallery{end}.png" for end in ("", "_", "__")
        ]

    def test_on_disks_that_ignore_case_the_gallery_is_left_alone_as_well(self, tmp_path: Path) -> None:
        PredictionFiguresDataset(filepath=str(tmp_path)).save({name: Figure() for name in ("Gallery", "gallery_")})
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "prediction_Gallery__.png",
            "prediction_gallery_.png",
        ]

    def test_the_preview_has_one_below_the_other_without_the_gallery(self, tmp_path: Path, decoded: Callable) -> None:
        dataset = PredictionFiguresDataset(filepath=str(tmp_path))
        dataset.save({"a": Figure((3, 1)), "b": Figure((3, 2))})
        (tmp_path / "prediction_gallery.png").write_bytes(b"no picture")
        assert decoded(dataset.preview()).size == (900, 300 + 6 + 600)

    def test_figures_load_as_images(self, tmp_path: Path) -> None:
        dataset = PredictionFiguresDataset(filepath=str(tmp_path))
        assert dict(dataset.load()) == {}
        dataset.save({"a": Figure(figsize=(2, 1)), "b": Figure(figsize=(1, 1))})
        assert {name: image.size for name, image in dataset.load().items()} == {"a": (200, 100), "b": (100, 100)}
