"""Public data sets: their official folders, and the environments in ``conf/`` for them."""

import runpy
import shutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from PIL import Image

from voc_seg.config import Parameters
from voc_seg.importing.command import ImportOptions, import_data
from voc_seg.importing.datasets import DATASETS
from voc_seg.importing.files import list_files
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import Found, find_layout
from voc_seg.importing.layouts import camvid
from voc_seg.settings import CONFIG_LOADER_ARGS
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID
from voc_seg.voc.masks import decode_mask

ROOT = Path(__file__).parents[2]
# The builders are beside this file, but pytest's importlib mode does not put the folder on the path.
folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("named_folders.py"))))
CLASSES = {name: import_module(f"voc_seg.importing.layouts.{name}").CLASSES for name in DATASETS}


def parameters(environment: str) -> Parameters:
    return Parameters.of(OmegaConfigLoader(str(ROOT / "conf"), env=environment, **CONFIG_LOADER_ARGS)["parameters"])


def find(folder: Path) -> tuple[str, Found]:
    return find_layout(list_files(folder))


def splits(found: Found) -> dict[str, str]:
    return {one.image.stem: one.split for one in found.images}


def class_order(found: Found) -> tuple[str, ...]:
    return found.names or tuple(dict.fromkeys(name for name in found.values.values() if name != "void"))


@pytest.mark.parametrize("form", folders.BUILDERS)
@pytest.mark.parametrize("above", ["", "download/unpacked archive"])
def test_official_folders_are_read_pixel_by_pixel_with_the_environment(form: str, above: str, tmp_path: Path) -> None:
    name, builder = folders.BUILDERS[form]
    expected = builder(tmp_path / above)
    folders.write_lines(tmp_path / "README.md", ["# Notes"])
    folders.write_image(tmp_path / "preview.png")
    layout, found = find(tmp_path)
    assert layout == name
    assert class_order(found) == tuple(CLASSES[name])

    masks = tmp_path.parent / f"{tmp_path.name}_masks"
    masks.mkdir()
    classes = parameters(name).data.class_table
    facts = inspect_pairs(found, masks)
    assert len(facts) == len(expected)
    for one in facts:
        assert not one.problem
        assert set(one.values) <= set(found.values)
        assert one.source.mask is not None
        indices = decode_mask(one.source.mask, classes).indices
        names = np.where(indices == VOID, "void", np.array([*classes.names, *[""] * 256], object)[indices])
        assert (names == expected[one.source.image.stem.removesuffix("_leftImg8bit")]).all()


def test_the_frames_of_camvid_have_segnets_splits() -> None:
    frames = [f"0001TP_{number:06d}" for number in range(6690, 10381, 30)]
    frames += [f"0006R0_f{number:05d}" for number in range(930, 3931, 30)]
    frames += [f"Seq05VD_f{number:05d}" for number in range(0, 5101, 30)]
    early = [*range(390, 871, 30), 901, *range(930, 2401, 30), *range(4350, 7921, 30), *range(8190, 8641, 30)]
    frames += [f"0016E5_{number:05d}" for number in [*early, *range(7959, 8160, 2)]]
    assert len(frames) == 701
    found = [camvid.split_of(frame) for frame in frames]
    assert [found.count(split) for split in ("train", "val", "test")] == [367, 101, 233]
    assert [camvid.split_of(frame) for frame in ("0016E5_07920", "0016E5_08159", "0001TP_008520", "0001TP_008550")] == [
        "train", "val", "train", "test",
    ]  # fmt: skip


def test_splits_are_the_official_ones(tmp_path: Path) -> None:
    wanted = {
        "cityscapes": {"aachen_000000_000019_leftImg8bit": "train", "munster_000001_000019_leftImg8bit": "val"},
        "camvid": folders.CAMVID_FRAMES,
        "camvid segnet": folders.CAMVID_FRAMES,
        "camvid kaggle": dict(zip(folders.CAMVID_FRAMES, ("test", "train", "val"))),
        "pascal_context": {"2008_000002": "train", "2010_006086": "val"},
        "pascal_context png": {"2008_000002": "train", "2010_006086": "val"},
        "ade20k": {"ADE_train_00000001": "train", "ADE_val_00000001": "val"},
    }
    for form, expected in wanted.items():
        folders.BUILDERS[form][1](tmp_path / form)
        assert splits(find(tmp_path / form)[1]) == expected


