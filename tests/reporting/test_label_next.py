"""The page of the images to label next: its numbers, its files, and what they show."""

import io
import json
import re

import numpy as np
import pandas as pd
from PIL import Image

from voc_seg.reporting.label_next import IMAGE_FOLDER, draw_suggestion, fill_page, uncertainty_map
from voc_seg.reporting.report_images import LONGER_SIDE
from voc_seg.voc.classes import name_classes

THREE = name_classes(["background", "</script><b>cat", "dog"], [(0, 0, 0), (10, 20, 30), (40, 50, 60)])
TABLE = pd.DataFrame(
    {
        "rank": [1, 2],
        "image": ["b", "a <i>"],
        "file": ["photos/b.jpg", "photos/a <i>.jpg"],
        "uncertainty": [0.25, 0.125],
        "distance": [np.nan, 0.5],
    }
)


def mask() -> np.ndarray:
    """A quarter cat, an eighth unsure."""
    mask = np.zeros((8, 16), np.uint8)
    mask[:4, :8], mask[4:6, 8:] = 1, 255
    return mask


def test_the_page_holds_the_table() -> None:
    page = fill_page(TABLE, {"b": mask(), "a <i>": mask() // 255}, 40, THREE)
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(text)
    assert (data["folder"], data["total"]) == (IMAGE_FOLDER, 40)
    first, second = data["images"]
    assert first == {
        "id": "b", "path": "photos/b.jpg", "file": "0001", "rank": 1, "uncertainty": 0.25, "distance": None,
        "height": 8, "width": 16, "void": 0.125, "classes": [[0, 0.625], [1, 0.25]],
    }  # fmt: skip
    assert (second["file"], second["distance"], second["void"]) == ("0002", 0.5, 0)
    assert "__DATA__" not in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    levels = [tuple(bytes.fromhex(colour[1:])) for _, colour in data["levels"]]
    assert [name for name, _ in data["levels"]] == ["0.25", "0.5", "0.75", "1"]
    luma = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in levels]
    assert luma == sorted(luma, reverse=True)  # distinguishable in grey


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_files_of_an_image() -> None:
    image = np.full((8, 16, 3), 77, np.uint8)
    uncertainty = np.linspace(0, 255, 128).reshape(8, 16).astype(np.uint8)
    files = draw_suggestion(3, image, mask(), uncertainty, THREE)
    assert list(files) == ["0003.jpg", "0003.prediction.png", "0003.uncertainty.png"]
    assert abs(int(np.asarray(opened(files["0003.jpg"])).mean()) - 77) <= 1
    prediction = np.asarray(opened(files["0003.prediction.png"]).convert("RGBA"))
    assert prediction[0, 0].tolist() == [10, 20, 30, 255]
    assert prediction[5, 10].tolist() == [224, 224, 192, 255]
    assert prediction[0, 15, 3] == 0  # background is transparent
    heat = np.asarray(opened(files["0003.uncertainty.png"]).convert("RGBA"))
    assert heat[0, 0, 3] == 0 and heat[7, 15].tolist()[3] == 255
    assert heat[7, 15, 1] < heat[4, 0, 1]  # darker


def test_large_images_are_reduced_and_a_lost_one_is_white() -> None:
    large = np.zeros((900, 1600), np.uint8)
    large[:, 800:] = 200
    small = uncertainty_map(large)
    assert small.size == (LONGER_SIDE, 225) and small.mode == "L"
    assert (np.asarray(small)[:, :199] == 0).all() and (np.asarray(small)[:, 201:] == 200).all()
    files = draw_suggestion(1, None, large // 200, np.asarray(small), THREE)
    assert {opened(content).size for content in files.values()} == {(LONGER_SIDE, 225)}
    assert np.asarray(opened(files["0001.jpg"])).min() == 255
