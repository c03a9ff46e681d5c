"""The comparison of runs: their settings and scores as a table, a figure and text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from voc_seg.config import flattened
from voc_seg.models.members import fold_of, is_of_folds, members_of
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, shortened

from .report import matching_history
from .same_evaluation import is_score_of
from .setting_names import differing_settings
from .style import BLUE, GREY, INK, LABEL, MUTED, SMALL, literal, new_figure, set_title, tidy

METRICS = ("pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "miou", "miou_low", "miou_high")
"""Scores taken from an evaluation on val; ``val_miou`` is that of the validation during training."""

_BARS = 20
_LETTERS = 40  # longest name of a run in the figure
_DOTS = 30  # curves of at most this many points have a dot at each

# Settings without effect on the network, or shown in other columns.
_IGNORED_SETTINGS = (
    "training.resume", "training.checkpoint.", "training.accept_changed_data", "data.ids", "data.val_ids",
    "data.content", "data.val_content",
)  # fmt: skip


def comparison_row(
    model: Mapping[str, Any], history: pd.DataFrame, scores: Mapping[str, Any], name: str = "NAME"
) -> dict[str, Any]:
    """One row of the comparison, with all settings.

    Args:
        model: ``best_model.pth`` without its weights, with ``model_digest`` if known.
        history: ``training_history.csv``, one row an epoch; ignored if it is of another model.
        scores: ``metrics.json`` and ``evaluation_facts.json`` of one evaluation; ignored unless of this model on val
            with the scale and flip of its validation, because runs are compared on val only, and under equal terms.
        name: Of the run, for the command in an error.

    Returns:
        ``settings`` (by dotted key), ``data`` (digests of the training data), ``val_conditions`` (settings of the
        validation; None if that was on a fold of train), ``history``
        (empty if there is none of this model) and columns of the table: val_miou (0..1), epoch (of that score),
        epochs_done, minutes (both None without a history), and METRICS (0..1, None without an evaluation).

    Raises:
        VocSegError: It is an ensemble that has not been evaluated: it has no validation of its own.
    """
    settings = _settings(model["config"] | {"model": model["model_config"]})
    of_folds = bool(fold_of(model) or members_of(model))
    history = matching_history(model, history)
    same_model = is_score_of(scores, model) and scores.get("split") == "val"
    evaluated = same_model and _is_as_validated(scores, settings)
    if members_of(model) and not evaluated:
        scored = "was scored on val with other settings than its members" if same_model else "has no score on val"
        raise VocSegError(
            f"it is an ensemble and {scored}. Score it with: kedro run --pipelines evaluation --params run={name}"
        )
    validation = ("data.val_ids", "data.longer_side", "evaluation.scale", "evaluation.flip")
    return {
        "settings": comparison_settings(model),
        "data": {key: settings.get(f"data.{key}") for key in ("ids", "content")},
        "val_conditions": None if of_folds else tuple(settings.get(key) for key in validation),
        "history": history,
        "val_miou": _number(scores["miou"]) if members_of(model) else model["val_miou"],
        "epoch": model["epoch"],
        "epochs_done": None if history.empty else int(history["epoch"].max()),
        "minutes": None if history.empty else round(history["epoch_seconds"].sum() / 60, 2),
        **{name: _number(scores.get(name)) if evaluated else None for name in METRICS},
    }


def comparison_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that shape its network, by dotted key; ``model`` as for :func:`comparison_row`."""
    settings = _settings(model["config"] | {"model": model["model_config"]})
    settings["runtime.precision"] = model.get("precision")  # missing in models of earlier versions
    if members := members_of(model):
        # Its other settings are those of the first member: an ensemble is no further seed of them.
        folds = is_of_folds(model)
        settings["ensemble"] = f"{len(members)} folds" if folds else " ".join(str(one.get("run")) for one in members)
    return {key: value for key, value in settings.items() if not key.startswith(_IGNORED_SETTINGS)}


