"""Settings files with slips in them: file, line, what is wrong and the remedy."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from voc_seg.hooks import RunStoppedError
from voc_seg.settings_files import CheckedConfigLoader

SLIPS: dict[str, tuple[str, bytes, str]] = {
    "tab": ("parameters.yml", b"training:\n\tepochs: 3\n", "line 2: .*replace the tab"),
    "conflict": ("parameters.yml", b"seed: 1\n<<<<<<< HEAD\nmodel: {}\n", "line 2: <<<<<<< is a mark of a merge"),
    "key twice": ("parameters.yml", b"seed: 1\nseed: 2\n", "line 2: .*duplicate key.*write the key once"),
    "Latin-1": ("parameters.yml", "seed: 1\n# \u00e9\n".encode("latin-1"), "line 2: this is not UTF-8"),
    "UTF-16": ("parameters.yml", "seed: 1\n".encode("utf-16"), "line 1: this is not UTF-8"),
    "list": ("parameters.yml", b"# mine\n- seed\n", "line 2: this file is a list"),
    "scalar": ("parameters.yml", b"seed\n", "line 1: this file is a single value"),
    "anchor": ("parameters.yml", b"model: *none\n", "line 1: .*undefined alias"),
    "globals": (
        "parameters.yml",
        b"training:\n  epochs: ${globals:no}\n",
        "line 2: training.epochs cannot be",
    ),
    "interpolation": ("parameters.yml", b"seed: ${\n", "line 1: seed cannot be resolved"),
    "catalog": ("catalog.yml", b"- a\n", "catalog.yml, line 1: this file is a list"),
    "globals file": ("globals.yml", b"source: {a\n", "globals.yml, line "),
    "credentials": ("credentials.yml", b"a:\n\tb: 1\n", "credentials.yml, line 2: "),
}


@pytest.fixture(scope="module")
def project(make_project: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


def _load(project: Path) -> None:
    bootstrap_project(project)
    with KedroSession.create(project) as session:
        _ = session.load_context().catalog


@pytest.mark.parametrize("slip", SLIPS)
def test_slips(project: Path, slip: str) -> None:
    name, content, message = SLIPS[slip]
    path = project / "conf" / "local" / name
    path.write_bytes(content)
    try:
        with pytest.raises(ClickException, match=message) as caught:
            _load(project)
    finally:
        path.unlink()
    assert str(path) in str(caught.value)


def test_bytes_that_do_no_harm(project: Path) -> None:
    path = project / "conf" / "local" / "parameters.yml"
    for content in (b"", b"# nothing\n", b"\xef\xbb\xbfseed: 1\n"):
        path.write_bytes(content)
        _load(project)
    path.unlink()


def test_two_files_with_one_key(project: Path) -> None:
    paths = [project / "conf" / "local" / f"parameters_{name}.yml" for name in "ab"]
    for path in paths:
        path.write_text("seed: 1\n")
    with pytest.raises(ClickException, match=r"Duplicate keys found in .*: seed") as caught:
        _load(project)
    assert "\n" not in str(caught.value)
    for path in paths:
        path.unlink()


def test_a_folder_whose_name_is_a_pattern(make_project: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ClickException, match=r"rename the folder"):
        _load(make_project(tmp_path / "a[1]"))


@pytest.mark.parametrize("given", ["training={epochs: 3", "comparison.runs=*"])
def test_params(project: Path, given: str) -> None:
    from voc_seg.cli import run

    result = CliRunner().invoke(run, ["--params", given])
    assert result.exit_code == 2
    assert f"{given!r} cannot be read" in result.output


@pytest.mark.parametrize("kind", ["pipe", "dangling link", "link in a circle"])
def test_settings_that_are_no_file_are_not_passed_over(tmp_path: Path, kind: str) -> None:
    for env in ("base", "local"):
        (tmp_path / env).mkdir()
    (tmp_path / "base/parameters.yml").write_text("seed: 1")
    path = tmp_path / "local/parameters.yml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else path.name)
    loader = CheckedConfigLoader(tmp_path, base_env="base", default_run_env="local")
    with pytest.raises(RunStoppedError, match=r"local/parameters\.yml is no ordinary file, or a link to nothing"):
        loader["parameters"]
