"""The Python package of the project: ``voc_seg`` itself, or that of a project made by the starter."""

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from kedro.framework import project
from kedro.pipeline import Pipeline


def package_name() -> str:
    """The package that Kedro has been configured with; ``python -m`` runs it."""
    return project.PACKAGE_NAME or "voc_seg"


def pipeline_modules() -> dict[str, str]:
    """The module of every pipeline by name, from the folders under ``pipelines/``.

    The pipelines of a project made by the starter are added to those of ``voc_seg``; one of the same name replaces it.
    """
    modules: dict[str, str] = {}
    for package in dict.fromkeys(("voc_seg", package_name())):
        spec = find_spec(f"{package}.pipelines")
        for folder in (spec and spec.submodule_search_locations) or ():
            names = (path.parent.name for path in Path(folder).glob("*/__init__.py"))
            modules |= {name: f"{package}.pipelines.{name}" for name in names}
    return dict(sorted(modules.items()))


def load_pipelines(names: Iterable[str]) -> dict[str, Pipeline]:
    """The pipelines of these names; only their modules are imported. Raises ImportError as Kedro's find_pipelines."""
    modules, loaded = pipeline_modules(), {}
    for name in names:
        try:
            create = import_module(modules[name]).create_pipeline
        except Exception as error:
            raise ImportError(f"An error occurred while importing the '{modules[name]}' module.") from error
        loaded[name] = create()
    return loaded
