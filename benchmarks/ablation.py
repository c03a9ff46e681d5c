"""What each part of a recipe brings: one part more in every row, the same CPU time for each.

    python benchmarks/ablation.py --voc-root PATH --weights FILE --out FILE [--network resnet50] [--cpu-minutes 6] \
        [--variants | --imported] [--rows NAME ...] [--epochs N] [--seeds 0] [--last-seeds 0 1 2] [--threads 1]

Trains on 264 of the images of train and scores the other 66, which no training sees; val is never read. Which 66 is
decided by a hash of the ids. The number of epochs of each row is fitted to its measured speed, so that training takes
``--cpu-minutes`` of processor time (all threads together); validation is extra, and the same for all. ``--epochs``
fixes the number instead, which other work on the machine cannot change.

Rows are added to the file as they finish, and those that it has are skipped, so the script can be stopped and started
again. With ``--variants`` each row changes one thing in the last row of the first table instead; with ``--imported``,
in the settings that ``kedro import-data`` once wrote. The table gives mean and deviation over the seeds.
"""

import argparse
import hashlib
import itertools
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measuring import console, describe_machine, print_table, read_recipe

from voc_seg.config import Parameters
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import choose_runtime
from voc_seg.engine.training import fit
from voc_seg.metrics.confusion import mean_iou
from voc_seg.models.registry import restore_model
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.splits import find_voc_folder, read_split

HELD_OUT = 66
PROBE = 48
"""Images: held out of 330, and trained on to measure the speed of a row."""

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet50": {"encoder": "resnet50", "stride_in_1x1": True},
    "lite0": {"encoder": "timm:tf_efficientnet_lite0"},
}

RECIPE = read_recipe("voc2012")

PARTS: list[tuple[str, dict[str, Any]]] = [
    ("conf/voc2012", {block: RECIPE[block] for block in ("augmentation", "training", "evaluation")}),
    (
        "batches of 8, encoder at a tenth of the rate",
        {"training": {"batch_size": 8, "optimizer": {"learning_rate": 0.01, "encoder_factor": 0.1}}},
    ),
    ("frozen batch norm and stages", {"training": {"freeze_batch_norm": True, "frozen_stages": 2}}),
    ("scales 0.5 to 1.2", {"augmentation": {"crop_size": 256, "scale": [0.5, 1.2]}, "evaluation": {"scale": 0.8}}),
    ("decoder at stride 8, twice as wide", {"model": {"skips": [3, 4], "width": 256}}),
    ("colour_jitter", {"augmentation": {"colour_jitter": 0.3}}),
    ("max_class_share", {"augmentation": {"max_class_share": 0.75}}),
    ("copy_paste", {"augmentation": {"copy_paste": 0.3}}),
    ("moving average", {"training": {"ema_decay": 0.99}}),
    ("flip", {"evaluation": {"flip": True}}),
]
"""Rows of the first table: name, and the settings that it adds to the row before."""

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("strength=light", {"augmentation": {"colour_jitter": 0.0, "strength": "light"}}),
    ("strength=standard", {"augmentation": {"colour_jitter": 0.0, "strength": "standard"}}),
    ("strength=strong", {"augmentation": {"colour_jitter": 0.0, "strength": "strong"}}),
    ("rare_crops", {"augmentation": {"rare_crops": 0.5}}),
    ("class_weights=balanced", {"training": {"loss": {"class_weights": "balanced"}}}),
    ("label_smoothing", {"training": {"loss": {"label_smoothing": 0.1}}}),
    ("ohem", {"training": {"loss": {"ohem": 0.25}}}),
    ("dice", {"training": {"loss": {"dice": 0.5}}}),
    ("lovasz", {"training": {"loss": {"lovasz": 0.5}}}),
    ("focal", {"training": {"loss": {"cross_entropy": 0.0, "focal": 1.0}}}),
    ("boundary", {"training": {"loss": {"boundary": 1.0}}}),
    ("aspp", {"model": {"decoder": "aspp"}}),
    ("linear", {"model": {"decoder": "linear"}}),
    ("output_stride=16", {"model": {"output_stride": 16}}),
    ("output_stride=8", {"model": {"output_stride": 8}}),
    ("auxiliary", {"model": {"auxiliary": 0.4}}),
    ("weight_decay=0.0005", {"training": {"optimizer": {"weight_decay": 0.0005}}}),
    ("adamw", {"training": {"optimizer": {"name": "adamw", "learning_rate": 0.0005, "weight_decay": 0.05}}}),
    ("layer_decay", {"training": {"optimizer": {"encoder_factor": 0.3, "layer_decay": 0.7}}}),
    ("clip_gradient", {"training": {"clip_gradient": 5.0}}),
    ("ema_warmup", {"training": {"ema_warmup": True}}),
    ("frozen_stages=all", {"training": {"frozen_stages": "all"}}),
    ("scales", {"evaluation": {"scales": [0.6, 0.8, 1.0]}}),
]
"""Rows of the second table: name, and the one thing that it changes in the last row of the first."""

