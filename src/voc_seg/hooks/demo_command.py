"""``kedro demo``: the page of an exported model in the browser."""

import logging
import os
import webbrowser
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from voc_seg.system.atomic_folder import recover_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.loopback import serve_folder

from .kedro_internals import path_of

logger = logging.getLogger(__name__)


def _read_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Read ``--params`` as ``kedro run`` does."""
    (own,) = [one for one in run.params if one.name == "params"]
    return own.callback(context, option, value) if own.callback else value


@click.command()
@click.option("--params", default="", callback=_read_params, help="run=NAME for the model of a named run.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; default: a free one.")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.", show_default=True)
@env_option
@click.pass_obj
def demo(metadata: ProjectMetadata, /, params: dict[str, Any], port: int, browser: bool, env: str | None) -> None:
    """Open the page that tries the exported model in the browser; only this computer can reach it.

    The page is written by: kedro run --pipelines export
    """
    try:
        folder = demo_folder(metadata.project_path, env or os.environ.get("KEDRO_ENV"), params)
        serve_folder(folder, port, lambda address: _show(address, browser))
    except VocSegError as error:
        logger.error("%s", error)
        raise SystemExit(1) from None


def demo_folder(project: Path, env: str | None, params: dict[str, Any]) -> Path:
    """The folder of the page. Raises VocSegError if it has not been written."""
    session = KedroSession.create(project, env=env, runtime_params=params)
    with session:
        folder = path_of(session.load_context().catalog, "demo_page")
    assert folder is not None, "a FilesDataset has a folder"
    recover_folder(folder)
    if not (folder / "index.html").is_file():
        raise VocSegError(f"There is no page at {folder}. Make it with: kedro run --pipelines export")
    return folder


def _show(address: str, browser: bool) -> None:
    logger.info("The demo page is at %s. Stop with Ctrl+C.", address)
    if browser:
        webbrowser.open(address)