def _is_as_validated(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether an evaluation had the scale and flip of the validation; those of earlier versions may not say."""
    validated = {key: settings.get(f"evaluation.{key}") for key in ("scale", "flip")}
    same = all(scores.get(key, value) == value for key, value in validated.items())
    return same and not scores.get("scales")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)  # an error if the file was edited by hand


def compare(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The runs as a table, the best on val first: name, score, the settings in which they differ, other scores.

    Args:
        rows: The rows of :func:`comparison_row` by name of the run.
    """
    settings = {name: row["settings"] for name, row in rows.items()}
    differing = differing_settings(settings.values())
    table = pd.DataFrame(
        {"run": name, "val_miou": row["val_miou"]}
        | {key: settings[name].get(key) for key in differing}
        | {key: value for key, value in row.items() if key not in ("settings", "data", "val_conditions", "history")}
        for name, row in rows.items()
    )
    table["epochs_done"] = table["epochs_done"].astype("Int64")
    return table.sort_values(["val_miou", "run"], ascending=[False, True], ignore_index=True)


def plot_runs(rows: Mapping[str, Mapping[str, Any]], table: pd.DataFrame) -> Figure:
    """Best val mIoU of each run as a bar and its val mIoU by epoch as a curve; the best run in blue.

    Args:
        rows: The rows of :func:`comparison_row` by name of the run.
        table: The table of :func:`compare`. All runs have a curve, the best `_BARS` also a bar.
    """
    shown = table.head(_BARS)
    figure = new_figure(10.5, max(3.6, 1.6 + 0.3 * len(shown)))
    bars, curves = figure.subplots(1, 2)
    colours = [BLUE, *[GREY] * (len(shown) - 1)]
    positions = range(len(shown))
    bars.barh(positions, shown["val_miou"], 0.72, color=colours)
    bars.set_yticks(positions, [literal(shortened(name, _LETTERS)) for name in shown["run"]])
    bars.invert_yaxis()
    low, high = (pd.to_numeric(shown[f"miou_{end}"]) for end in ("low", "high"))
    known = (low.notna() & high.notna()).to_numpy()
    bars.hlines(np.flatnonzero(known), low[known], high[known], color=INK, linewidth=1.1)
    ends = high.fillna(shown["val_miou"]).clip(lower=shown["val_miou"])
    for position, (score, end) in enumerate(zip(shown["val_miou"], ends)):
        bars.annotate(
            f"{score:.3f}", (end, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=SMALL,
            color=INK,
        )  # fmt: skip
    bars.set_xlim(0, max(0.01, 1.15 * ends.max()))
    tidy(bars, "Best val mIoU", grid="x")
    for name in reversed(table["run"]):  # the best on top
        history = rows[name]["history"]
        if not history.empty:
            validated = history.assign(val_miou=pd.to_numeric(history["val_miou"])).dropna(subset="val_miou")
            best = name == table["run"].iloc[0]
            curves.plot(
                validated["epoch"], validated["val_miou"], color=BLUE if best else GREY, linewidth=2.2 if best else 1.2,
                marker="o" if len(validated) <= _DOTS else None, markersize=4,
            )  # fmt: skip
    if not curves.lines:
        curves.text(0.5, 0.5, "no histories", transform=curves.transAxes, ha="center", color=MUTED, fontsize=LABEL)
    curves.set_ylim(0, bars.get_xlim()[1])
    curves.set_xlabel("epoch")
    curves.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    tidy(curves, "val mIoU by epoch")
    more = f"; bars: the best {_BARS}" if len(table) > _BARS else ""
    more += "; thin lines: 95 % intervals" if known.any() else ""
    set_title(figure, "Runs", f"{counted(len(table), 'run')}, the best in blue{more}")
    return figure


def comparison_text(table: pd.DataFrame) -> str:
    """Scores and name of each run for the console; the settings are in the file."""
    lines = [f"{'val mIoU':>8}{'epoch':>7}{'minutes':>9}  run"]
    for row in table.itertuples(index=False):
        minutes = "-" if pd.isna(row.minutes) else f"{row.minutes:.1f}"
        lines.append(f"{row.val_miou:>8.3f}{row.epoch:>7}{minutes:>9}  {row.run}")
    return "\n".join(lines)


def _settings(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted key; lists separated by spaces, null for None."""

    def typed(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return " ".join(map(str, value))
        return "null" if value is None else value

    return {key: typed(value) for key, value in flattened(blocks)}
