"""Nodes and wiring of data_processing."""

import dataclasses
import inspect
import logging
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from voc_seg.config import AugmentationConfig, DataConfig, InferenceConfig
from voc_seg.pipelines.data_processing import create_pipeline, nodes
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.system.errors import VocSegError
from voc_seg.voc.sources import SOURCES
from voc_seg.voc.splits import VOCSplit
from voc_seg.voc.statistics import rejected_images

DATA = DataConfig()
CROPS = AugmentationConfig()


def index_split(split: VOCSplit) -> pd.DataFrame:
    return nodes.index_split(split, DATA)


def pack_split(split: VOCSplit, index: pd.DataFrame, data: DataConfig = DATA) -> DecodedSamples:
    return nodes.pack_split(split, index, rejected_images({split.name: index}), data)


def make_split(folder: Path, name: str, *ids: str) -> VOCSplit:
    """Images of different sizes, their masks with a cat and a void border."""
    split = VOCSplit(name, "sample", ids, folder / "JPEGImages", folder / "SegmentationClass")
    split.images.mkdir(exist_ok=True)
    split.masks.mkdir(exist_ok=True)
    for number, image_id in enumerate(ids):
        height, width = 10 + number, 16
        mask = np.zeros((height, width), np.uint8)
        mask[2:8, 3:9] = 255
        mask[3:7, 4:8] = 8
        Image.fromarray(np.full((height, width, 3), 40 * number, np.uint8)).save(split.image_path(image_id))
        Image.fromarray(mask).save(split.mask_path(image_id))
    return split


def test_packed_samples_are_those_on_disk_without_the_rejected(tmp_path):
    split = make_split(tmp_path, "train", "a", "b", "c")
    split.mask_path("b").unlink()
    samples = pack_split(split, index_split(split))
    assert len(samples) == 2
    assert write_store(tmp_path / "train.arrow", samples) == 2
    store = SampleStore(tmp_path / "train.arrow")
    assert [sample.id for sample in store] == ["a", "c"]
    with Image.open(split.mask_path("c")) as mask, Image.open(split.image_path("c")) as image:
        assert np.array_equal(store[1].mask, np.asarray(mask))
        assert np.array_equal(store[1].image, np.asarray(image))


def test_samples_are_cut_into_shards_of_so_many_images(tmp_path):
    split = make_split(tmp_path, "train", "a", "b", "c")
    parts = pack_split(split, index_split(split), DataConfig(shard_images=2)).split_into_shards()
    assert [part.ids for part in parts] == [("a", "b"), ("c",)]
    pixels = 16 * (10 + 11 + 12)
    assert sum(part.nbytes for part in parts) == 4 * pixels


def test_packing_is_lazy_and_repeatable(tmp_path):
    split = make_split(tmp_path, "train", "a", "b")
    samples = pack_split(split, index_split(split))
    assert [sample.id for sample in samples] == [sample.id for sample in samples] == ["a", "b"]
    split.image_path("b").unlink()
    rest = iter(samples)
    assert next(rest).id == "a"
    with pytest.raises(VocSegError, match=r"missing image: JPEGImages/b\.jpg"):
        next(rest)


def test_kedro_saves_the_samples_in_one_piece():
    assert not inspect.isgeneratorfunction(nodes.pack_split)


def test_empty_test_split_packs_to_an_empty_store(tmp_path):
    split = make_split(tmp_path, "test")
    index = index_split(split)
    assert len(index) == 0
    assert write_store(tmp_path / "test.arrow", pack_split(split, index)) == 0
    assert len(SampleStore(tmp_path / "test.arrow")) == 0


def test_index_of_other_data_is_refused(tmp_path):
    split = make_split(tmp_path, "train", "a", "b")
    with pytest.raises(VocSegError, match=r"train_index is out of date"):
        pack_split(split, index_split(make_split(tmp_path, "train", "b", "a")))


def test_describe_gives_statistics_figure_and_rejected(tmp_path, caplog):
    train = make_split(tmp_path, "train", "a", "b", "c")
    train.image_path("b").write_bytes(b"nothing")
    indices = [index_split(split) for split in (train, make_split(tmp_path, "val", "d"), make_split(tmp_path, "test"))]
    with caplog.at_level(logging.INFO):
        statistics, figure, rejected, _ = nodes.describe(*indices, DATA, CROPS, InferenceConfig())
    cat = statistics.set_index("class_name").loc["cat"]
    assert (cat["train_images"], cat["train_pixels"], cat["val_images"], cat["test_images"]) == (2, 32, 1, 0)
    assert isinstance(figure, Figure)
    assert rejected["image_id"].tolist() == ["b"]
    assert "train: 1 of 3 images are rejected; all are listed in data/08_reporting/rejected_images.csv." in caplog.text
    assert "\n  1 unreadable image: b (JPEGImages/b.jpg (not JPEG, PNG, TIFF, BMP or WEBP))\n" in caplog.text
    assert "most images are rejected" not in caplog.text
    assert "val: 1 image, all usable" in caplog.text
    assert "test: no images" in caplog.text
    assert "more than one split" not in caplog.text


