"""Commands of this project in addition to Kedro's: ``kedro sweep``."""

import argparse
import logging
import os
from pathlib import Path

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.hooks import cli_hook_impl, get_cli_hook_manager
from kedro.framework.cli.project import run  # Kedro finds ``python -m voc_seg`` here
from kedro.framework.cli.utils import env_option, split_string
from kedro.framework.session import KedroSession
from kedro.framework.startup import ProjectMetadata

from voc_seg.hooks.option_values import accept_lists, explain_option, keep_config_path
from voc_seg.hooks.run_options import checked_runner
from voc_seg.hooks.settings_files import explain_params
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import process_info

__all__ = ["cli", "run"]

logger = logging.getLogger(__name__)

run.callback = checked_runner(run.callback)

for _option in run.params:
    if _option.name == "params" and _option.callback:
        _option.callback = explain_params(accept_lists(_option.callback))
    if _option.name == "config" and _option.callback:
        _option.callback = keep_config_path(_option.callback)
    if _option.name == "load_versions" and _option.callback:
        _option.callback = explain_option(_option.callback)


class _SettingsHooks:
    """Checks the settings before commands that would otherwise show a traceback, ``kedro viz`` after ten minutes."""

    @cli_hook_impl
    def before_command_run(self, project_metadata: ProjectMetadata | None, command_args: list[str]) -> None:
        is_checked = command_args[:1] in (["viz"], ["ipython"]) and not {"-h", "--help"} & {*command_args}
        if project_metadata is None or not is_checked:
            return
        env = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        env.add_argument("-e", "--env", default=os.environ.get("KEDRO_ENV"))
        try:
            given = env.parse_known_args(command_args)[0].env
            session = KedroSession.create(project_metadata.project_path, env=given)
            with session:
                _ = session.load_context().catalog
        except click.ClickException:  # the message has been logged
            raise SystemExit(1) from None
        except Exception as error:  # the command reports anything else itself
            logger.debug("The settings could not be checked", exc_info=error)


get_cli_hook_manager().register(_SettingsHooks(), "voc_seg.settings")


@click.group(name="voc_seg")
def cli() -> None:
    """Commands of this project."""


@cli.command()
@click.option(
    "--grid", "grid", multiple=True, required=True, metavar="KEY=V1,V2",
    help="Setting to vary and its values; write lists with spaces. Repeat it to combine several settings.",
)  # fmt: skip
@click.option("--params", default="", help="Settings of all runs, as for kedro run.")
@click.option(
    "--pipelines",
    default="training,evaluation",
    callback=split_string,
    show_default=True,
    help="Pipelines of each run.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at the same time.")
@click.option("--name", default="", help="Prefix of the run names, to keep sweeps apart.")
@env_option
@click.pass_obj
def sweep(
    metadata: ProjectMetadata,
    /,
    grid: tuple[str, ...],
    params: str,
    pipelines: list[str],
    jobs: int,
    name: str,
    env: str | None,
) -> None:
    """Run every combination of settings, each in data/runs/NAME, and compare the runs on val.

    Run the same command again to resume: finished runs are skipped, interrupted and failed ones resumed.
    """
    from voc_seg.sweep.sweep import SweepOptions, run_sweep  # slow to import

    try:
        if process_info().world_size > 1:
            raise VocSegError(
                "A sweep needs a single process, but torchrun has started several. Run it without torchrun."
            )
        env = env or os.environ.get("KEDRO_ENV")  # as in the runs
        code = run_sweep(Path(metadata.project_path), SweepOptions(grid, params, tuple(pipelines), jobs, name, env))
    except (VocSegError, MissingConfigException) as error:
        logger.error("%s", error)
        code = 1
    raise SystemExit(code)
