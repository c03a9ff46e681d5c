"""A second import of the same name: what was edited, moved, added and removed in between."""

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.importing.classes import class_pixels
from voc_seg.importing.command import Imported, ImportOptions, import_data
from voc_seg.importing.overrides import parse_overrides
from voc_seg.system.errors import VocSegError
from voc_seg.voc.table import read_table, table_paths

# pytest's importlib mode does not put this folder on the path.
_spec = spec_from_file_location("build", Path(__file__).with_name("build.py"))
build = module_from_spec(_spec)
sys.modules["build"] = build  # its dataclasses look for it
_spec.loader.exec_module(build)

SIZE = (40, 60)


def write_pairs(folder: Path, numbers: range = range(12)) -> Path:
    """Images and masks in two folders: 0 and 255."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        rng = np.random.default_rng(number)
        mask = np.zeros(SIZE, np.uint8)
        left, top = rng.integers(2, 20, 2)
        mask[top : top + 15, left : left + 25] = 255
        image = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number:03d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:03d}.png")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project/conf").mkdir(parents=True)
    return tmp_path / "project"


def table_of(project: Path) -> Path:
    return project / "data/01_raw/trees/images.csv"


def splits_of(project: Path) -> dict[str, str]:
    """Split by path."""
    table = read_table(table_of(project))
    return dict(zip(table_paths(table_of(project), table["image"].tolist()), table["split"]))


def test_an_image_without_a_split_stays_without(project: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees"))
    table = table_of(project)
    table.write_text(table.read_text().replace("003,train,", "003,,").replace("003,val,", "003,,"))
    again = import_data(project, ImportOptions(folder, "trees"))
    assert splits_of(project)[str(folder / "images/003.png")] == ""
    assert "003" not in again.splits
    assert any(note.startswith("1 image without a split in images.csv: not used") for note in again.split_notes)


def test_an_image_that_is_broken_for_a_while_keeps_its_split(project: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees"))
    before = splits_of(project)
    path = next(path for path, split in before.items() if split == "val")
    mask = Path(path.replace("images", "masks"))
    content = mask.read_bytes()
    mask.write_bytes(b"")
    import_data(project, ImportOptions(folder, "trees"))
    mask.write_bytes(content)
    import_data(project, ImportOptions(folder, "trees"))
    assert splits_of(project) == before


def test_splits_survive_other_ids(project: Path, tmp_path: Path) -> None:
    """A second folder with the same file names puts its name and that of the first into the ids."""
    write_pairs(tmp_path / "farm/one")
    import_data(project, ImportOptions(tmp_path / "farm", "trees", seed=1))
    before = splits_of(project)
    for number in range(40, 52):
        write_pairs(tmp_path / "more", range(number, number + 1))
    (tmp_path / "more").rename(tmp_path / "farm/two")
    for path in sorted((tmp_path / "farm/two").rglob("*.png")):
        path.rename(path.with_stem(f"{int(path.stem) - 40:03d}"))
    import_data(project, ImportOptions(tmp_path / "farm", "trees", seed=7))
    after = splits_of(project)
    assert len(after) == 24 and {path: after[path] for path in before} == before


def test_splits_survive_a_move_of_the_folder(project: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees", seed=1))
    before = [split for _, split in sorted(splits_of(project).items())]
    folder.rename(tmp_path / "moved")
    again = import_data(project, ImportOptions(tmp_path / "moved", "trees", seed=7))
    assert [split for _, split in sorted(splits_of(project).items())] == before
    assert not any("No longer" in note for note in again.split_notes)


def test_images_that_disappear_are_named(project: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees"))
    for name in ("images/004.png", "masks/004.png"):
        (folder / name).unlink()
    again = import_data(project, ImportOptions(folder, "trees"))
    assert "No longer in the folder: 1 image of the earlier import, 004." in again.split_notes


def test_a_split_that_differs_from_the_folder_is_said(project: Path, tmp_path: Path) -> None:
    build.voc(tmp_path / "voc", build.scenes(9))
    import_data(project, ImportOptions(tmp_path / "voc", "trees"))
    table = table_of(project)
    table.write_text(table.read_text().replace("photo 01,train", "photo 01,val"))
    again = import_data(project, ImportOptions(tmp_path / "voc", "trees"))
    assert any("another split in the folder than in images.csv, such as photo 01" in one for one in again.split_notes)


def test_images_inside_the_table_s_own_folder_are_found_again(project: Path) -> None:
    folder = write_pairs(project / "data/01_raw/trees")
    import_data(project, ImportOptions(folder, "trees"))
    before = splits_of(project)
    write_pairs(folder, range(30, 34))
    again = import_data(project, ImportOptions(folder, "trees"))
    assert again.layout == "folders"
    after = splits_of(project)
    assert len(after) == 16 and {path: after[path] for path in before} == before


def test_drawn_masks_inside_the_folder_are_no_data(project: Path) -> None:
    folder = project / "data/01_raw/trees"
    build.labelme(folder, build.scenes(8))
    import_data(project, ImportOptions(folder, "trees"))
    again = import_data(project, ImportOptions(folder, "trees"))
    assert again.layout == "labelme" and len(again.facts) == 8 and again.found.unlabelled == ()


@pytest.mark.parametrize("content", ["my,own,table\n1,2,3\n", "", "image_id;split;image;mask\na;train;b;c\n"])
def test_a_table_of_somebody_else_is_not_replaced(project: Path, tmp_path: Path, content: str) -> None:
    table_of(project).parent.mkdir(parents=True)
    table_of(project).write_text(content)
    with pytest.raises(VocSegError, match=r"An import would replace this file\. Repair it, or delete or rename it"):
        import_data(project, ImportOptions(write_pairs(tmp_path / "farm"), "trees"))
    assert table_of(project).read_text() == content


def test_data_may_be_a_link_to_another_disk(project: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (project / "data").symlink_to(tmp_path / "disk")
    import_data(project, ImportOptions(write_pairs(project / "my photos"), "trees"))
    table = pd.read_csv(table_of(project), dtype=str)
    assert all(Path(path).is_file() for path in table_paths(table_of(project), table["mask"].tolist()))


@pytest.mark.parametrize("file", ["parameters.yml", "globals.yml", ""])
def test_files_of_the_environment_that_were_deleted_are_written_again(project: Path, tmp_path: Path, file: str) -> None:
    """The command advises to delete a file to have it written again."""
    folder = write_pairs(tmp_path / "farm")
    written = import_data(project, ImportOptions(folder, "trees")).written
    if file:
        (project / "conf/trees" / file).unlink()
    else:
        shutil.rmtree(project / "conf/trees")
        (project / "conf/trees").mkdir()
    import_data(project, ImportOptions(folder, "trees"))
    assert all(path.is_file() for path in written)


def test_settings_that_are_no_settings(project: Path, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees"))
    (project / "conf/trees/parameters.yml").write_text("- a\n")
    with pytest.raises(VocSegError, match=r"parameters\.yml cannot be read: it holds no settings"):
        import_data(project, ImportOptions(folder, "trees"))


def test_the_first_command_may_be_repeated(project: Path, tmp_path: Path) -> None:
    options = ImportOptions(write_pairs(tmp_path / "farm"), "trees", overrides=parse_overrides("object=tree"))
    import_data(project, options)
    write_pairs(tmp_path / "farm", range(40, 43))
    assert import_data(project, options).plan.names == ("background", "tree")
    assert len(splits_of(project)) == 15


def test_options_do_not_name_values_that_the_settings_do_not_know(project: Path, tmp_path: Path) -> None:
    """They would have no effect: the settings are kept."""
    folder = write_pairs(tmp_path / "farm")
    import_data(project, ImportOptions(folder, "trees"))
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9] = 7
    Image.fromarray(mask).save(folder / "masks/003.png")
    again = import_data(project, ImportOptions(folder, "trees"))
    assert any("under data.values in parameters.yml" in one.remedy for one in again.findings)
    with pytest.raises(VocSegError, match=r"edit data\.classes and data\.values there"):
        import_data(project, ImportOptions(folder, "trees", overrides=parse_overrides("7=ash")))


def test_a_check_with_a_name_reads_masks_as_its_settings_say(project: Path, tmp_path: Path) -> None:
    options = ImportOptions(write_pairs(tmp_path / "farm"), "trees", overrides=parse_overrides("255=tree"))
    written = import_data(project, options).written
    before = [path.read_bytes() for path in written]
    write_pairs(tmp_path / "farm", range(40, 43))
    checked = import_data(project, ImportOptions(tmp_path / "farm", "trees", check=True, seed=5))
    assert checked.plan.names == ("background", "tree") and checked.written == ()
    assert [path.read_bytes() for path in written] == before
    assert import_data(project, ImportOptions(tmp_path / "farm", "none", check=True)).written == ()
    assert not (project / "conf/none").exists() and not (project / "data/01_raw/none").exists()


def relabel(folder: Path, old: str, new: str, count: int = 99) -> None:
    for path in sorted(folder.glob("*.json"))[:count]:
        path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))


def pixels_of(imported: Imported) -> dict[str, int]:
    return {row.name: row.pixels for row in imported.rows}


def test_a_label_that_goes_does_not_change_the_others(project: Path, tmp_path: Path) -> None:
    """labelme's labels are numbered by name: without cat, dog would be stored as cat was."""
    build.labelme(tmp_path / "lm", build.scenes(8))
    first = pixels_of(import_data(project, ImportOptions(tmp_path / "lm", "trees")))
    relabel(tmp_path / "lm", "cat", "__ignore__")
    second = pixels_of(import_data(project, ImportOptions(tmp_path / "lm", "trees")))
    assert second["cat"] == 0 and second["dog"] == first["dog"]


