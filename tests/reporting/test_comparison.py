"""The comparison of runs."""

from typing import Any

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from voc_seg.reporting.comparison import compare, comparison_row, comparison_settings, comparison_text, plot_runs
from voc_seg.reporting.differences import group_by_seed
from voc_seg.reporting.style import BLUE, GREY
from voc_seg.system.errors import VocSegError


def model(rate: float, miou: float, **data: Any) -> dict[str, Any]:
    config = {
        "seed": 0,
        "training": {"resume": False, "epochs": 3, "optimizer": {"learning_rate": rate}},
        "evaluation": {"scale": 1.0, "flip": False},
        "data": {"source": "sample", "ids": "aa", "val_ids": "bb"} | data,
    }
    network = {"skips": [2, 3], "weights": None}
    return {"epoch": 2, "val_miou": miou, "config": config, "model_config": network, "precision": "fp32"}


def history(miou: float) -> pd.DataFrame:
    scores = [0.0, miou, 0.0]
    return pd.DataFrame(
        {"epoch": [1, 2, 3], "val_miou": scores, "is_best": [True, True, False], "epoch_seconds": [30.0, 30.0, 33.0]}
    )


def scores(miou: float, split: str = "val") -> dict[str, Any]:
    return {"split": split, "checkpoint_epoch": 2, "checkpoint_val_miou": miou, "pixel_accuracy": 0.75,
            "mean_class_accuracy": 0.5, "frequency_weighted_iou": 0.25}  # fmt: skip


def test_a_run_is_its_settings_and_what_came_of_them() -> None:
    row = comparison_row(model(0.01, 0.4), history(0.4), scores(0.4))
    assert row["settings"] == {
        "seed": 0, "training.epochs": 3, "training.optimizer.learning_rate": 0.01, "evaluation.scale": 1.0,
        "evaluation.flip": False, "data.source": "sample", "model.skips": "2 3", "model.weights": "null",
        "runtime.precision": "fp32",
    }  # fmt: skip
    assert (row["val_miou"], row["epoch"], row["epochs_done"]) == (0.4, 2, 3)
    assert row["minutes"] == pytest.approx(1.55)  # 93 s
    assert (row["pixel_accuracy"], row["mean_class_accuracy"], row["frequency_weighted_iou"]) == (0.75, 0.5, 0.25)


def test_an_ensemble_is_no_seed_of_its_members() -> None:
    members = [{"run": f"seed-{seed}", "fold": None} for seed in (0, 1)]
    runs = {f"seed-{seed}": model(0.01, 0.4) for seed in (0, 1)}
    runs["seed-1"]["config"]["seed"] = 1
    runs["both"] = model(0.01, 0.4) | {"members": members}
    groups = group_by_seed({name: comparison_settings(run) for name, run in runs.items()})
    assert sorted(map(sorted, groups.values())) == [["both"], ["seed-0", "seed-1"]]
    three = runs["both"] | {"members": [*members, {"run": "seed-2", "fold": None}]}
    three["config"] = three["config"] | {"seed": 1}
    groups = group_by_seed({"two": comparison_settings(runs["both"]), "three": comparison_settings(three)})
    assert sorted(groups.values()) == [["three"], ["two"]]
    with pytest.raises(VocSegError, match=r"has no score on val\. Score it .* --params run=both"):
        comparison_row(runs["both"], history(0.4), {}, "both")
    with pytest.raises(VocSegError, match="was scored on val with other settings than its members"):
        comparison_row(runs["both"], history(0.4), scores(0.4) | {"scale": 0.5}, "both")


@pytest.mark.parametrize(
    "other",
    [
        {}, scores(0.39), scores(0.4, "test"), scores(0.4) | {"scale": 0.5}, scores(0.4) | {"flip": True},
        scores(0.4) | {"scale": 1.0, "flip": False, "scales": [0.5, 1.0]},
    ],
)  # fmt: skip
def test_scores_of_another_model_split_or_scale_are_none(other: dict[str, Any]) -> None:
    row = comparison_row(model(0.01, 0.4), history(0.4), other)
    assert row["pixel_accuracy"] is row["mean_class_accuracy"] is row["frequency_weighted_iou"] is None


