"""Which of several runs are distinguishable: a table, sentences and a forest plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from voc_seg.metrics.counts import Counts, from_table
from voc_seg.metrics.differences import Difference, RunScores, compare_with_best
from voc_seg.system.names import counted, shortened

from .same_evaluation import is_score_of
from .setting_names import differing_settings, named_settings
from .style import BLUE, GREY, INK, LABEL, MUTED, SMALL, literal, new_figure, set_title, tidy

_LETTERS = 44  # longest name in the figure
COLUMNS = (
    "name", "runs", "miou", "deviation", "difference", "difference_low", "difference_high", "p_value",
    "distinguishable", "wins", "ties", "losses",
)  # fmt: skip


CONDITIONS = ("scale", "scales", "flip", "tile", "longer_side")
"""Facts of an evaluation that change its scores."""


@dataclass(frozen=True)
class ScoredImages:
    """The images of one evaluation."""

    ids: tuple[str, ...]
    counts: Counts  # in the order of the ids
    conditions: tuple[Any, ...] = ()


def scored_images(
    model: Mapping[str, Any], scores: Mapping[str, Any], confusions: pd.DataFrame, split: str = "val"
) -> ScoredImages | str:
    """The images of a split on which a run was scored, or why there are none.

    Args:
        model: ``best_model.pth`` without its weights, with ``model_digest``.
        scores: ``metrics.json`` and ``evaluation_facts.json`` of one evaluation; may be empty.
        confusions: ``image_confusions.parquet``; may be empty.
        split: As in ``metrics.json``.
    """
    if not scores or not is_score_of(scores, model):
        return "it has not been evaluated"
    if scores.get("split") != split:
        return f"it was evaluated on {scores.get('split')}, not on {split}"
    if confusions.empty:
        return "its image_confusions.parquet is missing, empty or damaged: evaluate it again"
    counts = from_table(confusions, int(scores["classes_declared"]))
    if scores["miou"] is None:
        return "none of its images has a labelled pixel"
    if not np.isclose(counts.total().miou(), scores["miou"], rtol=0, atol=1e-9):
        return "its image_confusions.parquet is of another evaluation"
    conditions = tuple(str(scores.get(name)) for name in CONDITIONS)
    return ScoredImages(tuple(confusions["image_id"].astype(str)), counts, conditions)


def same_images(runs: Mapping[str, ScoredImages]) -> tuple[dict[str, ScoredImages], dict[str, str]]:
    """The largest set of runs that were scored alike, with images in one order, and why others are not in it.

    Scored alike means on the same masks and with the same :data:`CONDITIONS`.
    """
    sets: dict[Any, dict[str, ScoredImages]] = {}
    for name, run in runs.items():
        order = np.argsort(run.ids)
        counts = run.counts.take(order)
        ids = tuple(run.ids[index] for index in order)
        key = (ids, counts.truth.tobytes(), run.conditions)
        sets.setdefault(key, {})[name] = ScoredImages(ids, counts, run.conditions)
    if not sets:
        return {}, {}
    chosen, found = max(sets.items(), key=lambda item: len(item[1]))
    reasons: dict[str, str] = {}
    for key, others in sets.items():
        if key != chosen:
            same = key[:2] == chosen[:2]
            reasons |= dict.fromkeys(others, f"it was scored {'with other settings' if same else 'on other images'}")
    # Evaluations of earlier versions do not have the groups of the images.
    groups = next((run.counts.groups for run in found.values() if run.counts.groups is not None), None)
    return {name: replace(run, counts=replace(run.counts, groups=groups)) for name, run in found.items()}, reasons


def group_by_seed(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Runs that differ in their seed and in nothing else, by a name of the group.

    A group of one has the name of its run; one of several the settings in which it differs from other groups. Runs with
    the same seed and the same settings are not a group: something that the settings do not show must differ.

    Args:
        settings: The settings of each run by dotted key, with digests of its training data.
    """
    groups: dict[str, list[str]] = {}
    for name, of_run in settings.items():
        key = repr(sorted((key, str(value)) for key, value in of_run.items() if key != "seed"))
        groups.setdefault(key, []).append(name)
    members: list[list[str]] = []
    for names in groups.values():
        seeds = {str(settings[name].get("seed")) for name in names}
        members += [names] if len(seeds) == len(names) else [[name] for name in names]
    firsts = [settings[names[0]] for names in members]
    differing = [key for key in differing_settings(firsts) if key != "seed"]
    named: dict[str, list[str]] = {}
    for names, first in zip(members, firsts):
        label = ", ".join(named_settings(first, differing)) or "same settings"
        named[names[0] if len(names) == 1 else f"{label} ({len(names)} seeds)"] = names
    return named if sum(map(len, named.values())) == len(settings) else {names[0]: names for names in members}


