"""Commands of this project in addition to Kedro's: ``kedro import-data``, ``sweep``, ``serve`` and ``demo``."""

import argparse
import json
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
from rich import get_console

from voc_seg.hooks.demo_command import demo
from voc_seg.hooks.option_values import accept_lists, explain_option, keep_config_path
from voc_seg.hooks.run_options import checked_runner
from voc_seg.hooks.settings_files import explain_params
from voc_seg.serving.command import serve
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


cli.add_command(serve)
cli.add_command(demo)


@cli.command()
@click.option(
    "--grid", "grid", multiple=True, metavar="KEY=V1,V2",
    help="Setting to vary and its values; write lists with spaces. Repeat it to combine several settings.",
)  # fmt: skip
@click.option("--params", default="", help="Settings of all runs, as for kedro run.")
@click.option(
    "--folds", type=click.IntRange(min=2), default=None, metavar="K",
    help="Run every combination on each of K folds of train, and pool the scores of the folds.",
)  # fmt: skip
@click.option(
    "--ensemble", is_flag=True, help="With --folds: also join the models of all folds as one, and score it on val."
)
@click.option(
    "--search", "search", multiple=True, metavar="KEY=RANGE",
    help="Setting to search, in place of --grid, and its range: log:1e-3..1e-1, 0.1..0.5, int:1..4 or choice:a,b. "
    "Repeat it to search several settings together.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), default=None, metavar="N",
              help="With --search: number of runs, over all machines that share the storage.")  # fmt: skip
@click.option("--storage", default=None, metavar="URL",
              help="With --search: database of the trials, as for Optuna; by default data/sweeps.db.")  # fmt: skip
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
    folds: int | None,
    ensemble: bool,
    search: tuple[str, ...],
    trials: int | None,
    storage: str | None,
    pipelines: list[str],
    jobs: int,
    name: str,
    env: str | None,
) -> None:
    """Run every combination of settings, each in data/runs/NAME, and compare the runs on val, or pool those on folds.

    With --search, Optuna chooses the settings of --trials runs and stops those that do badly.

    Run the same command again to resume: finished runs are skipped, interrupted and failed ones resumed.
    """
    from voc_seg.sweep.options import SweepOptions  # slow to import
    from voc_seg.sweep.search import run_search
    from voc_seg.sweep.sweep import run_sweep

    try:
        if process_info().world_size > 1:
            raise VocSegError(
                "A sweep needs a single process, but torchrun has started several. Run it without torchrun."
            )
        env = env or os.environ.get("KEDRO_ENV")  # as in the runs
        options = SweepOptions(
            grid, params, tuple(pipelines), jobs, name, env, folds or 0, ensemble, search, trials or 0, storage
        )
        code = (run_search if search else run_sweep)(Path(metadata.project_path), options)
    except (VocSegError, MissingConfigException) as error:
        logger.error("%s", error)
        code = 1
    raise SystemExit(code)


class _CommandWithLists(click.Command):
    """Takes ``--classes 0=a, 1=b`` without quotes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from voc_seg.importing.overrides import join_lists

        return super().parse_args(ctx, join_lists(args))


@cli.command("import-data", cls=_CommandWithLists)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Environment to write, conf/NAME. Then run: kedro run --env NAME")
@click.option("--layout", default="", help="Layout of the folder, if several fit.")
@click.option("--classes", multiple=True, metavar="0=background,255=tree",
              help="Names by stored value, range (1-9=cell), colour (#ff0000=roof) or name as found.")  # fmt: skip
@click.option("--merge", multiple=True, metavar="animal=cat+dog", help="Classes or values to merge into one.")
@click.option("--void", multiple=True, metavar="4,250-255", help="Values, colours or classes to leave unlabelled.")
@click.option("--val", type=click.FloatRange(0, 1), default=0.2, show_default=True,
              help="Fraction of the images for val, if the folder has no splits.")  # fmt: skip
@click.option("--test", type=click.FloatRange(0, 1), default=0.1, show_default=True,
              help="Fraction of the images for test, if the folder has no splits; 0 makes none.")  # fmt: skip
@click.option("--group-by", default="", metavar="REGEX",
              help="Images whose paths match with the same text stay in one split, as in 'patient_\\d+'.")  # fmt: skip
@click.option("--channels", type=click.IntRange(1), default=None,
              help="Channels of the images, if not RGB. TIFF files with more bands are recognised.")  # fmt: skip
@click.option("--range", "value_range", type=float, nargs=2, default=None, metavar="LOW HIGH",
              help="Stored values that become black and white, for images of more than 8 bits.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the splits.")
@click.option("--check", is_flag=True,
              help="Only examine the data: write nothing but the page. With --name, masks mean what conf/NAME says. "
              "Exit code 1 for errors.")  # fmt: skip
@click.option("--strict", is_flag=True, help="With --check: warnings count as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_obj
def import_folder(
    metadata: ProjectMetadata,
    /,
    folder: Path,
    name: str,
    layout: str,
    classes: tuple[str, ...],
    merge: tuple[str, ...],
    void: tuple[str, ...],
    val: float,
    test: float,
    group_by: str,
    channels: int | None,
    value_range: tuple[float, float] | None,
    seed: int,
    check: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Recognise the images and masks of FOLDER and write an environment for them.

    Images and masks stay where they are. Layouts: labelme, CVAT, COCO, Roboflow, Label Studio, VOC, folder pairs and
    more; docs/own_data.md lists them.

    \b
    kedro import-data FOLDER --name trees    writes conf/trees and data/01_raw/trees
    kedro run --env trees                    checks, trains, evaluates and reports
    """
    from voc_seg.download.imagenet import ADDRESS, imagenet_weights_available
    from voc_seg.importing.command import ImportOptions, import_data, import_lock  # slow to import
    from voc_seg.importing.findings import exit_code
    from voc_seg.importing.output import closing, summary, summary_json
    from voc_seg.importing.overrides import parse_overrides
    from voc_seg.reporting.data_check import write_data_check

    project, console = Path(metadata.project_path), get_console()
    if as_json:
        logging.disable(logging.CRITICAL)  # the console would print log lines between
    try:
        if not (name or check):
            raise VocSegError("Give the environment a name with --name NAME, or only examine the folder with --check.")
        _lock = import_lock(project)
        overrides = parse_overrides(*map(",".join, (classes, merge, void)))
        writes_settings = not check and not (project / "conf" / name / "parameters.yml").exists()
        pretrained = writes_settings and imagenet_weights_available()  # asks a server
        settings = ImportOptions(
            folder, name, check, layout, overrides, val, test, group_by, seed, channels or 0, value_range, pretrained
        )
        imported = import_data(project, settings)
    except VocSegError as error:
        if as_json:
            click.echo(json.dumps({"error": str(error)}))
        else:
            logger.error("%s", error)
        raise SystemExit(1) from None
    path = project / "data/08_reporting/data_check.html"
    page: Path | None = path
    try:
        write_data_check(
            path, name or folder.resolve().name, imported.facts, imported.plan, imported.splits, imported.found,
            imported.findings, imported.pixels,
        )  # fmt: skip
    except VocSegError as error:  # the environment has been written
        logger.warning("There is no page to look at. %s", error)
        page = None
    if as_json:
        click.echo(json.dumps(summary_json(imported), ensure_ascii=False, indent=1))
    else:
        console.print(summary(imported))
        console.print(closing(imported, "" if check else name, page, project, ADDRESS))
    raise SystemExit(exit_code(imported.findings, strict) if check else 0)
