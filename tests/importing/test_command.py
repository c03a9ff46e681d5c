"""What ``kedro import-data`` writes, keeps and refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from rich.console import Console

from voc_seg.config import DataConfig
from voc_seg.importing.command import ImportOptions, import_data
from voc_seg.importing.files import list_files
from voc_seg.importing.image_ids import image_ids
from voc_seg.importing.index_traits import index_traits
from voc_seg.importing.layout import find_layout, layout_named, layout_names
from voc_seg.importing.output import summary
from voc_seg.importing.overrides import parse_overrides
from voc_seg.system.errors import VocSegError
from voc_seg.voc.index import index_images
from voc_seg.voc.splits import read_split

# pytest's importlib mode does not put this folder on the path.
_spec = spec_from_file_location("build", Path(__file__).with_name("build.py"))
build = module_from_spec(_spec)
sys.modules["build"] = build  # its dataclasses look for it
_spec.loader.exec_module(build)

SIZE = (40, 60)


def write_pairs(folder: Path, count: int = 12, start: int = 0) -> None:
    """Images and masks in two folders: 0 and 255."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        rng = np.random.default_rng(number)
        image, mask = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8), np.zeros(SIZE, np.uint8)
        left, top = rng.integers(2, 20, 2)
        mask[top : top + 15, left : left + 25] = 255
        Image.fromarray(image).save(folder / "images" / f"{number:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:03d}.png")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project/conf").mkdir(parents=True)
    return tmp_path / "project"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "farm")
    return tmp_path / "farm"


def splits_of(project: Path, name: str = "trees") -> dict[str, str]:
    table = pd.read_csv(project / f"data/01_raw/{name}/images.csv", dtype=str)
    return dict(zip(table["image_id"], table["split"]))


def test_names_and_splits_are_written(project: Path, folder: Path) -> None:
    options = ImportOptions(folder, "trees", overrides=parse_overrides("255=tree"), test=0.25, val=0.25)
    imported = import_data(project, options)
    assert [path.relative_to(project).as_posix() for path in imported.written] == [
        "data/01_raw/trees/images.csv", "conf/trees/globals.yml", "conf/trees/parameters.yml",
    ]  # fmt: skip
    assert sorted(splits_of(project).values()) == ["test"] * 3 + ["train"] * 6 + ["val"] * 3
    assert "255: tree" in (project / "conf/trees/parameters.yml").read_text()
    table = pd.read_csv(project / "data/01_raw/trees/images.csv", dtype=str)
    assert table["image"][0] == str(folder.resolve() / "images/000.png")


def test_paths_inside_the_project_are_relative(project: Path) -> None:
    write_pairs(project / "my data")
    import_data(project, ImportOptions(project / "my data", "trees"))
    table = pd.read_csv(project / "data/01_raw/trees/images.csv", dtype=str)
    assert table["mask"][0] == "../../../my data/masks/000.png"


def test_a_second_import_keeps_settings_and_splits(project: Path, folder: Path) -> None:
    import_data(project, ImportOptions(folder, "trees"))
    path = project / "conf/trees/parameters.yml"
    path.write_text(path.read_text().replace("object", "oak"))
    before = splits_of(project)
    write_pairs(folder, 4, start=50)
    again = import_data(project, ImportOptions(folder, "trees", seed=9))
    assert again.plan.names == ("background", "oak")
    assert {name: split for name, split in splits_of(project).items() if name in before} == before
    assert len(splits_of(project)) == 16
    assert path in again.kept and path not in again.written
    assert "oak" in path.read_text()
    with pytest.raises(VocSegError, match=r"conf/trees exists.*edit data\.classes"):
        import_data(project, ImportOptions(folder, "trees", overrides=parse_overrides("255=tree")))


def test_an_edited_split_is_kept(project: Path, folder: Path) -> None:
    import_data(project, ImportOptions(folder, "trees"))
    path = project / "data/01_raw/trees/images.csv"
    name = next(one for one, split in splits_of(project).items() if split == "train")
    path.write_text(path.read_text().replace(f"{name},train", f"{name},val"))
    import_data(project, ImportOptions(folder, "trees"))
    assert splits_of(project)[name] == "val"


