"""Write the generated parts of the pages: the tables of settings, and the drawing of the packages.

    python docs/generate.py

Both come from the code: settings from the models in ``voc_seg.config`` and the values in ``conf``, the drawing from the
imports in ``src/voc_seg``. ``tests/test_docs.py`` fails if a page is out of date.
"""

import ast
import html
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import grimp
import yaml
from pydantic import BaseModel

from voc_seg.config import Parameters

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/voc_seg"
ENTRY_POINTS = "entry points"
"""Name of the box for the modules of ``src/voc_seg`` that are in no package."""


def generated() -> dict[Path, str]:
    """The content that each file with generated parts should have."""
    packages = read_packages()
    pages = {"settings.md": ("settings", settings_tables()), "design.md": ("packages", package_table(packages))}
    files = {ROOT / "docs" / name: _replace(name, *part) for name, part in pages.items()}
    return files | {ROOT / "docs/design.svg": drawing(packages)}


def _replace(name: str, part: str, content: str) -> str:
    """A page with the text between its two markers replaced."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    start, end = f"<!-- generated: {part} -->\n", f"<!-- end of generated: {part} -->"
    before, after = page.split(start)[0], page.split(end)[1]
    return f"{before}{start}\n{content}\n{end}{after}"


# Settings


def settings_tables() -> str:
    """One table per block of settings, as Markdown."""
    base, voc = (_parameters(environment) for environment in ("base", "voc2012"))
    blocks = {name: field.annotation for name, field in Parameters.model_fields.items() if _is_block(field.annotation)}
    single = [name for name in Parameters.model_fields if name not in blocks]
    parts = ["## General", _table(_rows(Parameters, "", base, voc, single))]
    for name, block in blocks.items():
        parts += [f"## {name}", _first_sentence(block.__doc__), _table(_rows(block, f"{name}.", base, voc))]
    return "\n\n".join(parts) + "\n"


def _parameters(environment: str) -> dict[str, Any]:
    files = sorted((ROOT / "conf" / environment).glob("parameters*.yml"))
    return {key: value for path in files for key, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def _is_block(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _rows(
    model: type[BaseModel], prefix: str, base: dict, voc: dict, names: Iterable[str] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """Key, value in ``base``, value in ``voc2012`` and description of every setting of a block and those inside it."""
    for name in names if names is not None else model.model_fields:
        field = model.model_fields[name]
        key = prefix + name
        if _is_block(field.annotation):
            yield from _rows(field.annotation, f"{key}.", base, voc)
        else:
            yield f"`{key}`", _value(base, key), _value(voc, key), field.description or ""


def _value(settings: Any, key: str) -> str:
    """A value as YAML has it; empty if the files do not set it."""
    for part in key.split("."):
        if not isinstance(settings, dict) or part not in settings:
            return ""
        settings = settings[part]
    return settings if isinstance(settings, str) else json.dumps(settings)


def _table(rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = [("setting", "base", "voc2012", "meaning"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _first_sentence(docstring: str | None) -> str:
    """The first sentence of a docstring, without the backticks of its code."""
    text = " ".join((docstring or "").partition("\n\n")[0].split()).replace("``", "")
    return re.split(r"(?<=\.)\s", text)[0]


# Packages


def read_packages() -> dict[str, tuple[str, set[str]]]:
    """For each package, the first sentence about it and the packages that it imports."""
    loose = sorted(path for path in PACKAGE.glob("*.py") if path.name != "__init__.py")
    docstrings = {
        path.parent.name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.glob("*/__init__.py"))
    }
    found = {ENTRY_POINTS: (", ".join(path.name for path in loose), {"pipelines"})}  # which Kedro imports by name
    found |= {name: (_first_sentence(docstring), set()) for name, docstring in docstrings.items()}
    graph = grimp.build_graph("voc_seg", cache_dir=None)
    for module in graph.modules:
        importer = module.split(".")[1:]
        for other in graph.find_modules_directly_imported_by(module):
            name = importer[0] if importer and importer[0] in docstrings else ENTRY_POINTS
            imported = other.split(".")[1:2]
            if importer and imported and imported[0] in docstrings and imported[0] != name:
                found[name][1].add(imported[0])
    return found


def layers(packages: dict[str, tuple[str, set[str]]]) -> list[list[str]]:
    """Packages by layer, the highest first: each package is above those it imports and as close to them as possible."""
    graph = {name: imported for name, (_, imported) in packages.items()}
    upwards = [*TopologicalSorter(graph).static_order()]  # CycleError if packages import each other
    level = dict.fromkeys(graph, 0)
    for upper in reversed(upwards):
        for lower in graph[upper]:
            level[lower] = max(level[lower], level[upper] + 1)
    for upper in upwards:
        level[upper] = min((level[lower] - 1 for lower in graph[upper]), default=level[upper])
    return [sorted(name for name in level if level[name] == layer) for layer in range(max(level.values()) + 1)]


def package_table(packages: dict[str, tuple[str, set[str]]]) -> str:
    """The drawing, and one row per package from top to bottom, as Markdown."""
    lines = ["![The packages in rows; lines lead from a package down to those it imports](design.svg)", ""]
    lines += ["| package | content | imports |", "|---|---|---|"]
    for layer in layers(packages):
        for name in layer:
            about, imported = packages[name]
            shown = name if name == ENTRY_POINTS else f"`{name}`"
            about = about.replace("__", r"\_\_")  # not bold
            lines.append(f"| {shown} | {about} | {', '.join(sorted(imported)) or 'nothing'} |")
    return "\n".join(lines) + "\n"


WIDTH, BOX, HIGH, GAP = 1000, 216, 78, 52
"""Width of the drawing and of a box, height of a box and distance between rows, in pixels."""


def drawing(packages: dict[str, tuple[str, set[str]]]) -> str:
    """The packages as SVG: one row per layer, and a line for each import that is not implied by a longer path."""
    rows = layers(packages)
    positions = {
        name: ((column + 0.5) * WIDTH / len(row), 16 + number * (HIGH + GAP))
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    height = 16 + len(rows) * (HIGH + GAP) - GAP + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for upper, lower in sorted(_direct(packages)):
        (x, y), (to_x, to_y) = positions[upper], positions[lower]
        parts.append(
            f'<line x1="{x:.0f}" y1="{y + HIGH}" x2="{to_x:.0f}" y2="{to_y}" stroke="#8a97a6" stroke-width="1.3"/>'
        )
    for name, (x, y) in positions.items():
        parts.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HIGH}" rx="6" fill="#eef3f9" '
            'stroke="#2364aa"/>'
        )
        parts.append(_text(x, y + 19, name, "13", "#16202b", "bold"))
        about = textwrap.shorten(packages[name][0].partition(";")[0].rstrip("."), 96, placeholder=" ...")
        lines = textwrap.wrap(about, 36)
        parts += [_text(x, y + 36 + 13 * n, line, "10.5", "#4a5663") for n, line in enumerate(lines)]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, size: str, colour: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{html.escape(text)}</text>'
    )


def _direct(packages: dict[str, tuple[str, set[str]]]) -> set[tuple[str, str]]:
    """Imports between two packages that no path through other packages implies."""

    def reached(name: str) -> set[str]:
        below = packages[name][1]
        return below.union(*map(reached, below))

    return {
        (upper, lower)
        for upper, (_, imported) in packages.items()
        for lower in imported
        if not any(lower in reached(other) for other in imported - {lower})
    }


if __name__ == "__main__":
    for path, content in generated().items():
        path.write_text(content, encoding="utf-8")
