"""What a sweep remembers of its runs."""

import json
from pathlib import Path

import pytest

from voc_seg.config import Parameters
from voc_seg.errors import VocSegError
from voc_seg.sweep.records import describe, earlier, write


def test_a_finished_run_is_known_again(tmp_path: Path) -> None:
    record = describe("base", Parameters(model={"skips": [1, 2]}))
    assert earlier(tmp_path, record).finished == ()
    write(tmp_path, record, {"training", "evaluation"})
    resumed = describe("base", Parameters(run="a", model={"skips": [1, 2]}, training={"resume": True}))
    assert earlier(tmp_path, resumed).finished == ["evaluation", "training"]


@pytest.mark.parametrize(
    ("environment", "parameters", "differing"),
    [
        ("base", Parameters(training={"epochs": 7}), "training.epochs: 50 then, 7 now"),
        ("voc2012", Parameters(), "--env: base then, voc2012 now"),
    ],
)
def test_a_run_of_other_settings_is_refused(
    tmp_path: Path, environment: str, parameters: Parameters, differing: str
) -> None:
    write(tmp_path, describe("base", Parameters()), ())
    with pytest.raises(VocSegError, match=f"other settings:\n  {differing}\nGive this sweep a name of its own"):
        earlier(tmp_path, describe(environment, parameters))


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "06_models").mkdir()
    with pytest.raises(VocSegError, match="which no sweep has made"):
        earlier(tmp_path, describe("base", Parameters()))
    for content in ("{", json.dumps({"environment": "base"}), "[]"):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(VocSegError, match="cannot be read"):
            earlier(tmp_path, describe("base", Parameters()))