def test_values_that_appear_later_are_reported(project: Path, folder: Path) -> None:
    import_data(project, ImportOptions(folder, "trees"))
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9] = 7
    Image.fromarray(mask).save(folder / "masks/003.png")
    again = import_data(project, ImportOptions(folder, "trees"))
    assert "003" in {name for one in again.findings if one.severity == "error" for name in one.examples}
    assert splits_of(project)["003"]  # so that data_processing lists it as rejected


def test_an_unusable_image_stays_in_the_table(project: Path, folder: Path) -> None:
    (folder / "masks/004.png").write_bytes(b"")
    imported = import_data(project, ImportOptions(folder, "trees"))
    assert splits_of(project)["004"] == "train"
    assert any(one.severity == "error" and "004" in one.examples for one in imported.findings)


@pytest.mark.parametrize(
    "name, message", [("base", "cannot be the name"), ("a/b", "cannot be the name"), ("voc2012", "of other data")]
)
def test_names_that_are_taken(project: Path, folder: Path, name: str, message: str) -> None:
    (project / "conf/voc2012").mkdir()
    (project / "conf/voc2012/globals.yml").write_text("source: voc2012\n")
    (project / "conf/voc2012/parameters.yml").write_text("model: {weights: imagenet}\n")
    with pytest.raises(VocSegError, match=message):
        import_data(project, ImportOptions(folder, name))
    assert not (project / "data").exists()


def test_nothing_is_written_when_a_step_fails(project: Path, folder: Path) -> None:
    with pytest.raises(VocSegError, match="No class is called 'cow'"):
        import_data(project, ImportOptions(folder, "trees", overrides=parse_overrides(merge="animal=cow")))
    assert not (project / "data").exists() and not (project / "conf/trees").exists()


def test_checking_writes_no_environment(project: Path, folder: Path) -> None:
    imported = import_data(project, ImportOptions(folder))
    assert imported.written == () and not (project / "data").exists()


def test_ambiguous_folders_list_the_candidates(tmp_path: Path) -> None:
    build.labelme(tmp_path / "x", build.scenes(4))
    build.coco(tmp_path / "x", [replace(scene, name=f"other {scene.name}") for scene in build.scenes(4)])
    with pytest.raises(VocSegError, match=r"(?s)several ways.*--layout coco: .*4 labelled.*--layout labelme: "):
        find_layout(list_files(tmp_path / "x"))
    assert find_layout(list_files(tmp_path / "x"), "coco")[0] == "coco"
    with pytest.raises(VocSegError, match="no layout 'voc2'"):
        find_layout(list_files(tmp_path / "x"), "voc2")
    with pytest.raises(VocSegError, match="is not in the layout cvat"):
        find_layout(list_files(tmp_path / "x"), "cvat")


def test_folders_that_hold_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match="does not exist"):
        list_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VocSegError, match="holds no files"):
        list_files(tmp_path / "empty")
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(VocSegError, match="is a file, not a folder"):
        list_files(tmp_path / "export.zip")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("x")
    with pytest.raises(VocSegError, match=r"(?s)No layout was recognised.*\*\.txt \(1\).*labelme"):
        find_layout(list_files(tmp_path / "other"))


def test_images_without_labels_are_for_inference(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.raises(VocSegError, match=r"no masks or annotations\. To segment them with a model: kedro run"):
        find_layout(list_files(tmp_path / "images"))


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / name).symlink_to(tmp_path / "unmounted" / name)
    with pytest.raises(VocSegError, match="Broken links: JPEGImages, SegmentationClass"):
        find_layout(list_files(tmp_path))


def test_every_layout_has_a_title() -> None:
    assert len(layout_names()) >= 12
    assert all(layout_named(name).TITLE and isinstance(layout_named(name).SPECIFIC, bool) for name in layout_names())


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data")
    (tmp_path / "data/again").symlink_to(tmp_path / "data")
    assert len(list_files(tmp_path / "data").paths) == 24


