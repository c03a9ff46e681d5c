"""The notebooks run from top to bottom, and are stored without outputs."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from voc_seg.scenes.sample import write_scenes

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ("colab_t4.ipynb", "explore_data.ipynb", "inspect_run.ipynb")
"""The first is for Google Colab and a GPU: it is not run here."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable, run_kedro: Callable) -> Path:
    folder = make_project(tmp_path_factory.mktemp("notebooks"))
    (folder / "notebooks").mkdir()
    write_scenes(folder / "voc", {"train": 4, "val": 2, "test": 1})
    run_kedro(folder, training={"epochs": 1})
    return folder


def test_there_are_three() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_stored_without_output(name: str) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id
            assert len(cell.source.splitlines()) <= 14, f"{cell.id} is long: a function in the package is lacking"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figures"), [("explore_data.ipynb", 3), ("inspect_run.ipynb", 4)])
def test_runs_from_top_to_bottom(name: str, figures: int, project: Path) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    resources = {"metadata": {"path": str(project / "notebooks")}}
    NotebookClient(notebook, timeout=60, resources=resources).execute()  # a cell that fails raises
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == figures
    assert not [output for output in outputs if output.get("name") == "stderr"]
