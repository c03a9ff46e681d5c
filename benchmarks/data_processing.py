"""Indexing and packing at several sizes of the same data: images per second, peak memory, and the second run.

    python benchmarks/data_processing.py --voc-root PATH [--copies 1 4 16] [--repeats 3]

For each size, the images are copied under new names into a temporary folder. Every measurement is a new process, so
that peak memory is comparable. "first" starts without an index; "second" finds the files unchanged. It times the work
of `kedro run --pipelines data_processing` on train and val, without Kedro's start-up and without the figure.
"""

import argparse
import json
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from voc_seg.config import DataConfig
from voc_seg.datasets import EarlierTableDataset, SampleStoreDataset
from voc_seg.pipelines.data_processing.nodes import index_split, pack_split
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.splits import find_voc_folder, read_split
from voc_seg.voc.statistics import rejected_images

SPLITS = ("train", "val")


def copy_voc(voc: Path, target: Path, copies: int) -> int:
    """Write ``copies`` copies of every image of train and val under new names; return the number of images."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / part).mkdir(parents=True)
    images = 0
    for split in SPLITS:
        ids = read_ids(voc / "ImageSets/Segmentation" / f"{split}.txt")
        names = [(image_id, f"{image_id}_{number}") for number in range(copies) for image_id in ids]
        for image_id, name in names:
            shutil.copyfile(voc / "JPEGImages" / f"{image_id}.jpg", target / "JPEGImages" / f"{name}.jpg")
            shutil.copyfile(voc / "SegmentationClass" / f"{image_id}.png", target / "SegmentationClass" / f"{name}.png")
        lists = target / "ImageSets/Segmentation" / f"{split}.txt"
        lists.write_text("".join(f"{name}\n" for _, name in names), encoding="utf-8")
        images += len(names)
    return images


def process(voc: Path, out: Path) -> dict[str, float]:
    """Index and pack train and val; return seconds of each, and peak memory of this process in MB."""
    data, seconds = DataConfig(), {"index": 0.0, "pack": 0.0}
    for name in SPLITS:
        split = read_split(voc, "own", name)
        index_path = out / f"{name}_index.parquet"
        started = time.perf_counter()
        index = index_split(split, EarlierTableDataset(filepath=str(index_path)).load(), data)
        index.to_parquet(index_path)
        indexed = time.perf_counter()
        samples = pack_split(split, index, rejected_images({name: index}), data)
        SampleStoreDataset(filepath=str(out / f"{name}_samples.arrow"), source="own").save(samples)
        seconds["index"] += indexed - started
        seconds["pack"] += time.perf_counter() - indexed
    return seconds | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measured(voc: Path, out: Path) -> dict[str, float]:
    """Run `process` in a new process."""
    command = [sys.executable, __file__, "--process", str(voc), str(out)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(voc: Path, copies: list[int], repeats: int) -> pd.DataFrame:
    """Medians over the repeats, one row per size."""
    rows = []
    for number in copies:
        with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as folder:
            images = copy_voc(voc, Path(folder) / "voc", number)
            runs = []
            for repeat in range(repeats):
                out = Path(folder) / f"out_{repeat}"
                out.mkdir()
                first, second = (measured(Path(folder) / "voc", out) for _ in range(2))
                runs.append((first, second))
                shutil.rmtree(out)
        both = [(first["index"] + first["pack"], second["index"] + second["pack"]) for first, second in runs]
        rows.append({
            "copies": number,
            "images": images,
            "index/s": images / statistics.median(first["index"] for first, _ in runs),
            "pack/s": images / statistics.median(first["pack"] for first, _ in runs),
            "first s": statistics.median(first for first, _ in both),
            "second s": statistics.median(second for _, second in both),
            "ratio": statistics.median(first / second for first, second in both),
            "MB first": statistics.median(first["peak_mb"] for first, _ in runs),
            "MB second": statistics.median(second["peak_mb"] for _, second in runs),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, help="a VOCdevkit, what contains it, or a VOC2012 folder")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--process", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        sys.stdout.write(json.dumps(process(*arguments.process)))
        return
    if arguments.voc_root is None:
        parser.error("--voc-root is needed")
    table = compare(find_voc_folder(arguments.voc_root, "2012"), arguments.copies, arguments.repeats)
    console = Console()
    console.print(f"{platform.machine()}, Python {platform.python_version()}, medians of {arguments.repeats}")
    shown = Table(*table.columns)
    for row in table.itertuples(index=False):
        shown.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    console.print(shown)


if __name__ == "__main__":
    main()
