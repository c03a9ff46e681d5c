"""Oxford-IIIT Pet: the val that is made from trainval, and files that are not what their ending says."""

import runpy
from pathlib import Path
from types import SimpleNamespace

from voc_seg.importing.files import list_files
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import Found, find_layout
from voc_seg.importing.layouts import oxford_pet

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("named_folders.py"))))


def find(folder: Path) -> Found:
    layout, found = find_layout(list_files(folder))
    assert layout == "oxford_pet"
    return found


def test_pets_get_a_val_of_every_breed(tmp_path: Path) -> None:
    folders.build_oxford_pet(tmp_path)
    found = {one.image.stem: one.split for one in find(tmp_path).images}
    for breed in ("Abyssinian", "great_pyrenees"):
        chosen = [split for name, split in found.items() if name.startswith(breed)]
        assert [chosen.count(split) for split in ("train", "val", "test")] == [8, 2, 2]
    trainval = [name for name, split in found.items() if split != "test"]
    assert oxford_pet.split_trainval(trainval[::-1]) == {name: found[name] for name in trainval}


def test_pets_that_are_no_jpeg_are_read_or_rejected_with_the_reason(tmp_path: Path) -> None:
    folders.build_oxford_pet(tmp_path)
    folders.write_image(tmp_path / "images/Abyssinian_5.jpg", "PNG")
    folders.write_image(tmp_path / "images/Abyssinian_4.jpg", "GIF")
    (tmp_path / "images/Abyssinian_3.mat").write_bytes(b"MATLAB")
    problems = {one.image_id: one.problem for one in inspect_pairs(find(tmp_path))}
    assert problems["Abyssinian_5"] == ""
    assert problems["Abyssinian_4"] == (
        "unreadable image: images/Abyssinian_4.jpg (a GIF, not JPEG, PNG, TIFF, BMP or WEBP)"
    )


def test_missing_pets_are_counted(tmp_path: Path) -> None:
    folders.build_oxford_pet(tmp_path)
    (tmp_path / "images/Abyssinian_1.jpg").unlink()
    folders.write_image(tmp_path / "images/Abyssinian_99.jpg")
    folders.write_mask(tmp_path / "annotations/trimaps/Abyssinian_99.png", [1], ["pet"])
    notes = " ".join(find(tmp_path).notes)
    assert "1 listed image has no image file or no trimap" in notes
    assert "1 image with a trimap is in no list and not used" in notes
