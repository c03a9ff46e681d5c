"""The environment of imported data: ``conf/NAME`` and the table of images in ``data/01_raw/NAME``."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from voc_seg.config import DataConfig
from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID, Classes
from voc_seg.voc.table import COLUMNS, GROUP, write_table

from .class_plan import ClassPlan
from .classes import ClassRow
from .inspect import PairFacts, is_utf8
from .layout import VOID_NAME, Stored
from .settings_text import Setting, block_lines
from .stored import text_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_KEDROS = ("base", "local")


def require_valid_name(name: str) -> None:
    """Raise VocSegError if an environment cannot have this name."""
    if not _NAME.fullmatch(name) or name in _KEDROS or name.endswith("."):
        raise VocSegError(
            f"--name {name!r} cannot be the name of an environment: use letters, digits, - and _, and neither base "
            "nor local, for example --name trees"
        )


def table_path(project: Path, name: str) -> Path:
    """Return the table of images of an environment."""
    return project / "data" / "01_raw" / name / "images.csv"


def existing_data(project: Path, name: str) -> DataConfig | None:
    """Return the settings ``data`` of ``conf/NAME/parameters.yml``; None if there is no such file.

    Raises VocSegError if the environment reads other data, or its settings cannot be read.
    """
    folder = project / "conf" / name
    has_settings, has_globals = ((folder / f"{file}.yml").exists() for file in ("parameters", "globals"))
    if has_globals or (has_settings and not table_path(project, name).exists()):
        shared = _read_yaml(folder / "globals.yml") if has_globals else {}
        wanted = table_path(project, name).relative_to(project).as_posix()
        root = shared.get("voc_root")
        if shared.get("source") != "own" or not root or (project / str(root)) != project / wanted:
            raise VocSegError(
                f"{folder} is the environment of other data: its globals.yml has no voc_root: {wanted}. Choose another "
                "--name, or delete that folder."
            )
    if not has_settings:
        return None
    settings = _read_yaml(folder / "parameters.yml")
    try:
        return DataConfig.model_validate(settings.get("data") or {})
    except ValueError as error:
        raise VocSegError(f"{folder / 'parameters.yml'} is wrong: {error}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(found, dict):
            raise ValueError("it holds no settings of the form KEY: VALUE")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VocSegError(f"{path} cannot be read: {error}. Fix it, or delete the folder to write it again.") from error
    return found


def plan_of(table: Classes) -> ClassPlan:
    """Return the classes of settings as a plan."""
    names: dict[Stored, str] = {}
    for key, index in [*table.mask_colours] or enumerate(table.meaning().tolist()):
        if index >= 0:
            names[key] = VOID_NAME if index == VOID else table.names[index]
    return ClassPlan(table.names, table.colours, names)


def images_table(
    facts: Sequence[PairFacts], splits: Mapping[str, str], groups: Sequence[str], folder: Path, project: Path
) -> pd.DataFrame:
    """Return the table of images: paths inside the project are relative to ``folder``, others absolute.

    ``groups`` has the group of each image, empty for none.
    """

    folder, project = folder.resolve(), project.resolve()  # data/ may be a link to another disk

    def shown(path: Path | None) -> str:
        if path is None:
            return ""
        inside = path.is_relative_to(project) and folder.is_relative_to(project)
        return Path(os.path.relpath(path, folder) if inside else path).as_posix()

    rows = [
        (one.image_id, splits[one.image_id], shown(one.source.image), shown(one.source.mask), group)
        for one, group in zip(facts, groups, strict=True)
        if is_utf8(one.source)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, GROUP])


def write_environment(project: Path, name: str, table: pd.DataFrame, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write the table, and the files of ``conf/NAME`` that do not exist yet.

    Args:
        project: The project's folder.
        name: The environment.
        table: See `images_table`.
        texts: Text by file name, such as ``globals.yml``.

    Returns:
        The files written.
    """
    path = table_path(project, name)
    with atomic_write(path) as partial:
        write_table(partial, table)
    written = [path]
    for file, text in texts.items():
        target = project / "conf" / name / file
        if target.exists():
            continue
        with atomic_write(target) as partial:
            partial.write_text(text, encoding="utf-8")
        written.append(target)
    return tuple(written)


def globals_text(project: Path, name: str, folder: Path, title: str) -> str:
    """Return the text of ``globals.yml``."""
    where = table_path(project, name).relative_to(project).as_posix()
    return (
        f"# Written by kedro import-data from {_comment(folder.as_posix())}\n"
        f"# ({title}). images.csv lists every image with its mask and its split.\n"
        f"source: own\nvoc_root: {where}\n"
    )


def data_text(plan: ClassPlan, rows: Sequence[ClassRow]) -> str:
    """Return the lines of ``data.classes`` and ``data.values``, indented by two, with the totals as comments."""
    lines = ["  classes:                 # class index 0 comes first"]
    for name, colour in zip(plan.names, plan.colours):
        shown = f"{{name: {_scalar(name)}, colour: [{', '.join(map(str, colour))}]}}" if colour else _scalar(name)
        lines.append(f"    - {shown}")
    what = "colours in the masks" if plan.by_colour else "stored mask values"
    lines.append(f"  values:                  # what the {what} mean")
    totals = {row.name: row for row in rows}
    for name in (*plan.names, VOID_NAME):
        keys = [key for key, meaning in plan.values.items() if meaning == name]
        row = totals.get(name)
        note = f"    # {row.images} images, {100 * row.share:.2g} % of the pixels" if row else ""
        # A name that reads as a value or colour can only be the second of a pair.
        if len(keys) > 1 and not (name.strip().isdecimal() or name.startswith("#")):
            lines.append(f"    {_scalar(name)}: [{', '.join(map(_stored, keys))}]{note}")
        else:
            lines += [f"    {_stored(key)}: {_scalar(name)}{note}" for key in keys]
    return "\n".join(lines) + "\n"


def parameters_text(name: str, plan: ClassPlan, rows: Sequence[ClassRow], settings: Sequence[Setting]) -> str:
    """Return the text of ``parameters.yml``: the classes, and settings by block with their reasons."""
    blocks = dict.fromkeys(["data", *(one.key.partition(".")[0] for one in settings)])
    text = (
        "# Written by kedro import-data for this data; later imports keep what is here. Other settings are those of\n"
        f"# conf/base. Run: kedro run --env {name}\n"
    )
    for block in blocks:
        text += f"{block}:\n{data_text(plan, rows)}" if block == "data" else f"\n{block}:\n"
        text += block_lines(settings, block)
    return text


def _stored(key: Stored) -> str:
    return f'"{text_of(key)}"' if isinstance(key, tuple) else str(key)


def _scalar(text: str) -> str:
    """Return a name as YAML on one line, also inside braces: quoted where it would be read as something else."""
    listed = yaml.safe_dump([text], allow_unicode=True, default_flow_style=True, width=10**6)
    return listed.strip().removeprefix("[").removesuffix("]")


def _comment(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\n", " ")
