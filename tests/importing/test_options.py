"""``kedro import-data``: options that are refused, and a page that cannot be written."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from voc_seg.cli import import_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        rng = np.random.default_rng(number)
        for name, pixels in (
            ("images", rng.integers(0, 255, (70, 80, 3), dtype=np.uint8)),
            ("masks", np.full((70, 80), 255, np.uint8) * (np.arange(80) > 20 + 5 * number).astype(np.uint8)),
        ):
            (tmp_path / "farm" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "farm" / name / f"{number}.png")
    return tmp_path / "farm"


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(import_folder, [str(tmp_path), "--check", "--seed", "-1"])
    assert done.exit_code == 2 and "'--seed': -1 is not in the range" in done.output


def test_a_page_that_cannot_be_written_does_not_hide_the_result(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/08_reporting").write_text("no folder")
    project = SimpleNamespace(project_path=tmp_path)
    done = CliRunner().invoke(import_folder, [str(folder), "--name", "farm"], obj=project)
    assert done.exit_code == 0, done.output
    assert "There is no page to look at. Could not write" in caplog.text
    assert (tmp_path / "conf/farm/parameters.yml").is_file()
