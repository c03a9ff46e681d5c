"""Settings files with mistakes: file, line, what is wrong and the fix."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click import ClickException
from click.testing import CliRunner
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from voc_seg.hooks.errors import RunStoppedError
from voc_seg.hooks.settings_files import CheckedConfigLoader

SLIPS: dict[str, tuple[str, bytes, str]] = {
    "tab": ("parameters.yml", b"training:\n\tepochs: 3\n", "line 2: .*replace the tab"),
    "conflict": ("parameters.yml", b"seed: 1\n<<<<<<< HEAD\nmodel: {}\n", "line 2: <<<<<<< is a merge conflict marker"),
    "key twice": ("parameters.yml", b"seed: 1\nseed: 2\n", "line 2: .*duplicate key.*write the key once"),
    "Latin-1": ("parameters.yml", "seed: 1\n# \u00e9\n".encode("latin-1"), "line 2: not UTF-8"),
    "UTF-16": ("parameters.yml", "seed: 1\n".encode("utf-16"), "line 1: not UTF-8"),
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
    # Valid YAML, but not valid settings.
    "alias bomb": (
        "parameters.yml",
        b"a: &a [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 9)) for name in b"bcdefghij"),
        "line 5: its aliases",
    ),
    "block that holds itself": ("globals.yml", b"seed: 1\na: &x {b: *x}\n", "line 2: its aliases"),
    "deep": ("parameters.yml", b"a: " + b"[" * 600 + b"]" * 600, "nested too deeply"),
    "number as key": ("globals.yml", b"a: 1\n2: 3\n", "line 2: the key 2 is not text"),
    "null as key": ("catalog.yml", b"~: 3\n", "line 1: the key ~ is not text"),
    "set": ("parameters.yml", b"seed: !!set {x}\n", "line 1: !!set cannot be used in settings"),
    "left open": ("parameters.yml", b"seed: ???\n", r"line 1: \?\?\? is a placeholder"),
    "no entry": ("catalog.yml", b"# mine\nmine: {filepath: a}\n", "line 2: the catalog entry mine has no type"),
    "removed": (
        "catalog.yml",
        b"previous_val_index: {type: voc_seg.datasets.EarlierTableDataset, filepath: a}\n",
        "line 1: the catalog entry previous_val_index is no longer used\\. .* option index of val_split",
    ),
    "open bracket": ("parameters.yml", b"seed: 1\nb: [1, 2\nc: 3\n", "line 2: .*close the bracket that opens there"),
    "open brace": ("parameters.yml", b"seed: 1\nb: {c: 1,\n  d: 3\ne: 4\n", "line 2: .*close the bracket"),
    "open quote": ("parameters.yml", b"seed: 1\nb: 'c\nd: 3\n", "line 2: .*close the quote that opens there"),
    "CRLF": ("parameters.yml", b"training:\r\n\tepochs: 3\r\n", "line 2: .*replace the tab"),
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
    with pytest.raises(ClickException, match=r"Rename the folder"):
        _load(make_project(tmp_path / "a[1]"))


@pytest.mark.parametrize("given", ["training={epochs: 3", "comparison.runs=*"])
def test_params(project: Path, given: str) -> None:
    from voc_seg.cli import run

    result = CliRunner().invoke(run, ["--params", given])
    assert result.exit_code == 2
    assert f"{given!r} cannot be read" in result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version: 1\na:\n\tb: 1\n", "line 3: .*replace the tab"),
        ("- a\n", "line 1: this file is a list"),
        ("version: 1\nhandlers:\n  one: {class: logging.NoHandler}\n", "NoHandler"),
        ("version: 1\nloggers:\n  one: {level: LOUD}\n", "line 3: .*LOUD"),
        (None, "No such file"),
    ],
    ids=["tab", "list", "class", "level", "missing"],
)
def test_the_logging_file(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "logging.yml"
    if content:
        path.write_text(content)
    run = subprocess.run(
        [sys.executable, "-m", "voc_seg", "--help"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"KEDRO_LOGGING_CONFIG": str(path)},
    )  # fmt: skip
    assert run.returncode == 1
    assert re.search(message, run.stderr)
    assert str(path) in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("command", ["viz", "ipython"])
def test_commands_that_would_give_a_traceback_look_at_the_settings_first(project: Path, command: str) -> None:
    from kedro.framework.cli.hooks import get_cli_hook_manager

    import voc_seg.cli  # noqa: F401

    def ask(*arguments: str) -> None:
        get_cli_hook_manager().hook.before_command_run(
            project_metadata=bootstrap_project(project), command_args=[command, *arguments]
        )

    ask()
    path = project / "conf" / "voc2012" / "parameters.yml"
    kept = path.read_bytes()
    path.write_bytes(b"a:\n\tb: 1\n")
    try:
        ask("--help")
        with pytest.raises(SystemExit, match="1"):
            ask("--env", "voc2012")
    finally:
        path.write_bytes(kept)


def test_a_sweep_names_the_line(project: Path) -> None:
    from voc_seg.sweep.sweep import SweepOptions, run_sweep

    bootstrap_project(project)
    path = project / "conf" / "local" / "parameters.yml"
    path.write_text("training:\n\tepochs: 3\n")
    try:
        with pytest.raises(ClickException, match="line 2"):
            run_sweep(project, SweepOptions(("training.epochs=1,2",), "", ("training",), 1, "", None))
    finally:
        path.unlink()


@pytest.mark.parametrize("kind", ["pipe", "dangling link", "link in a circle"])
def test_settings_that_are_not_files_are_refused(tmp_path: Path, kind: str) -> None:
    for env in ("base", "local"):
        (tmp_path / env).mkdir()
    (tmp_path / "base/parameters.yml").write_text("seed: 1")
    path = tmp_path / "local/parameters.yml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere" if kind == "dangling link" else path.name)
    loader = CheckedConfigLoader(tmp_path, base_env="base", default_run_env="local")
    with pytest.raises(RunStoppedError, match=r"local/parameters\.yml is not a regular file"):
        loader["parameters"]


def test_the_lock_file_of_an_editor_is_ignored(tmp_path: Path) -> None:
    """Emacs leaves a broken link beside a file with unsaved changes; Kedro skips hidden files, too."""
    (tmp_path / "base/parameters").mkdir(parents=True)
    (tmp_path / "base/parameters/a.yml").write_text("seed: 1")
    (tmp_path / "base/parameters/.#a.yml").symlink_to("user@host.4242")
    assert CheckedConfigLoader(tmp_path, base_env="base", default_run_env="base")["parameters"] == {"seed": 1}
