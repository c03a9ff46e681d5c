"""The environments in ``conf/`` for public data sets, and the official numbers behind them."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader

from voc_seg.config import Parameters
from voc_seg.importing.datasets import DATASETS, how_to_get
from voc_seg.importing.layouts import ade20k, camvid, cityscapes, oxford_pet, pascal_context
from voc_seg.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
CLASSES = {name: import_module(f"voc_seg.importing.layouts.{name}").CLASSES for name in DATASETS}


def parameters(environment: str) -> Parameters:
    return Parameters.of(OmegaConfigLoader(str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS)["parameters"])


@pytest.mark.parametrize("name", DATASETS)
def test_environments_have_the_classes_of_the_layout(name: str) -> None:
    settings = parameters(name)
    assert settings.data.class_table.names == tuple(CLASSES[name])
    if isinstance(CLASSES[name], dict) and name != "cityscapes":
        assert settings.data.class_table.colours == tuple(CLASSES[name].values())
    assert settings.model.weights == "imagenet"
    if settings.data.longer_side:
        assert settings.inference.longer_side == settings.data.longer_side


def test_environments_have_the_values_of_the_layout() -> None:
    layouts = {
        "cityscapes": cityscapes._official_names()[0],
        "camvid": camvid._values(),
        "oxford_pet": oxford_pet.VALUES,
        "ade20k": ade20k.VALUES,
    }
    for name, values in layouts.items():
        assert parameters(name).data.values == values
    assert parameters("pascal_context").data.values is None
    assert parameters("cityscapes").data.class_table.colours == tuple(c for _, c in cityscapes.CLASSES.values())


@pytest.mark.parametrize("name", DATASETS)
def test_environments_and_messages_say_where_to_get_the_data(name: str) -> None:
    path = ROOT / "conf" / name / "globals.yml"
    comment, known = path.read_text(encoding="utf-8"), DATASETS[name]
    assert yaml.safe_load(comment) == {"source": "own", "voc_root": f"data/01_raw/{name}/images.csv"}
    for text in (comment, how_to_get(name)):
        for part in (known.title, known.page, known.parts, known.terms, f"kedro import-data FOLDER --name {name}"):
            assert part in text
    page = (ROOT / "docs/datasets.md").read_text(encoding="utf-8")
    assert known.page in page
    assert f"--name {name}{known.options}" in page


def test_other_environments_have_no_such_message() -> None:
    assert how_to_get("my_trees") == ""


def test_official_numbers() -> None:
    assert [len(CLASSES[name]) for name in DATASETS] == [19, 11, 2, 60, 150]
    assert len(camvid.LABELS) == 32
    assert list(camvid.LABELS) == sorted(camvid.LABELS, key=str.lower)
    assert list(pascal_context.LABELS) == sorted(pascal_context.LABELS)
    assert list(pascal_context.LABELS.values()) == sorted(pascal_context.LABELS.values())
    assert len(cityscapes._CITIES) == 50
    ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]  # cityscapesScripts' labels.py
    assert [number for number, _ in cityscapes.CLASSES.values()] == ids
    # The numbers as MMSegmentation's converter lists them: not sorted.
    first = [2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162]
    others = [420, 454, 295, 296, 427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72, 458, 34, 207]
    rest = [80, 355, 85, 347, 220, 349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115]
    assert set(pascal_context.LABELS.values()) == {*first, *others, *rest}
    assert (pascal_context.CLASSES[55], pascal_context.CLASSES[58]) == ("tvmonitor", "window")  # its issue 1940
    names = list(ade20k.CLASSES)
    assert (names[0], names[58], names[89], names[149]) == ("wall", "screen door", "television", "flag")
    groups = {"Building": 5, "Pole": 2, "Road": 3, "Pavement": 3, "Tree": 2, "SignSymbol": 3, "Car": 5, "Pedestrian": 4}
    merged = [name for _, name in camvid.LABELS.values()]
    assert {name: merged.count(name) for name in groups} == groups
