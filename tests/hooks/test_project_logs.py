"""The log file is in the project, wherever a run is started."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project

from voc_seg.hooks.multiprocess import RankSession

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the root logger's handlers after the test."""
    root = logging.getLogger()
    before = list(root.handlers)
    files = {handler: handler.baseFilename for handler in before if isinstance(handler, logging.FileHandler)}
    yield
    root.handlers = before
    for handler, name in files.items():
        handler.close()
        handler.stream = None
        handler.baseFilename = name


def _log(project: Path, conf: Path | None = None, line: str = "a line") -> None:
    with RankSession.create(project, conf_source=conf and str(conf)) as session:
        session.load_context()
    logging.getLogger("voc_seg.test").debug(line)


def _forget_log_files() -> None:
    """Set up logging as Kedro does without conf/logging.yml."""
    root = logging.getLogger()
    root.handlers = [
        one
        for one in root.handlers
        if not (isinstance(one, logging.FileHandler) and Path(one.baseFilename).name == "training.log")
    ]


@pytest.mark.parametrize("with_handler", [True, False], ids=["of another project", "none"])
def test_a_session_started_elsewhere(make_project: Callable, tmp_path: Path, with_handler: bool) -> None:
    project = make_project(tmp_path / "project")
    bootstrap_project(project)
    if not with_handler:
        _forget_log_files()
    _log(project)
    _log(project, line="another")
    text = (project / "logs/training.log").read_text()
    assert text.count("a line") == text.count("another") == 1
    assert " DEBUG   voc_seg.test: a line" in text


def test_settings_in_an_archive(make_project: Callable, tmp_path: Path) -> None:
    bootstrap_project(make_project(tmp_path / "project"))
    _forget_log_files()
    archive = shutil.make_archive(str(tmp_path / "conf"), "gztar", ROOT, "conf")
    (tmp_path / "empty").mkdir()
    _log(tmp_path / "empty", Path(archive))
    assert "a line" in (tmp_path / "empty/logs/training.log").read_text()


def test_the_user_decides_about_log_files(
    make_project: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project")
    bootstrap_project(project)
    _forget_log_files()
    (project / "conf/logging.yml").write_text("version: 1\nroot: {handlers: [console]}\n")
    _log(project)
    assert not (project / "logs").exists()
    monkeypatch.setenv("KEDRO_LOGGING_CONFIG", "mine.yml")
    shutil.copy(ROOT / "conf/logging.yml", project / "conf")
    _log(project)
    assert not (project / "logs").exists()