@pytest.mark.parametrize(
    "paths, ids",
    [
        (["/d/a.jpg", "/d/b c.png"], ["a", "b c"]),
        (["/d/train/a.jpg", "/d/val/A.jpg"], ["train_a", "val_A"]),
        (["/x/u/s/a.jpg", "/x/v/s/a.jpg", "/x/b.jpg"], ["u_s_a", "v_s_a", "b"]),
        (["/d/a.jpg", "/d/a.png"], ["a", "a_2"]),
        (["/home/me/A.jpg", "/home/me/a.jpg"], ["A", "a_2"]),
        (["/d/=1+1.jpg", "/d/a:b?.jpg", "/d/.x.jpg"], ["_1+1", "a_b_", "_x"]),
    ],
)
def test_image_ids(paths: list[str], ids: list[str]) -> None:
    assert [one.removeprefix("x_") for one in image_ids(paths)] == ids


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8(project: Path, folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name / "004.png").rename(folder / name / os.fsdecode(b"gr\xfcn.png"))
    imported = import_data(project, ImportOptions(folder, "trees"))
    assert len(splits_of(project)) == 11
    broken = next(one for one in imported.findings if one.severity == "error")
    assert broken.count == 1 and "not UTF-8" in broken.message and "rename" in broken.message


def test_a_narrow_terminal_shows_the_names(project: Path, folder: Path) -> None:
    console = Console(width=40, file=StringIO())
    console.print(summary(import_data(project, ImportOptions(folder))))
    assert " backgrou " in console.file.getvalue() and " object " in console.file.getvalue()


def test_no_setting_is_written_for_orientations_that_no_image_has(project: Path, folder: Path) -> None:
    import_data(project, ImportOptions(folder, "trees"))
    assert "exif" not in (project / "conf/trees/parameters.yml").read_text()


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "120", "HTTPS_PROXY": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, "-m", "kedro", "import-data", *arguments], cwd=project, text=True,
                          env=environment, capture_output=True, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def real_project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path]) -> Path:
    return make_project(tmp_path_factory.mktemp("real"))


def test_the_command_for_people(real_project: Path, folder: Path) -> None:
    done = run(real_project, str(folder), "--name", "farm", "--classes", "0=field,", "255=tree")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Next: kedro run --env farm" in done.stdout
    assert "data/08_reporting/data_check.html" in done.stdout
    assert (real_project / "data/08_reporting/data_check.html").is_file()


def test_the_command_for_programs(real_project: Path, folder: Path) -> None:
    (folder / "masks/004.png").write_bytes(b"")
    done = run(real_project, str(folder), "--check", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["summary"]["errors"] == 1
    assert found["images"] == 12 and found["classes"][1]["name"] == "object"
    failed = run(real_project, str(folder / "none"), "--check", "--json")
    assert failed.returncode == 1 and "does not exist" in json.loads(failed.stdout)["error"]
    nameless = run(real_project, str(folder))
    assert nameless.returncode == 1 and "--name NAME" in nameless.stdout + nameless.stderr


def test_bands_of_a_tiff_are_found(project: Path, folder: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    rng = np.random.default_rng(0)
    for number in range(12):
        (folder / f"images/{number:03d}.png").unlink()
        bands = rng.integers(0, 4000, (*SIZE, 5)).astype(np.uint16)
        tifffile.imwrite(folder / f"images/{number:03d}.tif", bands, photometric="minisblack", planarconfig="contig")
    imported = import_data(project, ImportOptions(folder, "bands", range=(0, 4095)))
    assert not [one.problem for one in imported.facts if one.problem]
    text = (project / "conf/bands/parameters.yml").read_text()
    data = DataConfig.model_validate(yaml.safe_load(text)["data"])
    assert (data.channels, data.range) == (5, (0, 4095))
    again = import_data(project, ImportOptions(folder, "bands"))  # as conf/bands says
    assert not [one.problem for one in again.facts if one.problem]


def test_groups_of_images_reach_the_folds_of_train(project: Path, folder: Path) -> None:
    import_data(project, ImportOptions(folder, "trees", overrides=parse_overrides("255=tree"), group_by=r"0(\d)"))
    table = pd.read_csv(project / "data/01_raw/trees/images.csv", dtype=str)
    assert dict(zip(table["image_id"], table["group"])) == {f"{n:03d}": f"{n // 10}" for n in range(12)}
    split = read_split(project / "data/01_raw/trees/images.csv", "own", "train")
    index = index_images(split, describe=index_traits(len(split), split.groups))
    groups = [json.loads(text)["group"] for text in index["traits"]]
    assert groups == [image_id[1] for image_id in index["image_id"]]
