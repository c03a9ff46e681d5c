"""Which file belongs to an image id."""

import pytest

from voc_seg.voc.file_names import IMAGE_ENDINGS, MASK_ENDINGS, FolderFiles, find_files, list_names, stem_of


def find(folder, ids, endings=IMAGE_ENDINGS, kind="image"):
    return find_files(folder, list_names(folder), ids, kind, endings)


@pytest.fixture
def make(tmp_path):
    """Make empty files in ``JPEGImages``."""
    folder = tmp_path / "JPEGImages"
    folder.mkdir()

    def touch(*names):
        for name in names:
            path = folder.parent / name if "/" in name else folder / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return folder

    return touch


@pytest.mark.parametrize(
    "name", ["a.JPG", "a.jpeg", "a.JPEG", "a.png", "a.tif", "a.TIFF", "a.bmp", "a.webp", "a.jfif", "a.Png"]
)
def test_any_ending_in_any_case(make, name):
    assert find(make(name, "a.json", "a.txt", "._a.jpg", "aa.jpg"), ["a"]) == FolderFiles({"a": name})


def test_the_usual_name_is_not_listed(make):
    assert find(make("a.jpg", "weed (0).jpg", "b.c.jpg"), ["a", "weed (0)", "b.c"]) == FolderFiles()


@pytest.mark.parametrize("twins", [("a.jpg", "a.png"), ("a.JPG", "a.jpg"), ("a.bmp", "a.jpeg", "a.jpg")])
def test_twins_are_named(make, twins):
    found = find(make(*twins, "b.png"), ["a", "b"])
    assert found.problems == {"a": f"ambiguous image: JPEGImages has {' and '.join(twins)}; delete all but one"}
    assert found.names == {"b": "b.png"}


def test_an_overlay_beside_a_mask_is_no_twin(make):
    assert find(make("a.png", "a.jpg", "a.npy"), ["a"], MASK_ENDINGS, "mask") == FolderFiles()


@pytest.mark.parametrize(("image_id", "name"), [("IMG_1", "img_1.JPG"), ("caf\u00e9", "cafe\u0301.jpg")])
def test_names_that_differ_in_case_or_accents_alone(make, image_id, name):
    assert find(make(name, "other.jpg"), [image_id]) == FolderFiles({image_id: name})
    twins = make(f"{stem_of(name)}.png")
    assert find(twins, [image_id]).problems[image_id].startswith("ambiguous image")


def test_the_exact_name_is_taken_before_a_similar_one(make):
    assert find(make("a.jpg", "A.jpg"), ["a"]) == FolderFiles()


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        ("a.heic", "found a.heic, a format that is not read: save it as JPG"),
        ("a.jpg.png", "found a.jpg.png: the file name must be a plus an extension"),
        ("a_rgb.jpg", "found a_rgb.jpg: the file name must be a plus an extension"),
        ("JPEGImages/train/a.png", ""),
        ("JPEGImagesPNG/a.png", "found JPEGImagesPNG/a.png: move the files directly into JPEGImages"),
    ],
)
def test_a_missing_file_gets_a_hint(make, there, hint):
    if there.startswith("JPEGImages/"):
        (make() / "train").mkdir()
        hint = "found JPEGImages/train/a.png: move the files directly into JPEGImages"
    assert find(make(there), ["a"]).problems == {"a": f"missing image: JPEGImages/a.jpg ({hint})"}


@pytest.mark.parametrize(
    ("there", "hint"),
    [
        ("a.npy", "found a.npy, a format that is not read: save it as PNG"),
        ("a.gif", "found a.gif, a format that is not read: save it as PNG"),
        ("a_mask.png", "found a_mask.png: the file name must be a plus an extension"),
    ],
)
def test_masks_that_are_none(make, there, hint):
    problems = find(make(there), ["a"], MASK_ENDINGS, "mask").problems
    assert problems == {"a": f"missing mask: JPEGImages/a.png ({hint})"}


def test_a_file_that_is_merely_missing_has_no_fault(make):
    folder = make("b.jpg", "ab.jpg")
    (folder / "circle").symlink_to("circle")
    assert find(folder, ["a"]) == FolderFiles()


@pytest.mark.parametrize(("name", "stem"), [("a.b.JPG", "a.b"), (".jpg", None), ("a", None), ("a.gif", None)])
def test_stems(name, stem):
    assert stem_of(name) == stem
