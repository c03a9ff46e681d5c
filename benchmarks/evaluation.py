"""Images per second of scoring a split at full size, against the bare forward pass at the same shapes.

    python benchmarks/evaluation.py --voc-root PATH [--rounds 5] [--images 24] [--device auto]

ours    `voc_seg.engine.evaluation.evaluate`: read, predict, argmax, confusion matrix, loss, scores per image,
        boundaries, calibration
plain   the same without boundaries and calibration
bare    only the network, on the same images, on the device and normalised before, one at a time
fours   the same with four images of equal size at a time, where possible
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import add_device, alternate, console, describe_machine, print_table, ratio

from voc_seg.config import EvaluationConfig, ModelConfig, RuntimeConfig
from voc_seg.engine.evaluation import accumulate, evaluate
from voc_seg.engine.prediction import _group_by_size, predict_all
from voc_seg.engine.runtime import choose_runtime
from voc_seg.metrics.confusion import mean_iou, pixel_accuracy
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import normalise
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.splits import find_voc_folder, read_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24, help="number of images from val")
    add_device(parser)
    arguments = parser.parse_args()
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "val")
    runtime = choose_runtime(RuntimeConfig(device=arguments.device))
    model = runtime.place(build_model(ModelConfig(), 21)).eval()
    describe_machine(arguments.device)
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as folder:
        path = Path(folder) / "val.arrow"
        write_store(path, DecodedSamples(split, split.ids[: arguments.images]))
        store = SampleStore(path)

        def forward(most: int) -> Callable[[], None]:
            stacked = (torch.from_numpy(np.stack([sample.image for sample in group])).permute(0, 3, 1, 2)
                       for group in _group_by_size(store, most * 375 * 500))  # fmt: skip
            batches = [normalise(pixels.to(runtime.device)).contiguous(memory_format=runtime.memory_format)
                       for pixels in stacked]  # fmt: skip

            def run() -> None:
                with torch.inference_mode(), runtime.keep_freed_memory(), runtime.autocast():
                    for images in batches:
                        model(images)

            return run

        def plain() -> None:
            with runtime.keep_freed_memory():
                predictions = list(predict_all(model, store, EvaluationConfig(), runtime))
                accumulate(predictions)
                for one in predictions:
                    mean_iou(one.confusion), pixel_accuracy(one.confusion)

        sides = {
            "ours": lambda: evaluate(model, store, EvaluationConfig(), runtime),
            "plain": plain,
            "bare": forward(0),
            "fours": forward(4),
        }
        seconds = alternate(sides, arguments.rounds, runtime.device)
    rows = [[name, arguments.images / statistics.median(found), ratio(found, seconds["bare"]),
             ratio(found, seconds["plain"])] for name, found in seconds.items()]  # fmt: skip
    print_table("Evaluation at full size, ResNet-18", ["side", "images/s", "of bare", "of plain"], rows)
    ratios = np.array(seconds["ours"]) / np.array(seconds["plain"]) - 1
    draws = np.median(np.random.default_rng(0).choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    console.print(
        f"Boundaries and calibration add {np.median(ratios):.1%}: median of {len(ratios)} rounds, "
        f"95 % interval {low:.1%} to {high:.1%} by bootstrap over rounds"
    )


if __name__ == "__main__":
    main()
