"""Records of the runs of a sweep."""

import json
from datetime import date
from pathlib import Path

import pytest

from voc_seg.config import Parameters
from voc_seg.sweep.records import load_record, new_record, save_record
from voc_seg.system.errors import VocSegError


def test_a_finished_run_is_known_again(tmp_path: Path) -> None:
    record = new_record("base", Parameters(model={"skips": [1, 2]}))
    assert load_record(tmp_path, record).finished == ()
    save_record(tmp_path, record, {"training", "evaluation"})
    resumed = new_record("base", Parameters(run="a", model={"skips": [1, 2]}, training={"resume": True}))
    assert load_record(tmp_path, resumed).finished == ["evaluation", "training"]


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
    save_record(tmp_path, new_record("base", Parameters()), ["training"])
    with pytest.raises(VocSegError, match=f"other settings:\n  {differing}\nGive this sweep another name"):
        load_record(tmp_path, new_record(environment, parameters))


def test_what_came_to_nothing_may_be_tried_with_other_settings(tmp_path: Path) -> None:
    save_record(tmp_path, new_record("base", Parameters(model={"weights": "mising.pth"})), ())
    wanted = new_record("base", Parameters(model={"weights": "missing.pth"}))
    assert load_record(tmp_path, wanted) == wanted


def test_where_and_how_visibly_it_runs_makes_no_other_run(tmp_path: Path) -> None:
    save_record(tmp_path, new_record("base", Parameters()), ["training"])
    beside = Parameters(runtime={"workers": 2}, tracking={"mlflow": True}, training={"resume": True})
    assert load_record(tmp_path, new_record("base", beside)).finished == ["training"]
    with pytest.raises(VocSegError, match=r"runtime.precision: auto then, bf16 now"):
        load_record(tmp_path, new_record("base", Parameters(runtime={"precision": "bf16"})))


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "06_models").mkdir()
    (tmp_path / "06_models/best_model.pth").touch()
    with pytest.raises(VocSegError, match="outside any sweep"):
        load_record(tmp_path, new_record("base", Parameters()))
    for content in ("{", json.dumps({"environment": "base"}), "[]"):
        (tmp_path / "sweep.json").write_text(content)
        with pytest.raises(VocSegError, match="cannot be read"):
            load_record(tmp_path, new_record("base", Parameters()))


def test_parameters_of_the_user_count_where_their_pipelines_run(tmp_path: Path) -> None:
    save_record(tmp_path, new_record("base", Parameters(), {"mine": {"since": date(2026, 1, 2)}}), ["mine"])
    assert load_record(tmp_path, new_record("base", Parameters(), {"mine": {"since": date(2026, 1, 2)}})).finished == [
        "mine"
    ]
    with pytest.raises(VocSegError, match=r"mine\.since: 2026-01-02 then, 2026-01-03 now"):
        load_record(tmp_path, new_record("base", Parameters(), {"mine": {"since": date(2026, 1, 3)}}))
