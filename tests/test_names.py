"""Ids and class names that tables, figures, Markdown and HTML could misread."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image
from pydantic import ValidationError

from voc_seg.config import DataConfig
from voc_seg.reporting.image_panels import draw_legend
from voc_seg.reporting.style import literal, new_figure, set_title
from voc_seg.samples.inference_images import ImageFiles, name_images
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import image_id_problem, name_key
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.images import decode_dataset_image
from voc_seg.voc.splits import find_voc_folder

IDS = ["NA", "null", "1e5", "007", "$x_1$", "{a}", "weed (0)", "<i>"]
CLASSES = ["NA", "$c_$", "<b>x</b>", "a|b", "_1"]


pytestmark = pytest.mark.usefixtures("narrow_encoder")


def test_names_that_readers_misread(
    tmp_path: Path, make_project: Callable, run_kedro: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voc_seg.pipelines.export.nodes.missing_packages", lambda: ["onnx"])  # the slow part
    project = make_project(tmp_path / "project")
    folder = project / "voc" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    mask = np.repeat(np.arange(5, dtype=np.uint8), 16)[None].repeat(64, axis=0)
    for image_id in IDS:
        # Its own seed, so that no two images are the same.
        noise = np.random.default_rng(IDS.index(image_id)).integers(0, 255, (*mask.shape, 3), np.uint8)
        Image.fromarray(noise).save(folder / "JPEGImages" / f"{image_id}.jpg")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{image_id}.png")
    for split, ids in (("train", IDS[:4]), ("val", IDS)):
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    pipelines = "data_processing", "training", "evaluation", "export"
    run_kedro(project, *pipelines, data={"classes": CLASSES}, training={"epochs": 1})

    bootstrap_project(project)
    with KedroSession.create(project) as session:
        load = session.load_context().catalog.load
        assert load("class_statistics")["class_name"].tolist() == CLASSES
        assert load("class_scores")["class_name"].tolist() == CLASSES
        assert load("confusion_matrix").index.tolist() == CLASSES
        assert load("confusion_matrix").columns.tolist() == CLASSES
        assert sorted(load("image_scores")["image_id"]) == sorted(IDS)
        assert set(load("shared_images")["image_id"]) == set(IDS[:4])
        assert set(load("val_index")["image_id"]) == set(IDS)
        report, card = load("report"), load("model_card")
    assert {f"{image_id}.png" for image_id in IDS} <= {
        path.name for path in (project / "data/07_model_output/predictions").iterdir()
    }
    page = report if isinstance(report, str) else (project / "data/08_reporting/report.html").read_text("utf-8")
    assert "<b>x" not in page
    assert "<i>" not in page
    assert r"| 2 | &lt;b&gt;x&lt;/b&gt; |" in card
    assert r"| 3 | a\|b |" in card
    assert r"| 1 | \$c\_\$ |" in card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("..", "begins or ends with a dot"),
        (".a", "begins or ends with a dot"),
        ("a.", "begins or ends with a dot"),
        ("=cmd()", "begins with ="),
        ("-a", "begins with -"),
        ("\uff1dcmd()", "begins with ="),
        ("a; +1", r"begins with \+, or has it after a semicolon"),
        ("a\u00adb", r"control character U\+00AD"),
        ("é" * 101, "has 202 bytes, and 200 is the limit"),
        ("a\tb", r"control character U\+0009"),
        ("a\x1b[31mb", r"control character U\+001B"),
        ("a\u202eb", r"control character U\+202E"),
        ("a\u2028b", r"control character U\+2028"),
        ("b\nB", r"Line 2 .*differs from 'b' only in case"),
        ("\u00e9\ne\u0301", "Line 2 .*differs from 'é' only in case"),
    ],
)
def test_an_id_that_cannot_name_files_is_refused_when_it_is_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    with pytest.raises(VocSegError, match=message) as caught:
        read_ids(tmp_path / "train.txt")
    assert not {"\x1b", "\u202e", "\u2028"} & set(str(caught.value))


def test_the_longest_id_fits_into_the_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("é" * 100, encoding="utf-8")
    (image_id,) = read_ids(tmp_path / "train.txt")
    (tmp_path / f"prediction_{image_id}.prediction.png.partial").touch()


@pytest.mark.parametrize("image_id", ["CON", "nul.tar", "com1 .x", "LPT\xb2", "a:b", "a?", 'a"b', "a|b", "<a>"])
def test_an_id_that_windows_cannot_store_is_refused_there(image_id: str) -> None:
    assert image_id_problem(image_id, windows=True)
    assert image_id_problem(image_id, windows=False) is None
    assert image_id_problem("console, com10 and nulls", windows=True) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "at least 1 character"),
        (" ", "it is blank"),
        ("a ", "begins or ends with a blank"),
        ("a\nb", r"control character U\+000A"),
        ("a\x1b[31m", r"control character U\+001B"),
        ("a\u202e", r"control character U\+202E"),
        ("x" * 101, "101 letters, and 100 is the limit"),
        ("=1+1", "begins with ="),
        ("Cat", "'Cat' and 'cat' differ only in case"),
        (None, "YAML reads this name as null"),
    ],
)
def test_a_class_name_is_refused_with_the_settings(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig(classes=["background", "cat", name])


def test_a_class_name_may_be_in_any_script() -> None:
    names = ["背景", "قطة", "👩‍🚀", "می‌خواهم", "Straße", "dining table", "none", "nan", "1e5"]
    assert DataConfig(classes=names).class_table.names == tuple(names)


def test_figures_show_names_letter_by_letter(tmp_path: Path) -> None:
    figure = new_figure(4, 3)
    set_title(figure, r"$a^$ and \$b$")
    draw_legend(figure, {"$x_{$": np.zeros(3), "_hidden": np.ones(3)})
    figure.savefig(tmp_path / "a.png")
    shown = [text._preprocess_math(text.get_text())[0] for text in figure.texts + figure.legends[0].get_texts()]
    assert shown == [r"$a^$ and \$b$", "$x_{$", "_hidden"]
    assert literal("plain") == "plain"


def test_no_picture_has_a_name_that_is_a_formula() -> None:
    paths = [Path(path) for path in ("=cmd().jpg", "-a.jpg", "@b.jpg", ".=c.jpg", "\uff1dd.jpg", "x;=e.jpg", "f;g.jpg")]
    assert name_images(paths) == ["_cmd()", "_a", "_b", "_c", "_d", "x_=e", "f;g"]


def test_every_picture_has_a_name_that_windows_can_store() -> None:
    assert name_images([Path("CON.jpg"), Path("nul.tar.gz"), Path("a:b.jpg")]) == ["_CON", "_nul.tar", "a_b"]


def test_pictures_whose_names_a_mac_takes_for_one_have_two() -> None:
    names = name_images([Path("\u00e9.jpg"), Path("e\u0301.jpg")])
    assert len({name_key(name) for name in names}) == 2


def test_the_path_of_a_picture_is_no_formula_and_gives_no_orders() -> None:
    pictures = ImageFiles({"a": Path("=cmd().jpg"), "b": Path("x/a\n\x1b[31m\u202e.jpg"), "c": Path("/x/=y.jpg")})
    assert [pictures.file(name) for name in pictures] == ["./=cmd().jpg", r"x/a\n\x1b[31m\u202e.jpg", "/x/=y.jpg"]


def test_a_file_in_a_message_is_in_one_line_and_gives_no_orders(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match=r"missing image: .*/a\\n\\x1b\[2J\.jpg") as caught:
        decode_dataset_image(tmp_path / "a\n\x1b[2J.jpg")
    assert "\n" not in str(caught.value)
    for name in ("\x1b[2J", "\u202e"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    with pytest.raises(VocSegError, match=r"which holds \\x1b\[2J, \\u202e\)"):
        find_voc_folder(tmp_path / "folder", "2012")


def test_an_empty_cell_alone_is_an_absent_value(tmp_path: Path) -> None:
    from voc_seg.datasets import CSVDataset, EarlierTableDataset

    table = pd.DataFrame({"name": ["NA", "null", None], "value": [1.5, np.nan, np.inf]})
    CSVDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False}).save(table)
    for dataset in (CSVDataset, EarlierTableDataset):
        read = dataset(filepath=str(tmp_path / "a.csv")).load()
        assert read["name"].tolist()[:2] == ["NA", "null"]
        assert read.isna().to_numpy().tolist() == [[False, False], [False, True], [True, False]]
        assert read["value"].dtype == float