IMPORTED: list[tuple[str, dict[str, Any]]] = [
    (
        "import-data",
        {
            "augmentation": {"crop_size": 224, "scale": [0.8, 1.25]},
            "training": {"batch_size": 4, "optimizer": {"learning_rate": 0.006}},
            "evaluation": {"scale": 1.0},
        },
    ),
    ("encoder_factor", {"training": {"optimizer": {"encoder_factor": 0.1}}}),
    ("freeze_batch_norm", {"training": {"freeze_batch_norm": True}}),
    ("both", {"training": {"freeze_batch_norm": True, "optimizer": {"encoder_factor": 0.1}}}),
    (
        "both, learning_rate=0.02",
        {"training": {"freeze_batch_norm": True, "optimizer": {"encoder_factor": 0.1, "learning_rate": 0.02}}},
    ),
    (
        "freeze_batch_norm, learning_rate=0.002",
        {"training": {"freeze_batch_norm": True, "optimizer": {"learning_rate": 0.002}}},
    ),
]
"""Rows of the third table: the settings that ``kedro import-data`` wrote for VOC before, and what it might change."""


def merged(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others on top."""
    result = dict(settings)
    for key, value in more.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, Mapping) else value
    return result


def pack(voc_root: Path, packed: Path) -> dict[str, SampleStore]:
    """Packed parts of train: ``learnt``, ``held_out``, and a few images of each to measure the speed with."""
    split = read_split(find_voc_folder(voc_root, "2012"), "sample", "train")
    by_hash = sorted(split.ids, key=lambda name: hashlib.md5(name.encode()).hexdigest())
    parts = {"held_out": by_hash[:HELD_OUT], "learnt": by_hash[HELD_OUT:]}
    parts |= {"probe": parts["learnt"][:PROBE], "probe_val": parts["held_out"][:1]}
    stores = {}
    for name, ids in parts.items():
        path = packed / f"ablation_{name}.arrow"
        write_store(path, DecodedSamples(split, tuple(one for one in split.ids if one in set(ids))))
        stores[name] = SampleStore(path)
    return stores


def train_epochs(parameters: Parameters, train: SampleStore, val: SampleStore) -> tuple[EpochReport, float]:
    """Train and validate once at the end; return the last report and the CPU seconds."""
    started = time.process_time()
    *_, last = fit(train, val, CLASS_NAMES, parameters)
    return last, time.process_time() - started


def train_row(
    settings: Mapping[str, Any], stores: Mapping[str, SampleStore], minutes: float, epochs: int | None
) -> dict[str, Any]:
    """Train for these epochs, or as many as the CPU minutes allow; score the held-out images with the last weights."""

    def of_length(epochs: int) -> Parameters:
        return Parameters.model_validate(merged(settings, {"training": {"epochs": epochs, "validate_every": epochs}}))

    if epochs is None:
        # The difference of two lengths is free of what every run does once.
        seconds = [train_epochs(of_length(length), stores["probe"], stores["probe_val"])[1] for length in (1, 3)]
        epoch = (seconds[1] - seconds[0]) / 2 * len(stores["learnt"]) / PROBE
        epochs = max(1, round(60 * minutes / epoch))
    parameters = of_length(epochs)
    last, spent = train_epochs(parameters, stores["learnt"], stores["held_out"])
    row, miou = last.history[-1], last.history[-1]["val_miou"]
    if parameters.evaluation.scales:  # validation has a single scale
        model, runtime = restore_model(last.best_model), choose_runtime(parameters.runtime)
        found = evaluate(model, stores["held_out"], parameters.evaluation, runtime)
        miou = mean_iou(found.score.confusion)
    return {
        "epochs": epochs,
        "miou": miou,
        "val_loss": row["val_loss"],
        "train_loss": row["train_loss"],
        "cpu_minutes": spent / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--network", choices=list(NETWORKS), default="resnet50")
    parser.add_argument("--variants", action="store_true", help="change one thing in the last row, instead of adding")
    parser.add_argument("--imported", action="store_true", help="change the settings that kedro import-data once wrote")
    parser.add_argument("--cpu-minutes", type=float, default=6.0)
    parser.add_argument("--epochs", type=int, help="train every row for this long, instead of --cpu-minutes")
    parser.add_argument("--rows", nargs="+", help="only these rows; a row still has all parts of those before it")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--last-seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of the last two rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--packed", type=Path, default=Path("data/05_model_input"))
    parser.add_argument("--out", type=Path, required=True, help="CSV of all runs; rows that it has are not repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    describe_machine("cpu")
    stores = pack(arguments.voc_root, arguments.packed)
    base: dict[str, Any] = {"model": NETWORKS[arguments.network] | {"weights": str(arguments.weights)}}
    rows = list(itertools.accumulate((more for _, more in PARTS), merged, initial=base))[1:]
    named = list(zip((name for name, _ in PARTS), rows))
    several = {name for name, _ in named[-2:]}
    if arguments.variants:
        named = [named[-1], *((name, merged(rows[-1], more)) for name, more in VARIANTS)]
    if arguments.imported:
        first = merged(base, IMPORTED[0][1])
        named, several = [(name, merged(first, more)) for name, more in IMPORTED], set()
    done = pd.read_csv(arguments.out) if arguments.out.exists() else pd.DataFrame(columns=["row", "seed"])
    for name, settings in named:
        if arguments.rows and name not in arguments.rows:
            continue
        for seed in arguments.last_seeds if name in several else arguments.seeds:
            if ((done["row"] == name) & (done["seed"] == seed)).any():
                continue
            found = train_row(settings | {"seed": seed}, stores, arguments.cpu_minutes, arguments.epochs)
            row = {"row": name, "seed": seed, **found, "settings": json.dumps(settings)}
            done = pd.concat([done, pd.DataFrame([row])], ignore_index=True)
            done.to_csv(arguments.out, index=False)
            console.print(row, highlight=False)
    print_summary(done, [name for name, _ in named], arguments.variants or arguments.imported)


def print_summary(runs: pd.DataFrame, names: list[str], variants: bool) -> None:
    """Print mean and deviation of every row over its seeds, and its gain over the row before, or over the first."""
    rows: list[list[object]] = []
    for name in names:
        scores = runs.loc[runs["row"] == name, "miou"].tolist()
        if not scores:
            continue
        mean = statistics.mean(scores)
        deviation = f"{statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        gain = f"{mean - float(str(rows[0 if variants else -1][1])):+.3f}" if rows else ""
        rows.append([name, f"{mean:.3f}", deviation, len(scores), gain])
    print_table("mIoU on the held-out images", ["row", "mean", "deviation", "seeds", "gain"], rows)


if __name__ == "__main__":
    main()
