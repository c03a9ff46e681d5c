"""The label_review pipeline through Kedro sessions."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click import ClickException
from PIL import Image

from voc_seg.reporting.label_review import IMAGE_COLUMNS, ISSUE_COLUMNS
from voc_seg.scenes.sample import write_scenes
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def project(prepare_project: Callable[..., Path], run_kedro: Callable) -> Path:
    folder = prepare_project(train=6, val=3, test=1)
    run_kedro(folder, "training", training={"epochs": 8})
    return folder


def page_data(project: Path) -> dict:
    page = (project / "data/08_reporting/label_review.html").read_text()
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(content)


def test_it_writes_tables_and_a_page_and_says_what_is_next(
    project: Path, run_kedro: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run_kedro(project, "label_review", label_review={"split": "all", "shown": 5})
    reporting = project / "data/08_reporting"
    issues, quality = (pd.read_csv(reporting / f"label_{name}.csv") for name in ("issues", "quality"))
    assert list(issues.columns) == list(ISSUE_COLUMNS) and list(quality.columns) == list(IMAGE_COLUMNS)
    assert len(quality) == 10 and quality["label_quality"].is_monotonic_increasing
    assert quality["label_quality"].between(0, 1).all() and quality["suspicious_share"].between(0, 1).all()
    assert quality["regions"].sum() == len(issues)
    assert issues["score"].is_monotonic_decreasing and set(issues["split"]) <= {"train", "val", "test"}
    for row in issues.itertuples():
        mask = np.array(Image.open(project / "voc/VOCdevkit/VOC2012" / row.mask_file))
        assert mask.shape == (row.mask_height, row.mask_width)
        box = mask[row.top : row.top + row.height, row.left : row.left + row.width]
        assert (box == CLASS_NAMES.index(row.given)).sum() >= row.pixels, "pixels of the mask file"
    shown = page_data(project)["images"]
    assert len(shown) == min(5, len(issues)) > 0
    names = {path.name for path in (reporting / "label_review_images").glob("[!.]*")}
    assert names == {f"{row['file']}{end}" for row in shown for end in (".jpg", ".given.png", ".suggested.png")}
    assert "regions in" in caplog.text and "trained on images of train" in caplog.text
    last = caplog.messages[-1]
    assert "label_review.html. Next: kedro run --pipelines data_processing,training" in last


def test_one_split_is_reviewed_and_nothing_is_said_of_training(
    project: Path, run_kedro: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run_kedro(project, "label_review", label_review={"split": "val"})
    found = page_data(project)
    assert (found["where"], found["total_images"], found["seen_in_training"]) == ("val", 3, False)
    assert "trained on images of train" not in caplog.text


def test_a_split_without_masks_is_refused(tmp_path: Path, make_project: Callable, run_kedro: Callable) -> None:
    folder = make_project(tmp_path / "project")
    voc = write_scenes(folder / "voc", {"train": 4, "val": 2, "test": 1})
    (voc / "ImageSets/Segmentation/test.txt").unlink()
    for name in ("data_processing", "training"):
        run_kedro(folder, name, training={"epochs": 1})
    with pytest.raises(ClickException, match=r"the split test has no usable mask.*label_review\.split"):
        run_kedro(folder, "label_review", label_review={"split": "test"})