def compare_images(runs: Mapping[str, ScoredImages], groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Compare the group with the highest mean mIoU with each of the others, on the same images.

    Args:
        runs: Runs of :func:`same_images`.
        groups: Their names by group.

    Returns:
        One row a group, the best first: name, runs, miou (mean over the runs), deviation (over the runs, NaN for one),
        and for all but the best: the difference to the best (positive) with its interval, the p-value corrected for all
        pairs of groups, whether the two are distinguishable, and images that the best predicts better, equally, worse.
    """
    if not runs:
        return pd.DataFrame(columns=list(COLUMNS))
    found = {name: RunScores.of(run.counts) for name, run in runs.items()}
    members = {name: [found[run] for run in names] for name, names in groups.items()}
    scores = {name: [run.miou for run in of_group] for name, of_group in members.items()}
    best, differences = compare_with_best(members)
    others = sorted(differences, key=lambda name: -np.mean(scores[name]))
    rows = [_row(name, groups[name], scores[name], differences.get(name)) for name in (best, *others)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(("wins", "ties", "losses"), "Int64"))


def _row(name: str, runs: Sequence[str], scores: Sequence[float], found: Difference | None) -> dict[str, Any]:
    row = {
        "name": name,
        "runs": " ".join(runs),
        "miou": float(np.mean(scores)),
        "deviation": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
    }
    if found is None:
        return row
    return row | {
        "difference": found.miou,
        "difference_low": found.low,
        "difference_high": found.high,
        "p_value": found.p_value,
        "distinguishable": found.is_distinguishable,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
    }


def difference_text(table: pd.DataFrame, images: int, unreliable: str = "") -> str:
    """One sentence for each comparison, and one for each group of several runs; points are hundredths of mIoU.

    Args:
        table: The table of :func:`compare_images`, not empty.
        images: Number of images.
        unreliable: Why intervals are unreliable; empty if they are not.
    """
    lines = []
    for row in table.itertuples(index=False):
        if not pd.isna(row.deviation):
            lines.append(f"{row.name}: mIoU {row.miou:.3f}, standard deviation over seeds {row.deviation:.3f}")
    best = table["name"].iloc[0]
    for row in table.iloc[1:].itertuples(index=False):
        ends = _ends(row.difference_low, row.difference_high)
        points = f"{100 * row.difference:.1f} points ({ends}), p = {row.p_value:.2g}"
        tally = f"; by image {row.wins} wins, {row.ties} ties, {row.losses} losses"
        if row.distinguishable:
            lines.append(f"{best} is better than {row.name} by {points}{tally}")
        else:
            lines.append(f"{best} and {row.name} are not distinguishable: {points}{tally}")
    header = f"Differences in mIoU on the same {counted(images, 'image')}, with 95 % intervals"
    if len(table) > 2:
        header += f"; p is corrected for the {len(table) * (len(table) - 1) // 2} pairs (Holm), the intervals are not"
    if table["deviation"].isna().all():
        lines.append("One seed each: this compares the trained networks, and says little about their settings.")
    if unreliable:
        lines.append(f"Unreliable, because {unreliable}.")
    return "\n".join([header, *(f"  {line}" for line in lines)])


def _ends(low: float, high: float, plus: str = "") -> str:
    """The ends of an interval in points; with ``plus="+"`` the high one has its sign."""
    return "no interval" if np.isnan([low, high]).any() else f"{100 * low:.1f} to {100 * high:{plus}.1f}"


def plot_differences(table: pd.DataFrame, images: int) -> Figure:
    """Forest plot: how far each group is behind the best, with its interval; grey where not distinguishable.

    Args:
        table: The table of :func:`compare_images`; may be empty or have one row.
        images: Number of images.
    """
    others = table.iloc[1:]
    figure = new_figure(9.5, 2.0 + 0.42 * max(1, len(others)))
    axes = figure.subplots()
    if others.empty:
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, "Needs two runs of different settings, scored alike", transform=axes.transAxes, ha="center",
            color=MUTED, fontsize=LABEL,
        )  # fmt: skip
        set_title(figure, "Differences between runs")
        return figure
    axes.axvline(0, color=INK, linewidth=1.1)
    for position, row in enumerate(others.itertuples(index=False)):
        colour = BLUE if row.distinguishable else GREY
        low, middle, high = -row.difference_high, -row.difference, -row.difference_low
        axes.plot([100 * low, 100 * high], [position, position], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([100 * middle], [position], "s", color=colour, markersize=7)
        axes.annotate(
            f"{100 * middle:+.1f} ({_ends(low, high, plus='+')})", (1.01, position), xycoords=("axes fraction", "data"),
            va="center", fontsize=SMALL, color=INK if row.distinguishable else MUTED, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(others)), [_shown(name) for name in others["name"]])
    axes.set_ylim(len(others) - 0.4, -0.6)
    axes.set_xlabel("mIoU compared with the best, points")
    tidy(axes, grid="x")
    set_title(
        figure,
        f"Behind {_shown(table['name'].iloc[0])}",
        f"{counted(images, 'image')} of val; lines: 95 % intervals, not corrected; grey: not distinguishable after "
        "correction",
    )
    return figure


def _shown(name: str) -> str:
    return literal(shortened(name, _LETTERS))
