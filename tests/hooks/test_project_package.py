"""The pipelines of a project that has a package of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.framework import project
from kedro.framework.project import configure_project, pipelines

from voc_seg.hooks.project_package import load_pipelines, package_name, pipeline_modules

_EMPTY = "from kedro.pipeline import Pipeline\n\n\ndef create_pipeline(**kwargs):\n    return Pipeline([])\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package ``oaks`` that Kedro is configured with."""
    folder = tmp_path / "oaks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(project, "PACKAGE_NAME", "oaks")
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "oaks"]:
        del sys.modules[name]


def write(package: Path, name: str, text: str) -> None:
    (package / "pipelines" / name).mkdir(parents=True)
    (package / "pipelines/__init__.py").touch()
    (package / "pipelines" / name / "__init__.py").write_text(text)


def test_pipelines_are_added_or_replace_ours(package: Path) -> None:
    ours = pipeline_modules()
    assert set(ours.values()) == {f"voc_seg.pipelines.{name}" for name in ours}
    write(package, "mine", _EMPTY)
    write(package, "sanity", _EMPTY)
    added = {name: f"oaks.pipelines.{name}" for name in ("mine", "sanity")}
    assert pipeline_modules() == ours | added
    loaded = load_pipelines(["mine", "sanity", "comparison"])
    assert [len(pipeline.nodes) > 0 for pipeline in loaded.values()] == [False, False, True]


@pytest.mark.parametrize("text", ["raise RuntimeError('inside')", "x = 1", "def"])
def test_a_pipeline_that_cannot_be_imported_is_named(package: Path, text: str) -> None:
    write(package, "broken", text)
    with pytest.raises(ImportError, match=r"importing the 'oaks\.pipelines\.broken' module"):
        load_pipelines(["broken"])


def test_without_a_package_of_its_own_the_project_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "PACKAGE_NAME", None)
    assert package_name() == "voc_seg"


def test_only_the_pipelines_of_a_run_are_loaded() -> None:
    configure_project("voc_seg")
    pipelines.set_requested(["comparison"])
    assert list(pipelines) == ["comparison"]
    pipelines.set_requested(["comparison", "__default__"])
    assert {"__default__", "training", "comparison"} <= set(pipelines)
    pipelines.set_requested(None)