@pytest.mark.parametrize("form", ["cityscapes", "camvid", "oxford_pet", "pascal_context", "ade20k"])
def test_the_import_keeps_the_environment_and_the_official_splits(form: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf" / form, tmp_path / "conf" / form)
    folders.BUILDERS[form][1](tmp_path / "download")
    imported = import_data(tmp_path, ImportOptions(tmp_path / "download", form))
    table = pd.read_csv(tmp_path / f"data/01_raw/{form}/images.csv", dtype=str)
    assert dict(zip(table["image_id"], table["split"])) == splits(imported.found)
    assert [path.name for path in imported.written] == ["images.csv"]
    assert [path.read_text() for path in imported.kept] == [(ROOT / "conf" / form / path.name).read_text()
                                                            for path in imported.kept]  # fmt: skip


def test_the_environment_of_a_public_data_set_is_refused_for_other_data(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf" / "cityscapes", tmp_path / "conf" / "cityscapes")
    for name in ("a", "b", "c"):
        folders.write_image(tmp_path / f"own/{name}_leftImg8bit.png")
        folders.write_mask(tmp_path / f"own/{name}_gtFine_labelIds.png", [0, 1, 2], ["", "", ""])
    folders.build_ade20k(tmp_path / "ade20k")
    for folder, layout in {"own": "cityscapes", "ade20k": "ade20k"}.items():
        with pytest.raises(VocSegError, match=rf"holds other data \(layout {layout}\). Choose another --name"):
            import_data(tmp_path, ImportOptions(tmp_path / folder, "cityscapes"))


def test_images_without_masks_are_kept_apart(tmp_path: Path) -> None:
    for form, name in {
        "cityscapes": "berlin_000000_000019_leftImg8bit.png",
        "ade20k": "ADE_test_00000001.jpg",
        "pascal_context": "2009_000001.jpg",
    }.items():
        folders.BUILDERS[form][1](tmp_path / form)
        assert [path.name for path in find(tmp_path / form)[1].unlabelled] == [name]
    notes = find(tmp_path / "cityscapes")[1].notes
    assert any("The 1 test masks of Cityscapes are dummies" in note for note in notes)


def test_cityscapes_coarse_masks_are_used_only_without_fine_ones(tmp_path: Path) -> None:
    folders.build_cityscapes(tmp_path)
    for frame in ("train/aachen/aachen_000000_000019", "train_extra/bonn/bonn_000000_000001"):
        folders.write_image(tmp_path / f"leftImg8bit/{frame}_leftImg8bit.png")
        folders.write_mask(tmp_path / f"gtCoarse/{frame}_gtCoarse_labelIds.png", [7], ["road"])
    found = find(tmp_path)[1]
    assert all("gtFine" in str(one.mask) for one in found.images)
    assert any("1 images have only coarse ones" in note for note in found.notes)
    for path in tmp_path.glob("gtFine/*/*/*_labelIds.png"):
        path.unlink()
    found = find(tmp_path)[1]
    assert [(one.mask.name, one.split) for one in found.images if one.mask] == [
        ("aachen_000000_000019_gtCoarse_labelIds.png", "train"),
        ("bonn_000000_000001_gtCoarse_labelIds.png", "train"),
    ]


@pytest.mark.parametrize("below", ["", "leftImg8bit/train/mytown"])
def test_own_data_in_cityscapes_naming_has_numbers_or_the_names_of_a_label_map(below: str, tmp_path: Path) -> None:
    masks = tmp_path / below.replace("leftImg8bit", "gtFine")
    folders.write_image(tmp_path / below / "a_leftImg8bit.jpg")
    folders.write_mask(masks / "a_gtFine_labelIds.png", [0, 1, 2], ["", "", ""])
    layout, found = find(tmp_path)
    assert (layout, found.values, found.images[0].split) == ("cityscapes", {}, "train" if below else "")
    assert "classes have numbers" in found.notes[-1]
    folders.write_lines(
        tmp_path / "label_colors.txt", ["# colour, name", "255 0 0 big car 2", "0 0 0 ground", "0 255 0 tree"]
    )
    assert find(tmp_path)[1].values == {0: "ground", 1: "big car 2", 2: "tree"}
    folders.write_lines(tmp_path / "label_colors.txt", ["255 0 0 car", "red 0 0 tree"])
    with pytest.raises(VocSegError, match=r"label_colors\.txt has the line 'red 0 0 tree', not red, green, blue"):
        find(tmp_path)
    (tmp_path / "label_colors.txt").unlink()
    folders.write_lines(masks / "a_gtFine_polygons.json", ['{"objects": [{"label": "road"}, {"label": "polegroup"}]}'])
    assert find(tmp_path)[1].values[7] == "road"
    folders.write_lines(masks / "a_gtFine_polygons.json", ['{"objects": [{"label": "tree"}]}'])
    assert find(tmp_path)[1].values == {}


def test_own_data_in_cvats_camvid_layout_has_the_names_of_its_label_map(tmp_path: Path) -> None:
    folders.write_image(tmp_path / "default/a.jpg")
    folders.write_image(tmp_path / "default/b.jpg")
    folders.write_mask(tmp_path / "defaultannot/a.png", [(0, 0, 0), (250, 50, 0)], ["", ""])
    folders.write_lines(tmp_path / "label_colors.txt", ["0 0 0 Void", "250 50 0 tree"])
    layout, found = find(tmp_path)
    assert (layout, found.colours) == ("camvid", {(0, 0, 0): "void", (250, 50, 0): "tree"})
    assert found.images[0].mask is not None
    assert [path.name for path in found.unlabelled] == ["b.jpg"]


def test_camvid_refuses_colours_that_are_no_label(tmp_path: Path) -> None:
    folders.build_camvid(tmp_path)
    folders.write_mask(tmp_path / "LabeledApproved_full/0016E5_07959_L.png", [(1, 2, 3), (128, 128, 128)], ["", ""])
    problems = {one.image_id: one.problem for one in inspect_pairs(find(tmp_path)[1])}
    assert problems.pop("0016E5_07959").startswith("unknown colours: 0016E5_07959_L.png has (1, 2, 3) and 1000 pixels")
    assert set(problems.values()) == {""}


def test_pascal_context_refuses_other_label_maps(tmp_path: Path) -> None:
    folders.build_pascal_context(tmp_path)
    (tmp_path / "trainval/2008_000002.mat").write_bytes(b"no MATLAB")
    problems = [one.problem for one in inspect_pairs(find(tmp_path)[1])]
    assert problems[0].startswith("damaged .mat: 2008_000002.mat has no LabelMap")
    assert problems[1] == ""
    folders.write_lines(tmp_path / "labels.txt", ["1: aeroplane"])
    with pytest.raises(VocSegError, match=r"labels\.txt numbers aeroplane 1, but Pascal Context's is 2"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("form", "images", "remedy"),
    [
        ("cityscapes", "leftImg8bit", "Put the folder leftImg8bit beside"),
        ("camvid", "701_StillsRaw_full", "Unpack 701_StillsRaw_full"),
        ("oxford_pet", "images", r"Unpack images\.tar\.gz"),
        ("pascal_context", "VOCdevkit", r"Unpack VOCtrainval_03-May-2010\.tar"),
        ("ade20k", "ADEChallengeData2016/images", "Put the folder images beside"),
    ],
)
def test_masks_without_images_say_what_is_missing(form: str, images: str, remedy: str, tmp_path: Path) -> None:
    folders.BUILDERS[form][1](tmp_path)
    for path in [*(tmp_path / images).rglob("*.*g"), *(tmp_path / "release_test").rglob("*.jpg")]:
        path.unlink()
    with pytest.raises(VocSegError, match=remedy):
        find(tmp_path)


def test_folders_of_other_data_are_not_claimed(tmp_path: Path) -> None:
    folders.write_image(tmp_path / "images/training/a.jpg")
    Image.new("L", (9, 9)).save(tmp_path / "images/a_L.png")
    folders.write_mask(tmp_path / "annotations/training/a.png", [0, 1], ["", ""])
    folders.write_mask(tmp_path / "trimaps/a.png", [0, 128, 255], ["", "", ""])
    folders.write_lines(tmp_path / "dataset/cls/2008_000002.mat", ["SBD"])
    files = list_files(tmp_path)
    for name in DATASETS:
        assert import_module(f"voc_seg.importing.layouts.{name}").find(files) is None
