"""Every kind of damaged image or mask has its own reason, and the rest of the split trains."""

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click import ClickException
from PIL import Image

from voc_seg.config import AugmentationConfig, DataConfig, InferenceConfig
from voc_seg.pipelines.data_processing.nodes import describe
from voc_seg.samples.store import SampleStore
from voc_seg.scenes.sample import write_scenes
from voc_seg.voc.classes import VOID
from voc_seg.voc.masks import palette_image

Run = Callable[..., None]
SIZE = (60, 40)  # width, height


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@dataclass(frozen=True)
class Files:
    """The two files of one image."""

    image: Path
    mask: Path


def mask_of(*values: int) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[0, : len(values)] = values
    return mask


def cut(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def fill_with_zeros(path: Path, share: float) -> None:
    """A download that reserved its disk space first and was interrupted."""
    size = path.stat().st_size
    cut(path, share)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))


def flip_bits(path: Path) -> None:
    """Damage the compressed pixels of a PNG without changing its length."""
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    data[start + 2] ^= 0xFF
    path.write_bytes(data)


def flip_a_label(path: Path) -> None:
    """A mask that decodes without an error to another label; only the checksum of the PNG chunk is wrong."""
    palette_image(mask_of(1)).save(path, compress_level=0)
    data = path.read_bytes()
    start = data.index(b"IDAT") + 4
    pixels = zlib.decompressobj().decompress(data[start:])
    other = zlib.compress(pixels[:1] + b"\2" + pixels[2:], 0)
    path.write_bytes(data[:start] + other + data[start + len(other) :])