def test_a_label_that_comes_does_not_change_the_others(project: Path, tmp_path: Path) -> None:
    build.labelme(tmp_path / "lm", build.scenes(8))
    first = import_data(project, ImportOptions(tmp_path / "lm", "trees"))
    relabel(tmp_path / "lm", "cat", "bird", 2)
    second = import_data(project, ImportOptions(tmp_path / "lm", "trees"))
    broken = [one for one in second.facts if one.problem]
    assert len(broken) == 2 and "the mask holds 3 (bird), which data.values does not name" in broken[0].problem
    settings = project / "conf/trees/parameters.yml"
    text = (
        settings.read_text()
        .replace("    - {name: dog,", "    - bird\n    - {name: dog,")
        .replace("    2: dog", "    3: bird\n    2: dog")
    )
    settings.write_text(text)
    relabel(tmp_path / "lm", "dog", "ant", 3)
    third = import_data(project, ImportOptions(tmp_path / "lm", "trees"))
    assert pixels_of(third)["bird"] > 0
    assert any("holds 4 (ant)" in one.problem for one in third.facts)
    before = {one.image_id: class_pixels(one, first.plan).get("cat", 0) for one in first.facts[2:]}
    usable = [one for one in third.facts[2:] if not one.problem]
    assert usable
    assert all(class_pixels(one, third.plan).get("cat", 0) == before[one.image_id] for one in usable)


