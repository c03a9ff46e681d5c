"""The layout in docs/extending.md: one new file, which is found, read and explained like those of the project."""

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from voc_seg.importing import layouts
from voc_seg.importing.classes import plan_classes
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import layout_names

ROOT = Path(__file__).parents[2]
build = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("mask_files.py"))))


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put the page's example beside the layouts; returns its name."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n# src/voc_seg/importing/layouts/(\w+)\.py\n(.*?)```", page, re.S)
    assert found
    folder = tmp_path_factory.mktemp("layouts")
    (folder / f"{found[1]}.py").write_text(found[2], encoding="utf-8")
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{layouts.__name__}.{found[1]}", raising=False)
    yield found[1]
    sys.modules.pop(f"{layouts.__name__}.{found[1]}", None)


def test_a_new_file_is_a_layout(layout: str, tmp_path: Path) -> None:
    build.write_files(tmp_path, "set/photos/a.jpg", "set/masks/a.png", "set/photos/b.jpg", "other/c.jpg")
    build.write_text(tmp_path / "set/palette.json", '{"0": "background", "1": "tree"}')
    assert layout in layout_names()
    name, found = build.recognised(tmp_path)
    assert name == layout
    assert build.pairs(found, tmp_path) == {"set/photos/a.jpg": "set/masks/a.png"}
    assert [path.name for path in found.unlabelled] == ["b.jpg"]
    assert plan_classes(inspect_pairs(found), found).names == ("background", "tree")
    (tmp_path / "set/palette.json").unlink()
    assert build.recognised(tmp_path)[0] == "folders"
