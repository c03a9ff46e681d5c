"""The runs of a sweep, from its command line."""

import pytest

from voc_seg.config import Parameters
from voc_seg.sweep.grid import Trial, expand, parse_grid, parse_params
from voc_seg.system.errors import VocSegError


def test_every_combination_has_a_run_and_a_name() -> None:
    grid = parse_grid(["training.optimizer.learning_rate=0.01,0.03", "model.skips=2 3 4,1"])
    trials = expand(grid, {"training.epochs": "5"})
    assert [trial.name for trial in trials] == [
        "learning_rate-0.01_skips-2-3-4", "learning_rate-0.01_skips-1",
        "learning_rate-0.03_skips-2-3-4", "learning_rate-0.03_skips-1",
    ]  # fmt: skip
    assert trials[2] == Trial(
        "learning_rate-0.03_skips-2-3-4",
        {"training.epochs": "5", "training.optimizer.learning_rate": "0.03", "model.skips": "2 3 4"},
    )


def test_keys_that_end_alike_are_named_in_full() -> None:
    (trial,) = expand(parse_grid(["sanity.epochs=1", "training.epochs=2"]), {})
    assert trial.name == "sanity.epochs-1_training.epochs-2"


def test_names_are_safe_and_differ() -> None:
    weights = ["../a/b.pth", "..-a-b.pth", "/" + "x" * 200, "/" + "x" * 201]
    trials = expand(parse_grid([f"model.weights={','.join(weights)}"]), {}, "mine")
    names = [trial.name for trial in trials]
    assert len(set(names)) == 4
    assert all(Parameters(run=name).run == name and name.startswith("mine_weights-") for name in names)
    assert names == [trial.name for trial in expand(parse_grid([f"model.weights={','.join(weights)}"]), {}, "mine")]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["training.epochs"], "must have the form"),
        (["=1"], "must have the form"),
        (["training.epochs=1,,2"], "must have the form"),
        (["training.epochs=1,1"], "is repeated"),
        (["seed=1", "seed=2"], "is repeated"),
        (["data.on_invalid=fail,quarantine"], "share the data"),
        (["voc_root=a,b"], "share the data"),
        (["run=a,b"], "share the data"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(grid: list[str], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        parse_grid(grid)


def test_settings_of_all_runs() -> None:
    assert parse_params("") == {}
    assert parse_params("training.epochs=3,augmentation.scale=0.2 0.3") == {
        "training.epochs": "3", "augmentation.scale": "0.2 0.3",
    }  # fmt: skip
    with pytest.raises(VocSegError, match="form key=value"):
        parse_params("training.epochs")
    with pytest.raises(VocSegError, match="names and resumes its runs"):
        parse_params("run=a")
    with pytest.raises(VocSegError, match="in both --grid and --params"):
        expand({"seed": ("1",)}, {"seed": "2"})


def test_a_grid_of_too_many_runs_is_refused_with_its_size() -> None:
    """Before its runs are listed, as a list of these would not fit into memory."""
    grid = parse_grid([f"{key}={','.join(map(str, range(1000)))}" for key in ("a", "b", "c", "d")])
    with pytest.raises(VocSegError, match=r"1000000000000 runs \(1000 x 1000 x 1000 x 1000\), but the limit is 1000"):
        expand(grid, {})
    assert len(expand(parse_grid([f"seed={','.join(map(str, range(1000)))}"]), {})) == 1000