def test_mask_files_whose_label_map_has_changed_are_refused(project: Path, tmp_path: Path) -> None:
    build.labelme2voc(tmp_path / "lv", build.scenes(8))
    import_data(project, ImportOptions(tmp_path / "lv", "trees"))
    (tmp_path / "lv/class_names.txt").write_text("_background_\nbird\ncat\ndog")
    with pytest.raises(VocSegError, match=r"1 was cat and is now bird.*Delete .*conf/trees to write it again"):
        import_data(project, ImportOptions(tmp_path / "lv", "trees"))
    shutil.rmtree(project / "conf/trees")
    assert import_data(project, ImportOptions(tmp_path / "lv", "trees")).plan.names[1] == "bird"


def test_masks_in_colours_do_not_fit_settings_by_value(project: Path, tmp_path: Path) -> None:
    build.labelme(tmp_path / "lm", build.scenes(8))
    import_data(project, ImportOptions(tmp_path / "lm", "trees"))
    build.cvat(tmp_path / "cvat", build.scenes(8))
    with pytest.raises(VocSegError, match=r"None of 8 images.*unknown labels: the mask holds #"):
        import_data(project, ImportOptions(tmp_path / "cvat", "trees"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("\xff", "labels.csv cannot be read"),
        ("stored,label\n" + "".join(f"{value},x{value}\n" for value in range(255)), "All 255 values are in use"),
        ("stored,label\n0,background\n300,cat\n", ""),
    ],
)
def test_a_damaged_list_of_labels(project: Path, tmp_path: Path, text: str, message: str) -> None:
    build.labelme(tmp_path / "lm", build.scenes(8))
    import_data(project, ImportOptions(tmp_path / "lm", "trees"))
    (project / "conf/trees/labels.csv").write_bytes(text.encode("latin1"))
    if not message:
        assert import_data(project, ImportOptions(tmp_path / "lm", "trees")).written
        return
    with pytest.raises(VocSegError, match=message):
        import_data(project, ImportOptions(tmp_path / "lm", "trees"))
