"""The report on disk: page and images are always of the same run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.io import DatasetError

from voc_seg.datasets import Report, ReportDataset


@pytest.fixture
def dataset(tmp_path: Path) -> ReportDataset:
    return ReportDataset(filepath=str(tmp_path / "08_reporting" / "report.html"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_save_replaces_page_and_pictures(dataset: ReportDataset, tmp_path: Path) -> None:
    assert not dataset.exists()
    dataset.save(Report("one", "images", iter([{"a.jpg": b"1", "a.png": b"2"}, {"b.jpg": b"3"}]), 2))
    dataset.save(Report("zwei ü", "images", iter([{"b.jpg": b"4"}]), 1))
    assert dataset.exists()
    assert dataset.load() == "zwei ü"
    assert contents(tmp_path / "08_reporting") == {"report.html": "zwei ü".encode(), "images/b.jpg": b"4"}


def test_what_else_lies_there_stays(dataset: ReportDataset, tmp_path: Path) -> None:
    (tmp_path / "08_reporting").mkdir()
    (tmp_path / "08_reporting" / "metrics.json").write_bytes(b"{}")
    dataset.save(Report("one", "images", iter([{"a.jpg": b"1"}]), 1))
    assert set(contents(tmp_path / "08_reporting")) == {"metrics.json", "report.html", "images/a.jpg"}
    (tmp_path / "08_reporting" / "images" / "for the talk.jpg").write_bytes(b"mine")
    dataset.save(Report("two", "images", iter([{"b.jpg": b"1"}]), 1))
    assert set(contents(tmp_path / "08_reporting" / "images")) == {"b.jpg", "for the talk.jpg"}


def test_a_failed_save_leaves_the_old_report(dataset: ReportDataset, tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, bytes]]:
        yield {"a.jpg": b"new"}
        raise OSError(28, "No space left on device")

    dataset.save(Report("old", "images", iter([{"a.jpg": b"old"}]), 1))
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save(Report("new", "images", failing(), 2))
    assert contents(tmp_path / "08_reporting") == {"report.html": b"old", "images/a.jpg": b"old"}


def test_pictures_are_written_one_image_after_the_other(dataset: ReportDataset, tmp_path: Path) -> None:
    def watching() -> Iterator[dict[str, bytes]]:
        for number in range(3):
            written = {path.name for path in tmp_path.rglob("*.jpg")}
            assert written == {f"{earlier}.jpg" for earlier in range(number)}
            yield {f"{number}.jpg": b""}

    dataset.save(Report("page", "images", watching(), 3))


def test_loading_what_is_not_there_says_how_to_make_it(dataset: ReportDataset) -> None:
    with pytest.raises(DatasetError, match="kedro run --pipelines evaluation"):
        dataset.load()


def test_an_empty_page_deletes_the_old_one(tmp_path: Path) -> None:
    dataset = ReportDataset(
        filepath=str(tmp_path / "label_next.html"), pipeline="inference --params inference.images=PATH"
    )
    with pytest.raises(DatasetError, match=r"kedro run --pipelines inference --params inference\.images=PATH"):
        dataset.load()
    for kept in ([], ["for the talk.jpg"]):
        dataset.save(Report("one", "label_next_images", iter([{"a.jpg": b"1"}]), 1))
        for name in kept:
            (tmp_path / "label_next_images" / name).write_bytes(b"mine")
        dataset.save(Report("", "label_next_images", (), 0))
        assert not dataset.exists()
        assert list(contents(tmp_path)) == [f"label_next_images/{name}" for name in kept]
        assert (tmp_path / "label_next_images").exists() == bool(kept)