def test_scores_at_the_scale_of_the_validation_are_shown() -> None:
    known = scores(0.4) | {"scale": 1.0, "flip": False, "scales": None, "tile": 1024}
    assert comparison_row(model(0.01, 0.4), history(0.4), known)["pixel_accuracy"] == 0.75


@pytest.mark.parametrize("other", [pd.DataFrame(), history(0.3)])
def test_a_history_of_another_model_is_none(other: pd.DataFrame) -> None:
    row = comparison_row(model(0.01, 0.4), other, {})
    assert row["epochs_done"] is row["minutes"] is None


def test_the_table_has_the_best_first_and_the_settings_that_differ() -> None:
    table = compare(
        {
            "a": comparison_row(model(0.01, 0.2), history(0.2), {}),
            "b": comparison_row(model(0.03, 0.4), history(0.4), scores(0.4)),
            "c": comparison_row(model(0.02, 0.4), pd.DataFrame(), {}),
        }
    )
    assert list(table.columns) == [
        "run", "val_miou", "training.optimizer.learning_rate", "epoch", "epochs_done", "minutes", "pixel_accuracy",
        "mean_class_accuracy", "frequency_weighted_iou", "miou", "miou_low", "miou_high",
    ]  # fmt: skip
    assert table["run"].tolist() == ["b", "c", "a"]
    assert table["training.optimizer.learning_rate"].tolist() == [0.03, 0.02, 0.01]
    assert comparison_text(table).splitlines() == [
        "val mIoU  epoch  minutes  run",
        "   0.400      2      1.6  b",
        "   0.400      2        -  c",
        "   0.200      2      1.6  a",
    ]  # fmt: skip


def test_the_figure_has_a_bar_and_a_curve_for_each_run_the_best_in_blue() -> None:
    rows = {
        "a": comparison_row(model(0.01, 0.2), history(0.2), {}),
        "a name that is longer than there is room for it": comparison_row(model(0.03, 0.4), history(0.4), {}),
        "c": comparison_row(model(0.02, 0.3), pd.DataFrame(), {}),
    }
    bars, curves = plot_runs(rows, compare(rows)).axes
    assert [bar.get_width() for bar in bars.patches] == [0.4, 0.3, 0.2]
    assert [to_hex(bar.get_facecolor()) for bar in bars.patches] == [BLUE, GREY, GREY]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == ["a name that is longer than there is roo…", "c", "a"]
    assert [(line.get_color(), line.get_ydata().tolist()) for line in curves.lines] == [
        (GREY, [0.0, 0.2, 0.0]), (BLUE, [0.0, 0.4, 0.0]),
    ]  # fmt: skip


def test_many_runs_are_many_curves_and_the_best_bars() -> None:
    rows = {f"{n}": comparison_row(model(0.01, n / 100), history(n / 100), {}) for n in range(25)}
    figure = plot_runs(rows, compare(rows))
    assert (len(figure.axes[0].patches), len(figure.axes[1].lines)) == (20, 25)
    assert "25 runs, the best in blue; bars: the best 20" in [text.get_text() for text in figure.texts]


def test_where_weights_come_from_and_precision_are_settings() -> None:
    other = model(0.01, 0.4) | {"model_config": {"skips": [2, 3], "weights": "imagenet"}, "precision": "bf16"}
    table = compare({"a": comparison_row(model(0.01, 0.2), pd.DataFrame(), {}),
                     "b": comparison_row(other, pd.DataFrame(), {})})  # fmt: skip
    assert table["model.weights"].tolist() == ["imagenet", "null"]
    assert table["runtime.precision"].tolist() == ["bf16", "fp32"]


def test_what_was_validated_on_other_images_is_told_apart() -> None:
    rows = [comparison_row(model(0.01, 0.4, **data), pd.DataFrame(), {}) for data in ({}, {}, {"val_ids": "cc"})]
    assert rows[0]["val_conditions"] == rows[1]["val_conditions"] != rows[2]["val_conditions"]
