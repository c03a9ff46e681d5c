"""A hundred thousand small samples: indexing, packing into shards, resuming after a kill, and an epoch of crops.

    python benchmarks/large_data.py --voc-root PATH [--images 10000 100000] [--longer-side 64] [--shard-images 20000]

VOC's images are reduced once and linked under the requested number of names in a temporary folder (100,000 images of 64
pixels take 1.1 GB packed, and there are two such stores at a time). Every stage runs in its own process. Memory is
anonymous memory, as the kernel can drop the pages of a memory map at any time. "start" is after imports and, if any,
loading the index; for the epoch, after the first batch.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
from growth import own_memory
from measuring import alternate, describe_machine, print_table, ratio
from PIL import Image

from voc_seg.config import AugmentationConfig, DataConfig
from voc_seg.datasets import SampleStoreDataset
from voc_seg.pipelines.data_processing.nodes import index_split, pack_split
from voc_seg.samples.batches import epoch_order, training_batches
from voc_seg.samples.paths import shards_folder
from voc_seg.samples.store import SampleStore
from voc_seg.voc.image_lists import read_ids
from voc_seg.voc.splits import find_voc_folder, read_split
from voc_seg.voc.statistics import rejected_images

VIEWS = 20_000


def make_pictures(voc: Path, target: Path, images: int, longer_side: int) -> None:
    """A split ``train`` with this many names in VOC's layout; its files are VOC's, reduced."""
    ids = read_ids(voc / "ImageSets/Segmentation/trainval.txt")
    lists = target / "ImageSets/Segmentation"
    for folder in (target / "JPEGImages", target / "SegmentationClass", lists):
        folder.mkdir(parents=True)
    names = [f"{number // len(ids):05d}_{ids[number % len(ids)]}" for number in range(images)]
    kinds = (
        ("JPEGImages", ".jpg", Image.Resampling.LANCZOS, {"quality": 90}),
        ("SegmentationClass", ".png", Image.Resampling.NEAREST, {}),
    )
    for folder, ending, how, options in kinds:
        for number, name in enumerate(names):
            path = target / folder / (name + ending)
            if number >= len(ids):
                path.hardlink_to(target / folder / (names[number % len(ids)] + ending))
                continue
            with Image.open(voc / folder / (ids[number] + ending)) as picture:
                factor = longer_side / max(picture.size)
                picture.resize([max(1, round(side * factor)) for side in picture.size], how).save(path, **options)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


class Watch:
    """Measure seconds, and anonymous memory of this process in MB: at the start, and the peak."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._start = self._peak = own_memory()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._peak = max(self._peak, own_memory())
            time.sleep(0.02)

    def found(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._started, "start": self._start, "peak": self._peak}


def index(folder: Path, _: Path, __: int) -> dict[str, float]:
    watch = Watch()
    index_split(read_split(folder, "own", "train"), pd.DataFrame(), DataConfig()).to_parquet(folder / "index.parquet")
    return watch.found()


def pack(folder: Path, store: Path, shard_images: int) -> dict[str, float]:
    data = DataConfig(shard_images=shard_images)
    table = pd.read_parquet(folder / "index.parquet")
    watch = Watch()
    samples = pack_split(read_split(folder, "own", "train"), table, rejected_images({"train": table}), data)
    SampleStoreDataset(filepath=str(store), source="own").save(samples)
    return watch.found()


def epoch(_: Path, store: Path, __: int) -> dict[str, float]:
    samples = SampleStore(store)
    batches = training_batches(samples, AugmentationConfig(crop_size=64), 32, 0, range(1))
    seen = len(next(batches).ids)
    watch = Watch()
    seen += sum(len(batch.ids) for batch in batches)
    assert seen == len(samples)
    return watch.found()


STAGES = {"index": index, "pack": pack, "epoch": epoch}


def command(stage: str, folder: Path, store: Path, shard_images: int) -> list[str]:
    return [sys.executable, __file__, "--stage", stage, str(folder), str(store), str(shard_images)]