def test_images_in_two_splits_are_warned_of(tmp_path, caplog):
    train, val = make_split(tmp_path, "train", "a", "b"), make_split(tmp_path, "val", "b")
    nodes.describe(*map(index_split, (train, val, make_split(tmp_path, "test"))), DATA, CROPS, InferenceConfig())
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([warning for warning in warnings if "b in train, val" in warning]) == 1


def test_doubtful_classes_are_warned_of(tmp_path, caplog):
    """Masks of 0, 1 and 2 with two classes; background is not the first."""
    data = DataConfig(classes=("cat", "dog"))
    split = make_split(tmp_path, "train", *"abc")
    for image_id, value in zip(split.ids, (1, 2, 2)):
        mask = np.asarray(Image.open(split.mask_path(image_id)))
        Image.fromarray(np.where(mask == 8, value, mask).astype(np.uint8)).save(split.mask_path(image_id))
    index = nodes.index_split(split, data)
    nodes.describe(index, index.assign(dog=0), index[:0], data, CROPS, InferenceConfig())
    assert "mask value 0 is 'cat' and covers 88.6 % of the labelled pixels of train" in caplog.text
    assert "val: 1 of 2 classes have no pixel in any usable image: dog." in caplog.text
    assert "4 masks hold the value 2, one more than" in caplog.text
    assert "Background is probably missing from data.classes" in caplog.text


def test_nothing_but_background_to_learn_from_is_refused(tmp_path):
    split = make_split(tmp_path, "train", "a")
    Image.fromarray(np.zeros((10, 16), np.uint8)).save(split.mask_path("a"))
    index = index_split(split)
    nodes.describe(index, index[:0], index[:0], DATA, CROPS, InferenceConfig())  # the statistics are still written
    with pytest.raises(VocSegError, match="every declared class but background is absent"):
        pack_split(split, index)
    val = make_split(tmp_path, "val", "b")
    Image.fromarray(np.zeros((10, 16), np.uint8)).save(val.mask_path("b"))
    assert len(pack_split(val, index_split(val))) == 1


def test_split_without_a_usable_image_ends_the_run(tmp_path):
    split = make_split(tmp_path, "val", *"abcdefg")
    for image_id in split.ids:
        split.mask_path(image_id).unlink()
    index = index_split(split)
    good = index_split(make_split(tmp_path, "train", "x"))
    # describe still runs, so that the list of rejected images is written.
    _, _, rejected, _ = nodes.describe(
        good, index, index_split(make_split(tmp_path, "test")), DATA, CROPS, InferenceConfig()
    )
    assert len(rejected) == 7
    message = r"None of the 7 val images is usable:\n  7 missing mask: a \(SegmentationClass/a\.png\) and 6 more\nFix"
    with pytest.raises(VocSegError, match=message):
        pack_split(split, index)


def test_packing_comes_after_the_list_of_rejected_images():
    order = [node.name for node in create_pipeline().nodes]
    assert all(order.index("describe_classes") < order.index(f"pack_{split}") for split in ("train", "val", "test"))


def test_fail_names_the_images_of_every_split(tmp_path):
    split = make_split(tmp_path, "train", "a", "b")
    index = index_split(split)
    elsewhere = pd.DataFrame({"split": "val", "image_id": [f"v{n}" for n in range(25)], "reason": "empty image"})
    with pytest.raises(VocSegError, match=r"25 images cannot be used(.|\n)*val v0: empty image") as caught:
        nodes.pack_split(split, index, elsewhere, DataConfig(on_invalid="fail"))
    assert "v19" in str(caught.value)
    assert "v20" not in str(caught.value)
    assert "and 5 more" in str(caught.value)
    assert len(nodes.pack_split(split, index, elsewhere, DATA)) == 2
    assert len(nodes.pack_split(split, index, elsewhere[:0], DataConfig(on_invalid="fail"))) == 2


def test_the_store_learns_what_it_is_made_of(tmp_path):
    split = make_split(tmp_path, "train", "a", "b")
    origin = pack_split(split, index_split(split)).origin
    assert (origin.source, origin.classes) == ("sample", DATA.class_table.names)
    split.image_path("a").touch()
    assert pack_split(split, index_split(split)).origin.fingerprint != origin.fingerprint


def test_unchanged_files_are_not_read_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    split = make_split(tmp_path, "train", "a", "b")
    first = index_split(split)
    (tmp_path / "JPEGImages/b.jpg").touch()
    caplog.clear()
    again = index_split(dataclasses.replace(split, read_index=lambda: first))
    assert "train: reading 1 of 2 images" in caplog.text
    pd.testing.assert_frame_equal(again, index_split(split))


def test_conversions_are_noted(tmp_path, caplog):
    split = make_split(tmp_path, "train", "a", "b")
    for image_id in split.ids:
        Image.open(split.mask_path(image_id)).convert("L").point(lambda value: 0).convert("RGB").save(
            split.mask_path(image_id)
        )
    index = index_split(split)
    nodes.describe(index, index[:0], index[:0], DATA, CROPS, InferenceConfig())
    assert "train: mask read by its RGB colours (images: 2, column note of train_index.parquet)" in caplog.text


