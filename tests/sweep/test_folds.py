"""The runs of a sweep over folds."""

import pytest

from voc_seg.sweep.folds import expand_folds, require_fold_pipelines
from voc_seg.system.errors import VocSegError


def test_every_fold_is_a_run_and_their_ensemble_names_them() -> None:
    (sweep,) = expand_folds({}, {"seed": "1"}, 3)
    assert [trial.name for trial in sweep.folds] == ["fold-1-of-3", "fold-2-of-3", "fold-3-of-3"]
    assert sweep.folds[1].settings == {"seed": "1", "training.fold": "2/3", "evaluation.split": "fold"}
    assert sweep.ensemble.name == "ensemble"
    assert sweep.ensemble.settings == {
        "seed": "1", "evaluation.split": "val", "ensemble.runs": "fold-1-of-3 fold-2-of-3 fold-3-of-3",
    }  # fmt: skip


def test_every_combination_has_its_folds_and_its_ensemble() -> None:
    first, second = expand_folds({"model.width": ("8", "16")}, {}, 2, "a")
    assert [trial.name for trial in first.folds] == ["a_width-8_fold-1-of-2", "a_width-8_fold-2-of-2"]
    assert (first.ensemble.name, second.ensemble.name) == ("a_width-8_ensemble", "a_width-16_ensemble")
    assert second.ensemble.settings["model.width"] == "16"
    assert second.ensemble.settings["ensemble.runs"] == "a_width-16_fold-1-of-2 a_width-16_fold-2-of-2"


def test_a_prefix_alone_names_the_ensemble() -> None:
    assert expand_folds({}, {}, 2, "night")[0].ensemble.name == "night_ensemble"


@pytest.mark.parametrize("key", ["training.fold", "evaluation.split", "ensemble.runs"])
def test_what_the_sweep_decides_cannot_be_set(key: str) -> None:
    with pytest.raises(VocSegError, match=f"{key} cannot be set with --folds"):
        expand_folds({}, {key: "x"}, 3)
    with pytest.raises(VocSegError, match=f"{key} cannot be set with --folds"):
        expand_folds({key: ("x", "y")}, {}, 3)


def test_scores_need_training_and_evaluation() -> None:
    require_fold_pipelines(["training", "evaluation", "export"])
    with pytest.raises(VocSegError, match="--pipelines needs evaluation"):
        require_fold_pipelines(["training"])
