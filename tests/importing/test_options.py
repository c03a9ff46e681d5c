"""``kedro import-data``: options that are refused, and a page that cannot be written."""

import subprocess
import sys
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


def test_two_imports_at_once(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    page_folder = tmp_path / "data/08_reporting"
    page_folder.mkdir(parents=True)
    other = (
        "import sys; from pathlib import Path; from voc_seg.system.lock import acquire_lock;"
        "lock = acquire_lock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", other, str(page_folder / ".import_data.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == b"locked\n"
        done = CliRunner().invoke(
            import_folder, [str(folder), "--name", "farm"], obj=SimpleNamespace(project_path=tmp_path)
        )
        process.communicate()
    assert done.exit_code == 1 and "Another kedro import-data runs" in caplog.text
    assert not (tmp_path / "conf").exists()


def test_torchrun_imports_nothing(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voc_seg.importing.command.process_info", lambda: SimpleNamespace(world_size=2))
    project = SimpleNamespace(project_path=tmp_path)
    done = CliRunner().invoke(import_folder, [str(folder), "--name", "farm"], obj=project)
    assert done.exit_code == 1 and "Run it without torchrun" in caplog.text
