"""Which files a path selects, and the names of their masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_seg.samples.inference_images import ImageFiles, LazyMapping, find_images, name_images
from voc_seg.system.errors import VocSegError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    (folder / "2023").mkdir(parents=True)
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.jpg", "2023/c.jpg", "2023/a.png"):
        Image.new("RGB", (4, 3)).save(folder / name, format="PNG")
    return folder


def found(images: object) -> list[str]:
    return [Path(path).name for path in find_images(str(images)).paths.values()]


def test_a_folder_is_its_files(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert found(folder) == ["a.png", "b.jpg", "notes.txt"]
    assert "Its subfolders are not searched" in caplog.text
    assert f"inference.images='{folder}/**/*'" in caplog.text


def test_a_file_is_itself(folder: Path) -> None:
    assert found(folder / "b.jpg") == ["b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["b.jpg"]),
        ("*/*", ["a.png", "c.jpg"]),
        ("**/*.png", ["a.png", "a.png"]),
        ("**/*", ["a.png", "c.jpg", "a.png", "b.jpg", "notes.txt"]),
        ("**", ["a.png", "c.jpg", "a.png", "b.jpg", "notes.txt"]),
        ("[ab].*", ["a.png", "b.jpg"]),
    ],
)
def test_a_pattern_is_the_files_that_match(folder: Path, pattern: str, names: list[str]) -> None:
    assert found(folder / pattern) == names


def test_paths_start_where_one_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert found("b.jpg") == found("*.jpg") == found("./b.*") == ["b.jpg"]


def test_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert found("~/my pictures/*.jpg") == ["b.jpg"]
    with pytest.raises(VocSegError, match=r"there is no file or folder .*~nobody_here"):
        found("~nobody_here/a.jpg")


@pytest.mark.parametrize("name", ['Bob\'s [2024] "best"', "a, b", "été #1", "c*d"])
def test_a_name_that_exists_is_taken_literally(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / name / "a.png")
    assert found(tmp_path / name) == ["a.png"]


def test_links_are_followed_but_not_in_circles(folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "b.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "2023" / "round").symlink_to(folder)
    assert found(folder) == ["a.png", "b.jpg", "gone.jpg", "link.jpg", "notes.txt"]
    assert len(found(folder / "**/*")) == 7


def test_nothing_there_is_said(folder: Path) -> None:
    (folder / "empty" / "below").mkdir(parents=True)
    for images, message in {
        folder / "nowhere.jpg": "there is no file or folder .*nowhere.jpg",
        folder / "*.webp": r"no file matches .*\*.webp",
        folder / "empty" / "below": "below holds no files",
        folder / "empty": r"empty holds no files. Its subfolders .* inference.images='.*empty/\*\*/\*'",
        "~" * 5000: "cannot be read|there is no file",
    }.items():
        with pytest.raises(VocSegError, match=message):
            find_images(str(images))


def test_pictures_are_read_when_they_are_asked_for(folder: Path) -> None:
    pictures = find_images(str(folder))
    assert list(pictures) == ["a", "b", "notes"]
    assert pictures["b"].shape == (3, 4, 3)
    (folder / "b.jpg").unlink()
    with pytest.raises(VocSegError, match="missing image"):
        pictures["b"]
    assert list(pictures.only(["notes", "a"])) == ["notes", "a"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.jpg", "x/b.png"], ["a", "b"]),
        (["x/a.jpg", "x/a.png", "x/b.png"], ["a.jpg", "a.png", "b"]),
        (["x/2023/a.jpg", "x/2024/a.jpg"], ["2023_a.jpg", "2024_a.jpg"]),
        (["x/2023/a.jpg", "x/a.jpg", "x/b.jpg"], ["2023_a.jpg", "a.jpg", "b"]),
        (["x/a.jpg", "x/A.jpg"], ["a.jpg", "A.jpg_2"]),
        (["x/a/b.jpg", "x/a_b.jpg", "y/b.jpg"], ["x_a_b.jpg", "a_b", "y_b.jpg"]),
        (["x/a.jpg.png", "x/a.jpg", "x/a.png"], ["a.jpg.png", "a.jpg", "a.png"]),
        (["x/p/q_r.jpg", "x/p_q/r.jpg", "x/r.jpg", "x/q_r.jpg"], ["p_q_r.jpg", "p_q_r.jpg_2", "r.jpg", "q_r.jpg"]),
        (["x/a:b?.jpg", "x/a\nb.jpg"], ["a_b_", "a_b"]),
        (["x/....jpg", "x/ .png"], ["jpg", "png"]),
        (["x/.jpg"], ["jpg"]),
        ([], []),
    ],
)
def test_names_are_short_and_of_one_picture_each(paths: list[str], names: list[str]) -> None:
    assert name_images([Path(path) for path in paths]) == names


def test_no_name_leads_elsewhere_or_is_too_long(tmp_path: Path) -> None:
    no_text = b"x/\xff\xfe.jpg".decode(errors="surrogateescape")
    odd = [Path("x/..\\..\\evil.jpg"), Path("x/" + "é" * 120 + ".jpg"), Path(no_text)]
    for name in name_images(odd):
        (tmp_path / f"{name}.png").write_bytes(b"")
        assert len(name.encode()) <= 200
    assert len(list(tmp_path.iterdir())) == 3
    assert ImageFiles({"a": odd[2]}).file("a") == r"x/\udcff\udcfe.jpg"


def test_what_is_made_when_asked_is_not_kept() -> None:
    made: list[str] = []

    def make(name: str) -> np.ndarray:
        made.append(name)
        return np.zeros(1)

    lazy = LazyMapping(("a", "b"), make)
    assert (list(lazy), len(lazy), made) == (["a", "b"], 2, [])
    lazy["b"], lazy["b"]
    assert made == ["b", "b"]