def gigantic_png(path: Path) -> None:
    """A header of 60,000 x 60,000 pixels, as in a decompression bomb."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def turned_by_exif(files: Files) -> None:
    """An image upside down: only its content shows which way up the mask was drawn."""
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(files.image).save(files.image, exif=exif)


def pipe_in_place_of(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_in_place_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path, target: str = "nowhere.png") -> None:
    path.unlink()
    path.symlink_to(target)


def rgb(*colours: tuple[int, int, int]) -> np.ndarray:
    pixels = np.zeros((*SIZE[::-1], 3), np.uint8)
    pixels[0, : len(colours)] = colours
    return pixels


DAMAGE: dict[str, tuple[Callable[[Files], object], str]] = {
    "image_missing": (lambda f: f.image.unlink(), "missing image: {i}"),
    "image_empty": (lambda f: f.image.write_bytes(b""), "empty image: {i} (0 bytes)"),
    "image_is_text": (
        lambda f: f.image.write_text("<html>404</html>"),
        "unreadable image: {i} (HTML, XML or SVG text, not JPEG, PNG, TIFF, BMP or WEBP)",
    ),
    "image_cut_in_half": (lambda f: cut(f.image, 0.7), "truncated image: {i} (image file is truncated"),
    "image_cut_in_header": (lambda f: cut(f.image, 0.1), "truncated image: {i} (Truncated File Read)"),
    "image_zero_filled": (
        lambda f: fill_with_zeros(f.image, 0.7),
        "truncated image: {i} (it ends in zeros, without the mark of the end)",
    ),
    "image_is_folder": (lambda f: folder_in_place_of(f.image), "folder instead of image: {i}"),
    "image_is_bomb": (lambda f: gigantic_png(f.image), "oversized image: {i} (Image size (3600000000"),
    "image_of_floats": (
        lambda f: Image.new("F", SIZE).save(f.image, format="TIFF"),
        "unknown range: {i} holds float32 values; set data.range to the values to show as black and white",
    ),
    "image_of_mask_turned": (
        turned_by_exif,
        "EXIF orientation: {i} has 3, and its mask fits the image upright and as stored",
    ),
    "image_is_pipe": (lambda f: pipe_in_place_of(f.image), "not a regular file: {i} is a pipe"),
    "mask_is_pipe": (lambda f: pipe_in_place_of(f.mask), "not a regular file: {m} is a pipe"),
    "mask_missing": (lambda f: f.mask.unlink(), "missing mask: {m}"),
    "mask_broken_link": (lambda f: dangling_link(f.mask), "dangling link instead of mask: {m}"),
    "mask_empty": (lambda f: f.mask.write_bytes(b""), "empty mask: {m} (0 bytes)"),
    "mask_is_text": (
        lambda f: f.mask.write_text("0 0 0 1"),
        "unreadable mask: {m} (not JPEG, PNG, TIFF, BMP or WEBP)",
    ),
    "mask_is_lfs_pointer": (
        lambda f: f.mask.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "Git LFS pointer instead of mask: {m}; fetch the files with: git lfs pull",
    ),
    "mask_in_annex": (
        lambda f: dangling_link(f.mask, "../.git/annex/objects/a.png"),
        "dangling link instead of mask: {m} (to ../.git/annex/objects/a.png, fetch it with: git annex get)",
    ),
    "mask_is_array": (lambda f: np.save(f.mask.open("wb"), mask_of(1)), "unreadable mask: {m} (a NumPy array, "),
    "mask_twice": (
        lambda f: palette_image(mask_of(1)).save(f.mask.with_suffix(".bmp")),
        "ambiguous mask: SegmentationClass has mask_twice.bmp and mask_twice.png; delete all but one",
    ),
    "image_as_heic": (
        lambda f: f.image.rename(f.image.with_suffix(".heic")),
        "missing image: {i} (found image_as_heic.heic, a format that is not read: save it as JPG)",
    ),
    "mask_cut": (lambda f: cut(f.mask, 0.9), "truncated mask: {m}"),
    "mask_flipped_bits": (lambda f: flip_bits(f.mask), "damaged mask: {m} (broken data stream"),
    "mask_flipped_label": (lambda f: flip_a_label(f.mask), "damaged mask: {m} (broken PNG file"),
    "mask_other_size": (
        lambda f: palette_image(np.zeros((10, 20), np.uint8)).save(f.mask),
        "size mismatch: {i} is 60x40, {m} 20x10 (width x height)",
    ),
    "mask_turned": (
        lambda f: palette_image(mask_of(1).T.copy()).save(f.mask),
        "turned: {i} is 60x40, {m} 40x60 (width x height): one of them is rotated",
    ),
    "mask_unknown_labels": (
        lambda f: palette_image(mask_of(20, 21, 254, VOID)).save(f.mask),
        "unknown labels: {m} has 21, 254 (known are 0 to 20 and 255; data.values",
    ),
    "mask_all_void": (
        lambda f: palette_image(np.full(SIZE[::-1], VOID, np.uint8)).save(f.mask),
        "no labelled pixel: {m} is entirely void (255)",
    ),
    "mask_is_jpeg": (
        lambda f: Image.fromarray(mask_of(15)).save(f.mask, format="JPEG"),
        "lossy mask: {m} is a JPEG",
    ),
    "mask_cmyk": (
        lambda f: Image.new("CMYK", SIZE).save(f.mask, format="TIFF"),
        "mask mode: {m} is CMYK, not palette",
    ),
    "mask_16_bit": (
        lambda f: Image.fromarray(np.full(SIZE[::-1], 256, np.uint16)).save(f.mask),
        "mask values: {m} is I;16 (more than 8 bits a pixel) and has values from 256 to 256",
    ),
    "mask_grey_and_alpha": (
        lambda f: Image.new("LA", SIZE).save(f.mask),
        "mask with transparency: {m} is LA",
    ),
    "mask_of_pages": (
        lambda f: Image.new("L", SIZE).save(f.mask, format="TIFF", save_all=True, append_images=[Image.new("L", SIZE)]),
        "several pages: {m} has 2",
    ),
    "mask_transparent": (
        lambda f: Image.new("RGBA", SIZE).save(f.mask),
        "mask with transparency: {m} is RGBA",
    ),
    "mask_other_colours": (
        lambda f: Image.fromarray(rgb((128, 0, 0), (1, 2, 3), (255, 0, 255))).save(f.mask),
        "mask colours: {m} is RGB and has (1, 2, 3), (255, 0, 255), which no class has",
    ),
    "mask_indices_as_rgb": (
        lambda f: Image.fromarray(rgb((1, 1, 1), (31, 31, 31))).save(f.mask),
        "mask colours: {m} is RGB and has (1, 1, 1), (31, 31, 31), which no class has (2 of 2400 pixels); "
        "these look like class indices saved",
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path]) -> Path:
    """A project whose training split has a damaged image of every kind between good ones."""
    folder = make_project(tmp_path_factory.mktemp("damaged"))
    voc = write_scenes(folder / "voc", {"train": 4, "val": 2})
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    for name, (damage, _) in DAMAGE.items():
        files = Files(voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClass" / f"{name}.png")
        Image.fromarray(noise).save(files.image, quality=90)
        palette_image(np.random.default_rng(1).integers(0, 21, SIZE[::-1], dtype=np.uint8)).save(files.mask)
        damage(files)
    good = [f"scene_train_{number:04d}" for number in range(1, 5)]
    bad = list(DAMAGE)
    path = voc / "ImageSets/Segmentation/train.txt"
    path.write_text("\n".join([*good[:2], *bad[:9], *good[2:], *bad[9:]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def rejected(project: Path, run_kedro: Run) -> pd.DataFrame:
    run_kedro(project, "data_processing")
    return pd.read_csv(project / "data/08_reporting/rejected_images.csv").set_index("image_id")


def test_there_are_many_kinds() -> None:
    assert len(DAMAGE) >= 15


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_has_its_own_reason(rejected: pd.DataFrame, kind: str) -> None:
    assert rejected.loc[kind, "split"] == "train"
    reason = DAMAGE[kind][1].format(i=f"JPEGImages/{kind}.jpg", m=f"SegmentationClass/{kind}.png")
    assert rejected.loc[kind, "reason"].startswith(reason)


def test_nothing_else_is_rejected_and_no_reason_comes_twice(rejected: pd.DataFrame) -> None:
    assert list(rejected.index) == list(DAMAGE)
    without_names = [reason.replace(name, "") for name, reason in rejected["reason"].items()]
    assert len(set(without_names)) == len(DAMAGE)


def test_the_rest_trains(project: Path, rejected: pd.DataFrame, run_kedro: Run) -> None:
    samples = SampleStore(project / "data/05_model_input/train_samples.arrow")
    assert [sample.id for sample in samples] == [f"scene_train_{number:04d}" for number in range(1, 5)]
    run_kedro(project, "training", training={"epochs": 1})
    assert len(pd.read_csv(project / "data/08_reporting/training_history.csv")) == 1


def test_fail_stops_with_the_list_before_anything_is_packed(tmp_path: Path, project: Path, run_kedro: Run) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data", "voc"))
    with pytest.raises(ClickException, match=rf"{len(DAMAGE)} images cannot be used, and data\.on_invalid") as caught:
        run_kedro(copy, "data_processing", voc_root=str(project / "voc"), data={"on_invalid": "fail"})
    message = str(caught.value)
    assert "train image_missing: missing image: JPEGImages/image_missing.jpg" in message
    assert "quarantine" in message
    assert len(pd.read_csv(copy / "data/08_reporting/rejected_images.csv")) == len(DAMAGE)
    assert not list(copy.glob("data/05_model_input/*samples*"))


def test_the_log_sums_up(project: Path, rejected: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    tables = project / "data/02_intermediate"
    train, val, test = (pd.read_parquet(tables / f"{split}_index.parquet") for split in ("train", "val", "test"))
    describe(train, val, test, DataConfig(), AugmentationConfig(), InferenceConfig())
    assert (
        f"train: {len(DAMAGE)} of {len(train)} images are rejected; all are listed in data/08_reporting/rejected_im"
        in caplog.text
    )
    assert "  3 truncated image: image_cut_in_half (JPEGImages/image_cut_in_half.jpg (image file is " in caplog.text
    assert ") and 2 more\n" in caplog.text
    assert "\n  and 22 other kinds\n" in caplog.text
    assert (
        "train: most images are rejected. Check that voc_root is the right folder and data.classes are correct."
        in caplog.text
    )
