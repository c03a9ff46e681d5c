"""Masks are exported image by image, replace those of an earlier run, and never what a person has corrected."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from voc_seg.datasets import AnnotationsDataset
from voc_seg.datasets.annotations import Annotations

CLASSES = ("background", "cat", "dog")


@pytest.fixture
def dataset(tmp_path: Path) -> AnnotationsDataset:
    return AnnotationsDataset(filepath=str(tmp_path / "out" / "annotations"))


def annotations(folder: Path, *names: str, formats: tuple[str, ...] = ("labelme", "coco")) -> Annotations:
    """Images in subfolders; each mask has a cat and an unsure pixel."""
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:5], mask[5, 7] = 1, 255
    paths = {name: folder / "photos" / name / f"{name}.jpg" for name in names}
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    return Annotations(formats, paths, dict.fromkeys(names, mask), CLASSES)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_labelme_finds_the_image_from_its_file(dataset: AnnotationsDataset, tmp_path: Path) -> None:
    dataset.save(annotations(tmp_path, "a", "b", formats=("labelme",)))
    folder = tmp_path / "out/annotations"
    assert files(folder) == ["labelme/a.json", "labelme/b.json", "labelme/labels.txt"]
    path = folder / "labelme/a.json"
    document = json.loads(path.read_text())
    assert document["imagePath"] == "../../../photos/a/a.jpg"
    assert (path.parent / document["imagePath"]).samefile(tmp_path / "photos/a/a.jpg")
    assert [shape["label"] for shape in document["shapes"]] == ["cat"]
    assert dataset.load() == [path, path.with_name("b.json")]


def test_the_path_is_right_behind_links(tmp_path: Path) -> None:
    (tmp_path / "disk/deep/er").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "disk/deep/er", target_is_directory=True)
    AnnotationsDataset(filepath=str(tmp_path / "linked/out")).save(annotations(tmp_path, "a", formats=("labelme",)))
    path = tmp_path / "linked/out/labelme/a.json"
    # The system resolves the link before "..".
    assert (path.parent / json.loads(path.read_text())["imagePath"]).samefile(tmp_path / "photos/a/a.jpg")


def test_coco_has_all_images_in_one_file(dataset: AnnotationsDataset, tmp_path: Path) -> None:
    data = annotations(tmp_path, "a", "gone", "ü")
    del data.masks["gone"]
    dataset.save(data)
    coco = json.loads((tmp_path / "out/annotations/coco.json").read_text(encoding="utf-8"))
    assert coco["images"] == [
        {"id": 1, "file_name": "a/a.jpg", "width": 8, "height": 6},
        {"id": 2, "file_name": "ü/ü.jpg", "width": 8, "height": 6},
    ]
    assert [(one["id"], one["image_id"], one["category_id"], one["area"]) for one in coco["annotations"]] == [
        (1, 1, 2, 9), (2, 2, 2, 9),
    ]  # fmt: skip
    assert [one["name"] for one in coco["categories"]] == ["cat", "dog"]
    assert not (tmp_path / "out/annotations/labelme/gone.json").exists()


def test_one_mask_at_a_time(dataset: AnnotationsDataset, tmp_path: Path) -> None:
    data = annotations(tmp_path, *(f"{number}" for number in range(30)))
    read = []

    class Masks(Mapping[str, np.ndarray]):
        def __getitem__(self, name: str) -> np.ndarray:
            read.append(name)
            return data.masks[name]

        def __contains__(self, name: object) -> bool:
            return name in data.masks

        def __iter__(self) -> Iterator[str]:
            return iter(data.masks)

        def __len__(self) -> int:
            return len(data.masks)

    dataset.save(data._replace(masks=Masks()))
    assert read == list(data.images)


def test_another_run_replaces_its_files_and_none_deletes_them(dataset: AnnotationsDataset, tmp_path: Path) -> None:
    folder = tmp_path / "out/annotations"
    dataset.save(annotations(tmp_path, "a", "b"))
    dataset.save(annotations(tmp_path, "b", formats=("labelme",)))
    assert files(folder) == ["labelme/b.json", "labelme/labels.txt"]
    dataset.save(annotations(tmp_path, "b", formats=("coco",)))
    assert files(folder) == ["coco.json"] and not (folder / "labelme").exists()
    dataset.save(annotations(tmp_path, "b", formats=()))
    assert not folder.exists() and not dataset.exists()
    dataset.save(annotations(tmp_path, "b", formats=()))
    assert not folder.exists()
    with pytest.raises(DatasetError, match=r"inference\.formats=labelme"):
        dataset.load()
    assert dataset.preview() is not None


def test_corrections_are_kept(dataset: AnnotationsDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "out/annotations"
    dataset.save(annotations(tmp_path, "a", "b"))
    corrected = folder / "labelme/a.json"
    corrected.write_text("mine")
    later = (folder / ".voc_seg-files").stat().st_mtime + 1
    os.utime(corrected, (later, later))
    (folder / "notes.txt").write_text("mine, too")
    dataset.save(annotations(tmp_path, "a", formats=("labelme",)))
    assert files(folder) == ["labelme/a.json", "labelme/a.kept.json", "labelme/labels.txt", "notes.txt"]
    assert (folder / "labelme/a.kept.json").read_text() == "mine"
    assert "was changed since it was written. It is now a.kept.json" in caplog.text
    dataset.save(annotations(tmp_path, "a", formats=()))
    assert files(folder) == ["labelme/a.kept.json", "notes.txt"]


def test_a_run_that_breaks_off_leaves_the_earlier_one(dataset: AnnotationsDataset, tmp_path: Path) -> None:
    dataset.save(annotations(tmp_path, "a"))
    before = (tmp_path / "out/annotations/coco.json").read_bytes()

    class Damaged(dict[str, np.ndarray]):
        def __getitem__(self, name: str) -> np.ndarray:
            raise OSError("disk")

    data = annotations(tmp_path, "a", "b")
    with pytest.raises((DatasetError, OSError)):
        dataset.save(data._replace(masks=Damaged(data.masks)))
    assert (tmp_path / "out/annotations/coco.json").read_bytes() == before
    assert files(tmp_path / "out") == [
        "annotations/coco.json",
        "annotations/labelme/a.json",
        "annotations/labelme/labels.txt",
    ]
