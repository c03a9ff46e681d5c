"""The report page holds the numbers it was given, and its images show their masks."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from voc_seg.metrics import confusion as scores
from voc_seg.reporting import style
from voc_seg.reporting.overlays import VOID_COLOUR, WRONG_COLOUR
from voc_seg.reporting.report import describe_settings, fill_page, matching_history
from voc_seg.reporting.report_images import LONGER_SIDE, describe_images, draw_image, draw_images
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import VOC_CLASSES, name_classes

THREE = name_classes(["background", "</script><b>cat", "dog"], [(0, 0, 0), (10, 20, 30), (40, 50, 60)])
CONFUSION = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]])
BEST = {
    "model": {"a.weight": torch.zeros(1_200_000), "a.running_mean": torch.zeros(900_000)},
    "model_config": {"encoder": "resnet18", "skips": [2, 3], "weights": None},
    "config": {"seed": 3, "training": {"epochs": 9, "optimizer": {"momentum": 0.9}}, "data": {"images": 1464}},
    "source": "sample",
    "epoch": 2,
    "val_miou": 0.1 + 0.2,
}
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "val_miou": [None, 0.1 + 0.2, 0.25],
        "is_best": [False, True, False],
        "train_loss": [3.0, 2, 1],
    }
)
METRICS = {
    "split": "val",
    "images": 1,
    "checkpoint_epoch": 2,
    "images_per_second": 12.345,
    **scores.summarise(CONFUSION),
}


def page(images: list | None = None, history: pd.DataFrame = HISTORY, settings: dict | None = None) -> str:
    return fill_page(
        "resnet18 on sample",
        images or [],
        METRICS,
        scores.class_scores(CONFUSION, THREE.names),
        pd.DataFrame(CONFUSION, index=THREE.names, columns=THREE.names),
        history,
        settings or describe_settings(BEST, METRICS, "sample", {"scale": 0.5, "flip": False}),
        THREE,
    )


def data_in(html: str) -> dict:
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(content)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


class TestHistory:
    def test_that_of_the_model_is_shown_whole(self, tmp_path):
        HISTORY.to_csv(tmp_path / "history.csv", index=False)  # 0.30000000000000004 is written as text and read back
        history = matching_history(BEST, pd.read_csv(tmp_path / "history.csv"))
        assert history["epoch"].tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        "history",
        [
            pd.DataFrame(),
            pd.DataFrame({"epoch": [1], "loss": [0.5]}),
            HISTORY.assign(is_best=False),
            HISTORY.assign(epoch=[2, 3, 4]),
            HISTORY.assign(val_miou=[None, 0.3001, 0.25]),
            HISTORY.assign(is_best=[False, True, True]),  # a better epoch came after the model's
        ],
    )
    def test_that_of_another_run_is_not(self, history):
        assert matching_history(BEST, history).empty


class TestPage:
    def test_it_holds_scores_with_their_baseline(self):
        found = data_in(page())
        # Background everywhere: 8 of 10 pixels right, IoU 8/10 and 0, recall 1 and 0.
        baseline = {"miou": 0.4, "pixel_accuracy": 0.8, "mean_class_accuracy": 0.5, "frequency_weighted_iou": 0.64}
        assert {key: found["baseline"][key] for key in baseline} == pytest.approx(baseline)
        assert found["metrics"]["miou"] == pytest.approx((6 / 9 + 1 / 4) / 2)
        assert found["metrics"]["classes_declared"] == 3
        assert found["at_baseline"] is False
        assert found["confusion"] == CONFUSION.tolist()
        assert [row["iou"] for row in found["class_scores"]] == [pytest.approx(6 / 9), 0.25, None]  # dog is absent

    def test_a_score_that_is_only_the_baseline_is_called_so(self, monkeypatch):
        monkeypatch.setitem(METRICS, "miou", METRICS["all_background_miou"])
        assert data_in(page())["at_baseline"] is True

    def test_settings_stand_in_groups_with_dots(self):
        groups = {name: dict(values) for name, values in data_in(page())["settings"]}
        assert groups["Training"] == {"epochs": "9", "optimizer.momentum": "0.9"}
        assert groups["Model"] == {
            "encoder": "resnet18", "skips": "2, 3", "weights": "none", "parameters": "1.2 M", "epoch": "2",
            "validation mIoU": "0.3000",
        }  # fmt: skip
        assert groups["Scored"]["images per second"] == "12.3"
        assert groups["Scored"]["flip"] == "no"
        assert groups["Trained on"]["training images"] == "1464"
        assert "Augmentation" not in groups  # this model has no such settings

    def test_an_ensemble_is_described_by_its_members(self):
        ensemble = BEST | {"members": [{"run": "a"}, {"run": "b"}]}
        groups = describe_settings(ensemble, METRICS, "sample", {})
        assert groups["Model"]["members"] == ["a", "b"] and "epoch" not in groups["Model"]
        assert groups["Model"]["mean validation mIoU"] == "0.3000"
        assert "validation images" not in groups["Trained on"]
        assert "the reports of its members" in data_in(page(settings=groups))["history_note"]

    def test_a_model_without_its_settings_is_described_as_far_as_it_goes(self):
        bare = {key: value for key, value in BEST.items() if key != "config"}
        assert describe_settings(bare, METRICS, "own", {})["Trained on"]["training images"] == "not known"

    def test_names_cannot_end_the_script(self):
        html = page([{"id": "</script><script>alert(1)</script>", "classes": []}])
        assert "</script><b>cat" not in html and "alert(1)</script>" not in html
        found = data_in(html)
        assert found["classes"][1] == {"name": "</script><b>cat", "colour": "#0a141e"}
        assert found["images"][0]["id"] == "</script><script>alert(1)</script>"

    def test_marks_in_the_data_stay_as_they_are(self):
        html = page([{"id": "__STYLE__ __SCRIPT__ __DATA__", "classes": []}])
        assert data_in(html)["images"][0]["id"] == "__STYLE__ __SCRIPT__ __DATA__"

    def test_missing_numbers_are_null(self):
        assert [row["val_miou"] for row in data_in(page())["history"]] == [None, pytest.approx(0.3), 0.25]
        assert data_in(page(history=pd.DataFrame()))["history"] is None

    def test_it_is_one_file_in_the_colours_of_the_figures(self):
        html = page()
        assert not re.findall(r'(?:src|href)="(?!#|data:)', html)
        for colour in (style.INK, style.MUTED, style.GRID, style.ABSENT, style.BLUE, style.ORANGE, style.GREY):
            assert colour in html


class TestImages:
    def test_classes_are_those_of_labelled_pixels_with_their_iou(self):
        truth = np.array([[0, 0, 1, 1], [0, 255, 255, 1]], np.uint8)
        prediction = np.array([[0, 1, 1, 1], [0, 2, 2, 0]], np.uint8)
        rows = pd.DataFrame({"image_id": ["000032"], "miou": [0.5], "pixel_accuracy": [4 / 6], "void_fraction": 0.25})
        sample = Sample("000032", np.zeros((2, 4, 3), np.uint8), truth)
        (found,) = describe_images([sample], {"000032": prediction}, rows, THREE)
        assert found == {
            "id": "000032", "width": 4, "height": 2, "miou": 0.5, "accuracy": 0.6667, "void": 0.25,
            "classes": [[0, 0.5], [1, 0.5]],
        }  # fmt: skip

    def test_an_image_without_labels_has_no_score_and_no_class(self):
        void = np.full((2, 2), 255, np.uint8)
        rows = pd.DataFrame({"image_id": ["a"], "miou": np.nan, "pixel_accuracy": np.nan, "void_fraction": 1.0})
        sample = Sample("a", np.zeros((2, 2, 3), np.uint8), void)
        (found,) = describe_images([sample], {"a": void * 0}, rows, THREE)
        assert (found["miou"], found["accuracy"], found["classes"]) == (None, None, [])


class TestPictures:
    @pytest.mark.parametrize(
        ("shape", "size"),
        [((300, 800), (400, 150)), ((800, 300), (150, 400)), ((30, 40), (40, 30)), ((1, 900), (400, 1))],
    )
    def test_they_are_small_and_of_one_size(self, shape, size):
        mask = np.zeros(shape, np.uint8)
        pictures = draw_image(Sample("a", np.zeros((*shape, 3), np.uint8), mask), mask, VOC_CLASSES)
        assert list(pictures) == ["a.jpg", "a.truth.png", "a.prediction.png", "a.errors.png"]
        assert {opened(content).size for content in pictures.values()} == {size}
        assert max(size) <= LONGER_SIDE

    def test_masks_have_the_colours_of_their_classes_and_a_transparent_ground(self):
        truth = np.array([[0, 1, 2, 255]], np.uint8)
        prediction = np.array([[0, 2, 2, 1]], np.uint8)
        pictures = draw_image(Sample("a", np.zeros((1, 4, 3), np.uint8), truth), prediction, THREE)

        def colours(kind: str) -> list[tuple[int, ...]]:
            return [tuple(pixel) for pixel in np.array(opened(pictures[kind]).convert("RGBA"))[0].tolist()]

        def opaque(*colour: int) -> tuple[int, ...]:
            return (*colour, 255)

        assert colours("a.truth.png")[1:] == [opaque(10, 20, 30), opaque(40, 50, 60), opaque(224, 224, 192)]
        assert colours("a.prediction.png")[1:] == [opaque(40, 50, 60), opaque(40, 50, 60), opaque(10, 20, 30)]
        assert colours("a.errors.png")[1] == opaque(*WRONG_COLOUR)
        assert colours("a.errors.png")[3] == opaque(*VOID_COLOUR)  # whatever was predicted there
        seen = {kind: [alpha for *_, alpha in colours(f"a.{kind}.png")] for kind in ("truth", "prediction", "errors")}
        assert seen == {"truth": [0, 255, 255, 255], "prediction": [0, 255, 255, 255], "errors": [0, 255, 0, 255]}

    def test_as_many_classes_as_a_mask_can_have(self):
        many = name_classes([f"class {number}" for number in range(255)])
        mask = np.arange(256, dtype=np.uint8)[None]
        pictures = draw_image(Sample("a", np.zeros((1, 256, 3), np.uint8), mask), mask[:, ::-1].clip(0, 254), many)
        found = np.array(opened(pictures["a.truth.png"]).convert("RGB"))[0]
        assert (found == many.palette()).all()

    def test_they_are_drawn_as_they_are_asked_for(self, train_store):
        asked = []

        class Predictions(dict):
            def __getitem__(self, name: str) -> np.ndarray:
                asked.append(name)
                return np.zeros(shapes[name], np.uint8)

        shapes = {sample.id: sample.mask.shape for sample in train_store}
        pictures = draw_images(train_store, Predictions(), VOC_CLASSES)
        assert not asked
        assert [next(iter(files)) for files in pictures] == [f"{name}.jpg" for name in train_store.ids]