def test_a_list_that_is_not_the_official_one_is_warned_of(tmp_path, caplog):
    index_split(dataclasses.replace(make_split(tmp_path, "train", "a"), source="voc2012"))
    assert "the list has 1 image, but the official list of voc2012 has 1464. Scores cannot be compared" in caplog.text
    caplog.clear()
    index_split(make_split(tmp_path, "train", "a"))
    assert "official" not in caplog.text
    assert SOURCES["voc2012_aug"].sizes["train"] == 10_582


def test_wiring():
    pipeline = create_pipeline()
    assert {node.name for node in pipeline.nodes} == {
        "index_train", "index_val", "index_test", "pack_train", "pack_val", "pack_test", "describe_classes",
    }  # fmt: skip
    splits = ("train", "val", "test")
    raw = {f"{split}_split" for split in splits}
    assert pipeline.inputs() == {*raw, "params:data", "params:augmentation", "params:inference"}
    assert pipeline.outputs() == {
        "train_samples", "val_samples", "test_samples",
        "class_statistics", "class_distribution", "shared_images",
    }  # fmt: skip


@pytest.mark.parametrize("function", [nodes.index_split, nodes.pack_split, nodes.describe])
def test_hints_resolve(function):
    assert "return" in typing.get_type_hints(function)


@pytest.mark.parametrize(
    ("height", "width", "crop", "scale", "expected"),
    [
        (3000, 4000, 224, (0.9, 1.1), "4000x3000 (width x height, median), 48 MB each"),
        (3000, 4000, 224, (0.9, 1.1), "224 pixels shows 0.42 % of one"),
        (3000, 4000, 224, (0.9, 1.1), "data.longer_side=512,inference.longer_side=512"),
        (375, 500, 224, (0.9, 1.1), ""),
        (375, 500, 96, (0.25, 0.4), ""),
        (3000, 4000, 512, (0.1, 0.2), ""),
    ],
)
def test_large_photographs_are_warned_of_with_the_settings_to_use(
    tmp_path, caplog, height, width, crop, scale, expected
):
    index = index_split(make_split(tmp_path, "train", "a")).assign(height=height, width=width)
    nodes.describe(
        index, index[:0], index[:0], DATA, AugmentationConfig(crop_size=crop, scale=scale), InferenceConfig()
    )
    output = [record.getMessage() for record in caplog.records if "The images are large" in record.getMessage()]
    assert expected in output[0] if expected else not output


@pytest.mark.parametrize(
    ("longer_side", "stored", "inferred", "expected"),
    [(800, None, 500, True), (800, None, None, False), (800, 500, 500, False), (600, None, 500, False)],
)
def test_a_smaller_scale_of_inference_is_warned_of(tmp_path, caplog, longer_side, stored, inferred, expected):
    index = index_split(make_split(tmp_path, "train", "a")).assign(height=500, width=longer_side)
    data = DATA.model_copy(update={"longer_side": stored})
    nodes.describe(index, index[:0], index[:0], data, CROPS, InferenceConfig(longer_side=inferred))
    assert ("Set inference.longer_side=800 for a model trained on these images" in caplog.text) is expected


def test_masks_that_do_not_mean_the_same_end_the_run(tmp_path):
    split = make_split(tmp_path, "train", "a", "b")
    for image_id, colours in (("a", [0, 0, 0, 9, 1, 1]), ("b", [9, 1, 1, 0, 0, 0])):
        mask = Image.fromarray(np.eye(10, 16, dtype=np.uint8))
        mask.putpalette(colours)
        Image.new("RGB", (16, 10)).save(split.image_path(image_id))
        mask.save(split.mask_path(image_id))
    data = DataConfig(classes=["background", "thing"])
    index = nodes.index_split(split, data)
    with pytest.raises(VocSegError, match="different palettes"):
        nodes.describe(index, index[:0], index[:0], data, CROPS, InferenceConfig())


def test_a_packed_sample_is_reduced_and_turned_as_its_row_says(tmp_path):
    split = make_split(tmp_path, "train", "a")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(split.image_path("a")).resize((160, 100)).save(split.image_path("a"), exif=exif)
    Image.open(split.mask_path("a")).resize((160, 100), Image.Resampling.NEAREST).save(split.mask_path("a"))
    data = DataConfig(exif="apply", longer_side=64)
    index = nodes.index_split(split, data)
    (sample,) = pack_split(split, index, data)
    assert sample.image.shape == (*sample.mask.shape, 3) == (*index.loc[0, ["height", "width"]], 3) == (40, 64, 3)
    assert np.bincount(sample.mask.ravel(), minlength=256)[8] == index.loc[0, "cat"]


def test_names_that_other_disks_cannot_bear_are_warned_of(tmp_path, caplog):
    index_split(make_split(tmp_path, "train", "a", "a:b", "CON"))
    assert "train: 2 image ids, such as 'a:b' (it holds :), cannot be file names on Windows" in caplog.text
    caplog.clear()
    index_split(make_split(tmp_path, "val", "c", "weed (0)"))
    assert "impossible" not in caplog.text
