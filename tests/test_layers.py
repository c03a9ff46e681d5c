"""The code keeps its layers, its modules stay small, and its texts avoid words that read like a translation."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "voc_seg"
AVOIDED = re.compile(
    r"\b(told|stands?(?!-in)|(goes|gone|going) on|anew|mend(s|ed|ing)?|whoever|of which|as it were|to be had|by heart|"
    r"left out|comes? before)\b",
    re.I,
)


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def test_packages_import_downwards_only() -> None:
    contracts = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    (layers,) = [contract["layers"] for contract in contracts if "layers" in contract]
    assert len(layers) <= 8
    # In a process of its own, because it changes the logging settings.
    program = "import importlinter.cli as cli; raise SystemExit(cli.lint_imports(no_cache=True))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_no_circle_of_modules() -> None:
    graph = grimp.build_graph("voc_seg", cache_dir=None)
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_few_loose_modules_and_none_too_long() -> None:
    assert len(list(SRC.glob("*.py"))) <= 6
    lengths = {str(path.relative_to(SRC)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > 260} == {}


def test_every_package_says_what_belongs_there() -> None:
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
        ("tests", "*.py"),
        ("benchmarks", "*.py"),
        ("benchmarks", "*.md"),
        (".", "*.md"),
    ],
)
def test_words_to_avoid(folder: str, pattern: str) -> None:
    find = Path.rglob if folder != "." else Path.glob
    files = [path for path in find(ROOT / folder, pattern) if "local" not in path.relative_to(ROOT).parts]
    assert files
    files = [path for path in files if path != Path(__file__)]  # which lists the words
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if AVOIDED.search(line)
    ]
    assert not found, "\n".join(found)
