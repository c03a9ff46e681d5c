"""Images per second of scoring a split at full size, against the bare forward pass at the same shapes.

python benchmarks/evaluation.py --voc-root PATH [--rounds 5] [--images 24]

ours    `voc_seg.engine.evaluation.evaluate`: reads, predicts, argmax, confusion matrix, loss, scores by image
bare    the network on the same pictures, normalised beforehand, one at a time; nothing is made of its logits
"""

import argparse
from pathlib import Path

import torch
from measuring import alternate, describe_machine, print_table, ratio

from voc_seg.config import EvaluationConfig, ModelConfig, RuntimeConfig
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import normalise
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.samples.usable import UsableSamples
from voc_seg.voc.splits import find_voc_folder, read_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24, help="of val")
    parser.add_argument("--packed", type=Path, default=Path("data/05_model_input/benchmark.arrow"))
    arguments = parser.parse_args()
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "val")
    write_store(arguments.packed, UsableSamples(split, split.ids[: arguments.images]))
    store, runtime = SampleStore(arguments.packed), choose_runtime(RuntimeConfig())
    model = build_model(ModelConfig(), 21).to(runtime.device).eval()
    images = [normalise(torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None].to(runtime.device))
              for sample in store]  # fmt: skip

    def bare() -> None:
        with torch.inference_mode(), runtime.memory_kept(), runtime.autocast():
            for image in images:
                model(image)

    describe_machine()
    seconds = alternate({"ours": lambda: evaluate(model, store, EvaluationConfig(), runtime), "bare": bare},
                        arguments.rounds)  # fmt: skip
    rows = [[name, len(store) / sorted(found)[len(found) // 2], ratio(found, seconds["bare"])]
            for name, found in seconds.items()]  # fmt: skip
    print_table("Evaluation at full size, ResNet-18", ["side", "images/s", "of bare"], rows)
    arguments.packed.unlink()


if __name__ == "__main__":
    main()
