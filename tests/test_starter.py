"""``kedro new --starter`` makes a project that depends on voc_seg and trains on own data."""

import json
import os
import shutil
import subprocess
import sys
from filecmp import dircmp
from pathlib import Path

import numpy as np
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from PIL import Image

from voc_seg.config import Parameters
from voc_seg.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
TINY = (
    "model.weights=null,model.width=16,augmentation.crop_size=64,training.epochs=2,training.batch_size=4,"
    "training.optimizer.learning_rate=0.01"
)
_PIPELINE = """
from kedro.pipeline import Node, Pipeline


def count(index, least_side: int) -> dict:
    return {"images": int((index["height"] >= least_side).sum())}


def create_pipeline(**kwargs):
    return Pipeline([Node(count, ["train_index", "params:least_side"], "counts", name="count")])
"""


def python(folder: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
    given = {"OMP_NUM_THREADS": "1", "COLUMNS": "300", "DO_NOT_TRACK": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | given | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout[-4000:]
    return done.stdout


def new(folder: Path, starter: str, name: str, fails: bool = False, **environment: str) -> str:
    settings = folder / "cookiecutter.yml"  # nothing is left in the home folder
    settings.write_text(f"replay_dir: {folder / 'replay'}\ncookiecutters_dir: {folder / 'clones'}\n")
    options = ["--starter", starter, "--directory", "starter", "--name", name]
    return python(folder, "-m", "kedro", "new", *options, fails=fails, COOKIECUTTER_CONFIG=str(settings), **environment)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder")
    assert "has been created" in new(folder, str(ROOT), "My Trees")
    return folder / "my-trees"


def write_voc(folder: Path) -> None:
    """Write six images for train and three for val with a bright square each, in VOC's layout."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    random, ids = np.random.default_rng(0), [f"tree_{number}" for number in range(9)]
    for image_id in ids:
        mask, image = np.zeros((64, 80), np.uint8), random.integers(0, 80, (64, 80, 3), np.uint8)
        top, left = random.integers(0, 30, 2)
        mask[top : top + 30, left : left + 30] = 1
        image[mask == 1] += 150
        Image.fromarray(image).save(folder / "JPEGImages" / f"{image_id}.png")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{image_id}.png")
    for split, names in (("train", ids[:6]), ("val", ids[6:])):
        (folder / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")


def test_own_data_is_trained_on_beside_an_own_pipeline(project: Path) -> None:
    write_voc(project / "data/01_raw/own")
    mine = project / "src/my_trees/pipelines/mine"
    mine.mkdir()
    (mine / "__init__.py").write_text(_PIPELINE)
    (project / "conf/base/parameters_mine.yml").write_text("least_side: 64\n")
    (project / "conf/base/catalog_mine.yml").write_text(
        "counts: {type: voc_seg.datasets.JSONDataset, filepath: data/08_reporting/counts.json}\n"
    )
    command = ["run", "--env", "own", "--params", TINY, "--pipelines", "data_processing,training,evaluation,mine"]
    said = python(project, str(ROOT / "tests/narrow.py"), *command, NARROWED="kedro")
    reporting = project / "data/08_reporting"
    assert json.loads((reporting / "counts.json").read_text()) == {"images": 6}
    assert json.loads((reporting / "metrics.json").read_text())["images"] == 3
    assert "own" in (reporting / "report.html").read_text(encoding="utf-8")
    assert "Report: data/08_reporting/report.html" in (project / "logs/training.log").read_text(encoding="utf-8")
    assert "No catalog*.yml" not in said


def test_settings_are_those_of_the_repository(project: Path) -> None:
    compared = dircmp(ROOT / "conf/base", project / "conf/base")
    assert not compared.left_only and not compared.diff_files
    loader = OmegaConfigLoader(str(project / "conf"), env="own", **CONFIG_LOADER_ARGS)
    settings = Parameters.of({key: value for key, value in loader["parameters"].items() if key != "least_side"})
    assert settings.data.class_table.names == ("background", "object")
    assert loader["globals"]["source"] == "own"


def test_no_placeholder_is_left(project: Path) -> None:
    for path in (path for path in project.rglob("*") if path.suffix in (".py", ".toml", ".md", ".yml")):
        text = path.read_text(encoding="utf-8")
        assert "cookiecutter" not in text and "ADDRESS" not in text, path
    assert f'"voc_seg @ {ROOT.as_uri()}"' in (project / "pyproject.toml").read_text()
    assert (project / ".telemetry").read_text() == "consent: false\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numpy", "which the project would hide"),
        ("3 trees", "begins with a letter"),
        ("Bäume", "no accents or umlauts"),
        ("trees_", "ends with a letter or digit"),
    ],
)
def test_names_of_unusable_packages_are_refused(tmp_path: Path, name: str, message: str) -> None:
    assert message in new(tmp_path, str(ROOT), name, fails=True)
    assert not list(tmp_path.glob("*/src"))


@pytest.mark.parametrize(
    ("starter", "required"),
    [
        ("https://git.invalid/me/voc_seg.git", "git+https://git.invalid/me/voc_seg.git"),
        ("git@git.invalid:me/voc_seg.git", "git+ssh://git@git.invalid/me/voc_seg.git"),
    ],
)
def test_a_project_from_an_address_requires_that_commit(tmp_path: Path, starter: str, required: str) -> None:
    source = tmp_path / "voc_seg"
    for name in ("starter", "conf/base", "notebooks", ".viz"):
        shutil.copytree(ROOT / name, source / name)
    for name in (".gitignore", ".telemetry", "conf/logging.yml"):
        shutil.copy(ROOT / name, source / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(source)]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    address = {"KEY_0": f"url.{source.as_uri()}.insteadOf", "VALUE_0": starter, "COUNT": "1"}
    new(tmp_path, starter, "oaks", **{f"GIT_CONFIG_{key}": value for key, value in address.items()})
    assert f'"voc_seg @ {required}@{head}"' in (tmp_path / "oaks/pyproject.toml").read_text()
    assert yaml.safe_load((tmp_path / "oaks/conf/base/globals.yml").read_text())["source"] == "sample"
    # Kedro would configure the logging again, without what voc_seg's settings add to it.
    assert "oaks" in yaml.safe_load((tmp_path / "oaks/conf/logging.yml").read_text())["loggers"]


@pytest.mark.slow
@pytest.mark.long
def test_commands_work_in_the_project(project: Path) -> None:
    """``kedro import-data``, ``sanity``, ``sweep``, ``python -m`` and a misspelt pipeline."""
    if not (project / "data/01_raw/own").exists():
        write_voc(project / "data/01_raw/own")
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "TORCH_HOME": str(project / "none")}
    said = python(project, "-m", "kedro", "import-data", "data/01_raw/own", "--name", "trees", **offline)
    assert "Next: kedro run --env trees" in said
    run = [str(ROOT / "tests/narrow.py"), "--env", "trees", "--params"]
    modules = {"NARROWED": "my_trees", "PYTHONPATH": f"{project / 'src'}{os.pathsep}{ROOT / 'src'}"}
    python(project, *run, "sanity.epochs=2,sanity.pass_miou=0.01", "--pipelines", "data_processing,sanity", **modules)
    said = python(project, *run, TINY, "--pipelines", "trainig", fails=True, **modules)
    assert "There is no pipeline trainig. Did you mean training?" in said
    sweep = ["sweep", "--env", "trees", "--params", TINY, "--grid", "seed=1"]
    said = python(project, "-m", "kedro", *sweep)
    assert "seed-1: finished in" in said
    assert "my_trees" in (project / "data/runs/seed-1/run.log").read_text(encoding="utf-8")