def measured(stage: str, folder: Path, store: Path, shard_images: int) -> dict[str, float]:
    """Run a stage in a new process."""
    run = subprocess.run(command(stage, folder, store, shard_images), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def kill_half_way(folder: Path, store: Path, shard_images: int, shards: int) -> int:
    """Pack half of the shards, then send SIGKILL; return the number of shards."""
    there = 0
    with subprocess.Popen(command("pack", folder, store, shard_images), stdout=subprocess.DEVNULL) as process:
        while there < shards // 2 and process.poll() is None:
            time.sleep(0.05)
            there = len(list(shards_folder(store).glob("*.arrow")))
        process.kill()
    return there


def stages(folder: Path, images: int, shard_images: int) -> list[list[object]]:
    """One row per stage: seconds, images/s, MB at the start and at the peak."""
    store, rows, shards = folder / "train_samples.arrow", [], -(-images // shard_images)

    def add(name: str, stage: str) -> None:
        found = measured(stage, folder, store, shard_images)
        rows.append([images, shards, name, found["seconds"], images / found["seconds"], found["start"], found["peak"]])

    add("index", "index")
    if shards > 1:
        there = kill_half_way(folder, store, shard_images, shards)
        add(f"pack, {there} shards there", "pack")
        delete(store)
    add("pack", "pack")
    add("pack, unchanged", "pack")
    add("epoch of crops", "epoch")
    delete(store)
    return rows


def delete(store: Path) -> None:
    for path in [store, *shards_folder(store).glob("*")]:
        path.unlink()


def views(folder: Path, images: int) -> list[list[object]]:
    """Milliseconds for a raw view in random order, the first view, and all ids: 1 and 100 shards in turn."""
    stores = {shards: folder / f"of_{shards}.arrow" for shards in (1, 100)}
    for shards, path in stores.items():
        measured("pack", folder, path, -(-images // shards))
    order = epoch_order(images, 0, 0)[:VIEWS].tolist()
    opened = {shards: SampleStore(path) for shards, path in stores.items()}

    def look(shards: int) -> None:
        for position in order:
            _ = opened[shards][position]

    def first_view(shards: int) -> None:
        _ = SampleStore(stores[shards])[images // 2]

    def listing(shards: int) -> None:
        _ = SampleStore(stores[shards]).ids

    looked, first, listed = (
        alternate({str(shards): lambda side=side, shards=shards: side(shards) for shards in stores}, repeats)
        for side, repeats in ((look, 9), (first_view, 9), (listing, 3))
    )
    rows = []
    for shards in map(str, stores):
        view, begin, all_ids = (1000 * statistics.median(times[shards]) for times in (looked, first, listed))
        rows.append([images, shards, view / len(order), ratio(looked[shards], looked["1"]), begin, all_ids])
    for path in stores.values():
        delete(path)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--longer-side", type=int, default=64)
    parser.add_argument("--shard-images", type=int, default=DataConfig().shard_images)
    parser.add_argument("--stage", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage, folder, store, shard_images = arguments.stage
        sys.stdout.write(json.dumps(STAGES[stage](Path(folder), Path(store), int(shard_images))))
        return
    if arguments.voc_root is None:
        parser.error("--voc-root is needed")
    describe_machine()
    voc, rows, seen = find_voc_folder(arguments.voc_root, "2012"), [], []
    for images in arguments.images:
        with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as temporary:
            folder = Path(temporary) / "voc"
            make_pictures(voc, folder, images, arguments.longer_side)
            rows += stages(folder, images, arguments.shard_images)
            seen += views(folder, images)
    columns = ["images", "shards", "stage", "seconds", "images/s", "MB at start", "MB at most"]
    print_table("Own memory and wall time", columns, rows)
    columns = ["images", "shards", "ms a view", "times as quick as 1", "ms to first view", "ms for all ids"]
    print_table("Reading, sides in turn", columns, seen)


if __name__ == "__main__":
    main()
