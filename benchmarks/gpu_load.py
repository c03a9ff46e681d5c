"""What one more training step or validation image asks of a GPU: launches, waits, bytes over the bus.

    python benchmarks/gpu_load.py

Counted on the simulated GPU of the tests, so it needs g++ but no GPU, and gives the same numbers on every machine.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import print_table

from voc_seg.config import EvaluationConfig, Parameters
from voc_seg.engine import run, runtime
from voc_seg.engine.evaluation import evaluate
from voc_seg.engine.failures import require_finite_weights
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.training import fit
from voc_seg.models.registry import build_model, restore_model
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.scenes.sample import draw_scene, plan_split
from voc_seg.voc.classes import CLASS_NAMES

sys.path.append(str(Path(__file__).parents[1] / "tests" / "simulated_gpu"))
import simgpu

BATCH, STEPS, IMAGES = 4, 2, 4
GPU = torch.device(simgpu.NAME, 0)
STEP: dict[str, dict[str, Any]] = {
    "step, fp32": {},
    "step, bf16": {"runtime": {"precision": "bf16"}},
    "step, fp16": {"runtime": {"precision": "fp16"}},
    "step, bf16, accumulation of two": {"training": {"accumulation": 2}, "runtime": {"precision": "bf16"}},
    "step, bf16, EMA": {"training": {"ema_decay": 0.99}, "runtime": {"precision": "bf16"}},
}


def main() -> None:
    runtime._choose_device = lambda name: GPU
    run.build_optimizer = partial(build_optimizer, fused=True)  # as on CUDA
    with tempfile.TemporaryDirectory() as folder:

        def store(count: int) -> SampleStore:
            path = Path(folder) / f"{count}.arrow"
            if not path.exists():
                write_store(path, (Sample(plan.image_id, *_landscape(plan)) for plan in plan_split("train", count, 0)))
            return SampleStore(path)

        def step(blocks: dict[str, Any], more: int) -> simgpu.Counts:
            crops = BATCH * blocks.get("training", {}).get("accumulation", 1)
            return train(store((1 + more) * crops), store(1), blocks)

        saved = best_model(store(BATCH), store(1))
        rows = [[name, *per_unit(partial(step, blocks), STEPS)] for name, blocks in STEP.items()]
        rows += [
            ["validation image", *per_unit(lambda more: train(store(BATCH), store(1 + more), {}), IMAGES)],
            ["evaluated image, its mask kept", *per_unit(lambda more: score(saved, store(1 + more)), IMAGES)],
            ["image of inference", *per_unit(lambda more: segment(saved, store(1), more), IMAGES)],
            ["check that all weights are finite", *per_unit(check, 1)],
        ]
    columns = ["", "launches", "waits", "bytes to the GPU", "bytes from it", "conversions on the host"]
    print_table(f"ResNet-18, {BATCH} crops of 224; images of 500 x 375", columns, rows)


def per_unit(run: Callable[[int], simgpu.Counts], number: int) -> list[str]:
    """What each of so many more units adds to a run."""
    run(0)  # constants stay on the device from then on
    with_them, without = run(number), run(0)
    return [
        f"{(of(with_them) - of(without)) / number:,.0f}"
        for of in (
            lambda counts: counts.launches.total(),
            lambda counts: counts.waits.total(),
            lambda counts: counts.bytes(to_host=False),
            lambda counts: counts.bytes(to_host=True),
            lambda counts: counts.host_conversions,
        )
    ]


def _landscape(plan: Any) -> tuple[Any, Any]:
    image, mask = draw_scene(plan)
    return (image, mask) if mask.shape[0] < mask.shape[1] else (image.swapaxes(0, 1).copy(), mask.T.copy())


def _parameters(blocks: dict[str, Any]) -> Parameters:
    training = {"epochs": 1, "batch_size": BATCH, **blocks.get("training", {})}
    return Parameters.model_validate({"runtime": {"precision": "fp32"}, **blocks, "training": training})


def train(train_store: SampleStore, val_store: SampleStore, blocks: dict[str, Any]) -> simgpu.Counts:
    """Count a training of one epoch."""
    with simgpu.counting() as counts:
        list(fit(train_store, val_store, CLASS_NAMES, _parameters(blocks)))
    return counts


def best_model(train_store: SampleStore, val_store: SampleStore) -> dict[str, Any]:
    """Train for one epoch; return what is kept of it."""
    *_, last = fit(train_store, val_store, CLASS_NAMES, _parameters({}))
    return last.best_model


def score(saved: dict[str, Any], store: SampleStore) -> simgpu.Counts:
    """Count an evaluation."""
    with simgpu.counting() as counts:
        evaluate(restore_model(saved), store, EvaluationConfig(), Runtime(GPU, torch.float32))
    return counts


def segment(saved: dict[str, Any], store: SampleStore, images: int) -> simgpu.Counts:
    """Count the segmentation of so many images."""
    segmenter = load_segmenter(saved, Parameters().inference, Runtime(GPU, torch.float32))
    with simgpu.counting() as counts:
        for _ in range(images):
            segmenter(store[0].image.copy())
    return counts


def check(times: int) -> simgpu.Counts:
    """Count the check of a network's weights."""
    model = build_model(Parameters().model, len(CLASS_NAMES)).to(GPU)
    with simgpu.counting() as counts:
        for _ in range(times):
            require_finite_weights(model, 0, "")
    return counts


if __name__ == "__main__":
    main()
