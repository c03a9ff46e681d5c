"""Every image and mask is looked into, and every bad one is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_seg.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, VOID, voc_palette
from voc_seg.voc.index import decode_image, decode_mask, index_images
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

SHARED = Path(__file__).parents[3] / "shared" / "voc"
HEIGHT, WIDTH = 12, 20


def save_mask(path: Path, mask: np.ndarray) -> None:
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


@pytest.fixture
def split(tmp_path) -> VOCSplit:
    """Three good images; masks with background, aeroplane (5 pixels) and void (2)."""
    found = VOCSplit("train", "sample", ("a", "b", "c"), tmp_path / "JPEGImages", tmp_path / "SegmentationClass")
    found.images.mkdir()
    found.masks.mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3, 4:9] = 1
    mask[5, 5:7] = VOID
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for image_id in found.ids:
        Image.fromarray(noise).save(found.image_path(image_id))
        save_mask(found.mask_path(image_id), mask)
    return found


def reason_for(split: VOCSplit, image_id: str = "b") -> str:
    """Why one image is rejected; its row must stay, without counts, and the others be usable."""
    index = index_images(split).set_index("image_id")
    assert list(index.index) == list(split.ids)
    assert (index.loc[index.index != image_id, "rejected"] == "").all()
    assert index.loc[image_id, [*CLASS_NAMES, "void"]].sum() == 0
    return index.loc[image_id, "rejected"]


def test_good_images_are_counted(split):
    index = index_images(split)
    assert list(index.columns) == ["image_id", "split", "height", "width", *CLASS_NAMES, "void", "rejected"]
    assert list(index["image_id"]) == ["a", "b", "c"]
    assert (index["split"] == "train").all()
    assert (index["rejected"] == "").all()
    row = index.iloc[0]
    assert (row["height"], row["width"]) == (HEIGHT, WIDTH)
    assert (row["background"], row["aeroplane"], row["void"]) == (HEIGHT * WIDTH - 7, 5, 2)
    assert (index[["height", "width", *CLASS_NAMES, "void"]].dtypes == "int64").all()
    assert (index[list(CLASS_NAMES[2:])] == 0).all(axis=None)


def test_missing_files(split):
    split.image_path("b").unlink()
    assert reason_for(split) == "missing image: JPEGImages/b.jpg"
    split.image_path("a").rename(split.image_path("b"))
    split.mask_path("b").unlink()
    split = VOCSplit(split.name, split.source, ("b", "c"), split.images, split.masks)
    assert reason_for(split) == "missing mask: SegmentationClass/b.png"


@pytest.mark.parametrize(("kind", "keep"), [("image", 0.7), ("mask", 0.9)])
def test_truncated_files(split, kind, keep):
    path = split.image_path("b") if kind == "image" else split.mask_path("b")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert reason_for(split).startswith(f"unreadable {kind}: {path.parent.name}/{path.name}")


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_files_that_are_no_pictures(split, kind):
    path = split.image_path("b") if kind == "image" else split.mask_path("b")
    path.write_text("<html>404</html>")
    assert reason_for(split) == f"unreadable {kind}: {path.parent.name}/{path.name} (no known image format)"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "LA", "I;16"])
def test_masks_of_colours_or_other_depths(split, mode):
    Image.new(mode, (WIDTH, HEIGHT)).save(split.mask_path("b"))
    assert reason_for(split).startswith(f"mask mode: {mode},")


def test_mask_of_another_size(split):
    save_mask(split.mask_path("b"), np.zeros((WIDTH, HEIGHT), np.uint8))
    assert reason_for(split) == "size mismatch: image 20x12, mask 12x20 (width x height)"
    row = index_images(split).iloc[1]
    assert (row["height"], row["width"]) == (HEIGHT, WIDTH)


def test_labels_outside_the_classes_are_listed(split):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[0, :4] = 20, 21, 254, VOID
    save_mask(split.mask_path("b"), mask)
    assert reason_for(split) == "unknown labels: 21, 254 (known are 0 to 20 and 255)"


def test_mask_without_a_label(split):
    save_mask(split.mask_path("b"), np.full((HEIGHT, WIDTH), VOID, np.uint8))
    assert reason_for(split).startswith("no labelled pixel")


def test_fewer_classes(split):
    index = index_images(split, ("background", "plane"))
    assert index["plane"].tolist() == [5, 5, 5]
    assert (index_images(split, ("background",))["rejected"].str.startswith("unknown labels: 1 ")).all()


def test_empty_split_keeps_columns_and_types(split, tmp_path):
    full = index_images(split)
    empty = index_images(VOCSplit("test", "sample", (), split.images, split.masks))
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)
    empty.to_parquet(tmp_path / "empty.parquet")
    assert pd.read_parquet(tmp_path / "empty.parquet").dtypes.equals(full.dtypes)


@pytest.mark.parametrize("palette", [True, False])
def test_masks_come_back_bit_by_bit(tmp_path, palette):
    mask = np.random.default_rng(1).choice(np.array([*range(21), VOID], np.uint8), (33, 47))
    save_mask(tmp_path / "m.png", mask) if palette else Image.fromarray(mask).save(tmp_path / "m.png")
    decoded = decode_mask(tmp_path / "m.png")
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, mask)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_images_become_rgb(tmp_path, mode):
    Image.new(mode, (WIDTH, HEIGHT)).save(tmp_path / "i.jpg")
    image = decode_image(tmp_path / "i.jpg")
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8


def test_decoding_a_missing_file_is_the_users_error(tmp_path):
    with pytest.raises(VocSegError, match="missing image"):
        decode_image(tmp_path / "absent.jpg")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs official VOC data in ../shared/voc")
def test_official_val_images_are_all_usable():
    index = index_images(read_split(find_voc_folder(SHARED, "2012"), "voc2012", "val"))
    assert (index["rejected"] == "").all()
    assert (index[[*CLASS_NAMES, "void"]].sum(axis=1) == index["height"] * index["width"]).all()
    assert (index[list(CLASS_NAMES)].sum() > 0).all()
