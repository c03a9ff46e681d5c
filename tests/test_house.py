"""The house stands as planned: floors without a circle, small modules, and words that read well."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "voc_seg"
FLOORS = (
    {"cli", "settings", "pipeline_registry", "__main__"},
    {"sweep", "pipelines"},
    {"hooks"},
    {"datasets", "engine", "reporting"},
    {"samples", "models", "metrics", "download"},
    {"config", "scenes"},
    {"voc"},
    {"system"},
)
AVOIDED = re.compile(
    r"\b(told|stands?|(goes|gone|going) on|anew|mend(s|ed|ing)?|whoever|of which|as it were|to be had|by heart|"
    r"left out|comes? before)\b",
    re.I,
)


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def test_rooms_import_downwards_only() -> None:
    graph = grimp.build_graph("voc_seg", cache_dir=None)
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    imports = [
        (module.split(".")[1], imported.split(".")[1])
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if module.count(".") and imported.count(".")
    ]
    assert imports
    upwards = {(room, other) for room, other in imports if room != other and floor[room] >= floor[other]}
    assert not upwards


def test_no_circle_of_modules() -> None:
    graph = grimp.build_graph("voc_seg", cache_dir=None)
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_few_loose_modules_and_none_too_long() -> None:
    assert len(list(SRC.glob("*.py"))) <= 6
    lengths = {str(path.relative_to(SRC)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > 260} == {}


def test_every_room_says_what_belongs_there() -> None:
    for path in SRC.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.parent.name


@pytest.mark.parametrize(
    "folder, pattern",
    [
        ("src/voc_seg", "*.py"),
        ("src/voc_seg", "*.html"),
        ("conf", "*.yml"),
        ("notebooks", "*.ipynb"),
        ("docs", "*.md"),
        (".", "README.md"),
    ],
)
def test_words_to_avoid(folder: str, pattern: str) -> None:
    find = Path.rglob if folder != "." else Path.glob
    files = [path for path in find(ROOT / folder, pattern) if "local" not in path.relative_to(ROOT).parts]
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if AVOIDED.search(line)
    ]
    assert not found, "\n".join(found)
