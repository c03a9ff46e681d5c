"""Runs on the folds of train, pooled: every image is scored by the network that was not trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from voc_seg.metrics.counts import Counts
from voc_seg.metrics.intervals import class_intervals, score_intervals
from voc_seg.models.members import fold_of, members_of
from voc_seg.system.names import listed, shortened

from .differences import ScoredImages, scored_images
from .same_evaluation import is_score_of
from .setting_names import differing_settings, named_settings
from .tables import score

FOLD_COLUMNS = (
    "settings", "run", "scored_on", "images", "miou", "miou_low", "miou_high", "pixel_accuracy", "pixel_accuracy_low",
    "pixel_accuracy_high",
)  # fmt: skip
_OF_ONE_FOLD = ("training.fold", "data.images", "data.val_images")
"""Settings and facts in which the folds of one division differ."""
_NAME = 13


@dataclass(frozen=True)
class FoldRun:
    """A run that was trained without a fold of train and scored on it."""

    name: str
    fold: str  # as in training.fold: 2/5
    settings: Mapping[str, Any]  # by dotted key, without those of one fold
    images: int  # of the whole of train
    scored: ScoredImages
    class_names: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Pooled:
    """All folds of one division of train, with the same settings."""

    runs: tuple[FoldRun, ...]  # by fold
    scored: ScoredImages  # every image of train once

    @property
    def counts(self) -> Counts:
        """Pixels by class of every image, each predicted by the network that was not trained on it."""
        return self.scored.counts


def fold_run(
    name: str,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    scores: Mapping[str, Any],
    confusions: pd.DataFrame,
) -> FoldRun | str:
    """A run on a fold with its scores, or why it cannot be pooled.

    Args:
        name: Of the run.
        model: ``best_model.pth`` without its weights, with ``model_digest``; it has a fold.
        settings: All its settings, as `voc_seg.reporting.comparison.comparison_settings` returns them.
        scores: ``metrics.json`` and ``evaluation_facts.json`` of one evaluation; may be empty.
        confusions: ``image_confusions.parquet``; may be empty.
    """
    scored = scored_images(model, scores, confusions, f"fold {fold_of(model)}")
    if isinstance(scored, str):
        return scored
    data = model["config"]["data"]
    shared = {key: value for key, value in settings.items() if key not in _OF_ONE_FOLD}
    images = data["images"] + data["val_images"]
    names = tuple(model["class_names"])
    return FoldRun(name, fold_of(model), shared, images, scored, names, model["model_digest"])


def pool(runs: Sequence[FoldRun]) -> tuple[dict[str, Pooled], list[str]]:
    """Pool runs by their settings; return the pooled ones by a name, the best first, and why others are not complete.

    The name of a group has the settings in which it differs from others.
    """
    groups: dict[str, list[FoldRun]] = {}
    for run in runs:
        # Divisions into other numbers of folds are other groups.
        groups.setdefault(f"{run.fold.partition('/')[2]} {sorted(map(str, run.settings.items()))}", []).append(run)
    differing = differing_settings([group[0].settings for group in groups.values()])
    pooled: dict[str, Pooled] = {}
    reasons = []
    for group in groups.values():
        name = ", ".join([*named_settings(group[0].settings, differing), f"{group[0].fold.partition('/')[2]} folds"])
        if reason := _incomplete(group):
            reasons.append(f"{name} ({listed([run.name for run in group])}): {reason}")
            continue
        ordered = sorted(group, key=lambda run: int(run.fold.partition("/")[0]))
        whole = Counts.concatenate([run.scored.counts for run in ordered])
        ids = tuple(image_id for run in ordered for image_id in run.scored.ids)
        pooled[name] = Pooled(tuple(ordered), ScoredImages(ids, whole, ordered[0].scored.conditions))
    best_first = sorted(pooled, key=lambda name: -pooled[name].counts.total().miou())
    return {name: pooled[name] for name in best_first}, reasons


def _incomplete(group: Sequence[FoldRun]) -> str:
    """Why runs are not all folds of one division, scored alike; empty if they are."""
    count = int(group[0].fold.partition("/")[2])
    folds = [run.fold for run in group]
    if missing := [f"{number}/{count}" for number in range(1, count + 1) if f"{number}/{count}" not in folds]:
        return f"fold {listed(missing)} is missing"
    if len(folds) > count:
        return "several runs are on the same fold; name those to pool with comparison.runs"
    ids = [image_id for run in group for image_id in run.scored.ids]
    if len(set(ids)) < len(ids) or any(run.images != len(ids) for run in group):
        return "train has changed between these runs"
    if len({run.scored.conditions for run in group}) > 1:
        return "they were scored with different scale, scales, flip, tile or longer_side"
    return ""


def fold_table(pooled: Mapping[str, Pooled], ensembles: Mapping[str, tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """One row for each fold, for all folds pooled, and for their ensemble: FOLD_COLUMNS.

    Args:
        pooled: By name of the group.
        ensembles: By name of the group, its ensemble: name of the run and scores.
    """
    rows = []
    for group, found in pooled.items():
        for run in found.runs:
            rows.append((group, run.name, f"fold {run.fold}", *_scores(run.scored.counts)))
        rows.append((group, "", "all folds", *_scores(found.counts)))
        if group in ensembles:
            name, scores = ensembles[group]
            rows.append((group, name, scores["split"], *(scores.get(key) for key in FOLD_COLUMNS[3:])))
    return pd.DataFrame(rows, columns=list(FOLD_COLUMNS))


def _scores(counts: Counts) -> tuple[float | int | None, ...]:
    ends, total = score_intervals(counts), counts.total()
    row: list[float | int | None] = [len(counts)]
    for key in ("miou", "pixel_accuracy"):
        row += [float(getattr(total, key)()), ends[f"{key}_low"], ends[f"{key}_high"]]
    return tuple(row)


def fold_class_table(pooled: Mapping[str, Pooled]) -> pd.DataFrame:
    """The pooled scores of every class: iou with its interval, least and largest of the folds, recall, precision."""
    tables = []
    for group, found in pooled.items():
        total = found.counts.total()
        by_fold = np.array([run.scored.counts.total().iou() for run in found.runs])
        # Where a class is in no fold, there is no number.
        by_fold = np.where(np.isnan(by_fold).all(0), 0.0, by_fold)
        iou = total.iou()
        table = pd.DataFrame(
            {
                "settings": group,
                "class_name": found.runs[0].class_names,
                "iou": iou,
                **class_intervals(found.counts).to_dict("series"),
                "iou_worst_fold": np.where(np.isnan(iou), np.nan, np.nanmin(by_fold, axis=0)),
                "iou_best_fold": np.where(np.isnan(iou), np.nan, np.nanmax(by_fold, axis=0)),
                "precision": total.precision(),
                "recall": total.recall(),
                "true_pixels": total.truth.astype(np.int64),
            }
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def ensembles_of(
    pooled: Mapping[str, Pooled], runs: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[dict[str, tuple[str, Mapping[str, Any]]], list[str]]:
    """The evaluated ensemble of each group that has one, as `fold_table` takes it, and what is wrong with others.

    Args:
        pooled: By name of the group.
        runs: Ensembles by name: ``best_model.pth`` without its weights, and scores of one evaluation, maybe empty.
    """
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    problems = []
    for name, (model, scores) in runs.items():
        members = {str(one.get("run")): one.get("model_digest") for one in members_of(model)}
        for group, folds in pooled.items():
            if members.keys() != {run.name for run in folds.runs}:
                continue
            if set(members.values()) != {run.digest for run in folds.runs}:
                problems.append(
                    f"{name} is an ensemble of earlier trainings of its runs. Join and score it again: kedro run "
                    f"--pipelines ensemble,evaluation --params 'run={name},ensemble.runs={' '.join(members)}'"
                )
            elif not is_score_of(scores, model) or "miou" not in scores:
                problems.append(f"{name} has not been scored: kedro run --pipelines evaluation --params run={name}")
            else:
                found[group] = name, scores
    return found, problems


def fold_text(table: pd.DataFrame, classes: pd.DataFrame) -> str:
    """The scores of all folds for the console: of each fold, pooled, and of the classes with the best settings."""
    lines = ["Folds of train, each scored by the network that was not trained on it"]
    for group, rows in table.groupby("settings", sort=False):
        lines.append(f"{group}\n{'mIoU':>8}{'95 % interval':>17}{'images':>8}  scored on")
        for row in rows.itertuples(index=False):
            what = f"{row.scored_on}, pooled" if not row.run else f"{row.scored_on}: {row.run}"
            lines.append(f"{score(row.miou):>8}{_ends(row.miou_low, row.miou_high):>17}{row.images:>8}  {what}")
    best = table["settings"].iloc[0]
    lines += [f"Classes, {best}"] if table["settings"].nunique() > 1 else []
    lines.append(f"  {'class':<{_NAME}}{'IoU':>7}{'95 % interval':>17}{'folds':>17}")
    for row in classes[classes["settings"] == best].itertuples(index=False):
        ends, folds = _ends(row.iou_low, row.iou_high), _ends(row.iou_worst_fold, row.iou_best_fold)
        lines.append(f"  {shortened(row.class_name, _NAME - 1):<{_NAME}}{score(row.iou):>7}{ends:>17}{folds:>17}")
    lines += [
        "Intervals are over images. They ignore that the folds share",
        "training images, have one seed each and, with",
        "training.select=best, chose their epochs.",
    ]
    return "\n".join(lines)


def _ends(low: float | None, high: float | None) -> str:
    return "-" if pd.isna(low) or pd.isna(high) else f"{low:.3f} to {high:.3f}"
