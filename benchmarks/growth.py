"""Seconds of an epoch and peak memory at several sizes of the same data.

    python benchmarks/growth.py --voc-root PATH [--copies 1 4 16]

On the CPU: ResNet-18, crops of 64, batches of 4, one epoch and validation on four images; each run in its own process,
with and without runtime.keep_memory. The packed store is memory-mapped, and the kernel can drop its pages at any time,
so only anonymous memory must not grow.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import describe_machine, print_table

from voc_seg.config import Parameters
from voc_seg.engine.training import fit
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.splits import find_voc_folder, read_split


def copies_of(samples: DecodedSamples, copies: int) -> Iterator[Sample]:
    for number in range(copies):
        for sample in samples:
            yield Sample(f"{sample.id}_{number}", sample.image, sample.mask)


def own_memory() -> float:
    """Anonymous resident memory of this process in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def epoch(train: Path, val: Path, keep_memory: bool) -> dict[str, float]:
    """Train one epoch; return seconds of its steps, images and peak anonymous memory."""
    settings = {
        "augmentation": {"crop_size": 64, "scale": [0.2, 0.4]},
        "training": {"epochs": 1, "batch_size": 4},
        "evaluation": {"scale": 0.2},
        "runtime": {"device": "cpu", "keep_memory": keep_memory},
    }
    peak = [0.0]

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], own_memory())
            time.sleep(0.1)

    threading.Thread(target=watch, daemon=True).start()
    store = SampleStore(train)
    *_, report = fit(store, SampleStore(val), CLASS_NAMES, Parameters.model_validate(settings))
    row = report.history[-1]
    return {"images": len(store), "seconds": len(store) / row["images_per_second"], "peak_mb": peak[0],
            "data_seconds": row["data_seconds"]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--epoch", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.epoch:
        train, val, kept = arguments.epoch
        sys.stdout.write(json.dumps(epoch(Path(train), Path(val), kept == "kept")))
        return
    if arguments.voc_root is None:
        parser.error("--voc-root is needed")
    describe_machine()
    folder = find_voc_folder(arguments.voc_root, "2012")
    train, val = (read_split(folder, "sample", name) for name in ("train", "val"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as temporary:
        few = Path(temporary) / "val.arrow"
        write_store(few, DecodedSamples(val, val.ids[:4]))
        for copies in arguments.copies:
            store = Path(temporary) / "train.arrow"
            write_store(store, copies_of(DecodedSamples(train, train.ids), copies))
            for kept in ("kept", "not kept"):
                command = [sys.executable, __file__, "--epoch", str(store), str(few), kept]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                share = 100 * found["data_seconds"] / found["seconds"]
                rows.append([copies, found["images"], kept, found["seconds"], found["images"] / found["seconds"], share,
                             found["peak_mb"]])  # fmt: skip
    columns = ["copies", "images", "memory", "s an epoch", "images/s", "% waiting for data", "peak MB"]
    print_table("Growth", columns, rows)


if __name__ == "__main__":
    main()
