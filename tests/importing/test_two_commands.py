"""From a folder in each layout to a trained model, with two commands and nothing written by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from voc_seg.config import DataConfig
from voc_seg.importing.command import Imported, ImportOptions, import_data
from voc_seg.voc.masks import decode_mask
from voc_seg.voc.table import read_table, table_paths

# pytest's importlib mode does not put this folder on the path.
_spec = spec_from_file_location("build", Path(__file__).with_name("build.py"))
build = module_from_spec(_spec)
sys.modules["build"] = build  # its dataclasses look for it
_spec.loader.exec_module(build)

SCENES = build.scenes()
QUICKEST = "cityscapes"
"""The layout with which the gate trains a model; tests marked `long` take the others."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path]) -> Path:
    return make_project(tmp_path_factory.mktemp("project with blanks"))


@pytest.mark.parametrize("name", build.LAYOUTS)
def test_every_layout_is_imported_to_the_pixel(project: Path, tmp_path: Path, name: str) -> None:
    written = build.LAYOUTS[name]
    folder = tmp_path / "archive" / name
    folder.mkdir(parents=True)
    written.write(folder, SCENES)
    imported = import_data(project, ImportOptions(tmp_path, f"own_{name}", test=0))
    assert imported.layout == written.layout
    assert imported.plan.names == written.names
    check_splits(imported, written.splits)
    check_pixels(project, f"own_{name}", imported)
    assert {row.name: row.pixels for row in imported.rows if row.pixels} == {
        label: int(sum((scene.mask == index).sum() for scene in SCENES)) for index, label in enumerate(written.names)
    }
    assert not [one for one in imported.findings if one.severity == "error"]


def check_splits(imported: Imported, stated: bool) -> None:
    splits = {one.source.image.stem: imported.splits[one.image_id] for one in imported.facts}
    assert sorted(splits.values()).count("val") == (6 if stated else round(0.2 * len(SCENES)))
    if stated and imported.layout not in ("roboflow", "cityscapes"):  # which rename the images
        assert splits == {scene.name: scene.split for scene in SCENES}


def check_pixels(project: Path, name: str, imported: Imported) -> None:
    """What data_processing will read equals the masks of the scenes."""
    settings = yaml.safe_load((project / "conf" / name / "parameters.yml").read_text())
    classes = DataConfig.model_validate(settings["data"]).class_table
    path = project / "data/01_raw" / name / "images.csv"
    table = read_table(path)
    numbers = {int("".join(filter(str.isdigit, Path(image).name))[:2]): mask
               for image, mask in zip(table["image"], table_paths(path, table["mask"]))}  # fmt: skip
    assert sorted(numbers) == list(range(len(SCENES)))
    for number, scene in enumerate(SCENES):
        np.testing.assert_array_equal(decode_mask(Path(numbers[number]), classes).indices, scene.mask)


def kedro(project: Path, *arguments: str, program: tuple[str, ...] = ("-m", "kedro")) -> str:
    # Without ImageNet weights, which do not fit the narrow network: a closed port instead of a network.
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "TORCH_HOME": str(project / "none")}
    environment = os.environ | {"COLUMNS": "160", "OMP_NUM_THREADS": "1"} | offline
    done = subprocess.run([sys.executable, *program, *arguments], cwd=project, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == QUICKEST else pytest.param(name, marks=pytest.mark.long) for name in build.LAYOUTS]
)
def test_two_commands_train_a_model(project: Path, tmp_path: Path, name: str) -> None:
    written = build.LAYOUTS[name]
    written.write(tmp_path, SCENES[:6])  # four to train on: 400 steps
    said = kedro(project, "import-data", str(tmp_path), "--name", f"run_{name}")
    assert f"kedro run --env run_{name}" in said
    # kedro run with a narrow network in place of ResNet-18
    kedro(project, "--env", f"run_{name}", program=(str(Path(__file__).parents[1] / "narrow.py"),))
    metrics = json.loads((project / "data/08_reporting/metrics.json").read_text())
    scores = pd.read_csv(project / "data/08_reporting/class_scores.csv")
    assert tuple(scores["class_name"]) == written.names
    assert metrics["miou"] > metrics["all_background_miou"] + 0.1
