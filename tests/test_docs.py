"""README and pages: what is generated is up to date, and what they name exists."""

import importlib
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from voc_seg.config import Parameters

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE_ENDINGS = ("csv", "html", "json", "log", "md", "onnx", "png", "py", "safetensors", "yaml", "yml")


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> str:
    return request.param.read_text(encoding="utf-8")


def test_what_is_generated_is_up_to_date() -> None:
    expected = runpy.run_path(str(ROOT / "docs/generate.py"))["generated"]()
    outdated = [path.name for path, content in expected.items() if path.read_text(encoding="utf-8") != content]
    assert not outdated, "run: python docs/generate.py"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


def test_every_page_is_listed() -> None:
    index, site = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/index.md", "mkdocs.yml"))
    for path in PAGES[1:]:
        assert path.name == "index.md" or f"({path.name})" in index
        assert path.name in site


def test_settings_that_are_named_exist(page: str) -> None:
    known = set(_keys(Parameters))
    blocks = "|".join(name for name in Parameters.model_fields if f"{name}." in " ".join(known))
    named = re.findall(rf"(?<![\w./-])(?:{blocks})\.[a-z_][a-z_0-9]*(?:\.[a-z_]+)*(?![\w(])", page)
    named = [key for key in named if not key.endswith(FILE_ENDINGS)]
    assert not [key for key in named if key not in known]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")


def test_modules_and_functions_that_are_named_exist(page: str) -> None:
    for module, names in re.findall(r"^from (voc_seg[\w.]*) import ([\w, ]+)$", page, re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"
    for path in re.findall(r"\b(?:src|tests|benchmarks|deploy)/[\w./]+\.\w+", page):
        assert (ROOT / path).is_file() or "/mine" in path, path
    named = re.findall(r"`(\w+)`[^`.;|]{0,40} in\s+`(src/voc_seg/\w+/\w+\.py)`", page)
    for name, path in named:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{name} is not in {path}"
