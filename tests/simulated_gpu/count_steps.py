"""Print what a training step, a validation image and a finiteness check ask of a GPU: python count_steps.py"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from simgpu import Counts, counting
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from voc_seg.config import AugmentationConfig, EvaluationConfig, ModelConfig, TrainingConfig
from voc_seg.engine.evaluation import predict_all
from voc_seg.engine.failures import require_finite_weights
from voc_seg.engine.optimisation import build_optimizer
from voc_seg.engine.run import train_mode
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import training_batches
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.scenes.sample import draw_scene, plan_split

GPU = torch.device("simgpu", 0)


def scenes(folder: Path, count: int) -> SampleStore:
    """Drawn scenes at their own size, packed."""
    samples = [Sample(plan.image_id, *draw_scene(plan)) for plan in plan_split("train", count, 0)]
    write_store(folder / "train.arrow", samples)
    return SampleStore(folder / "train.arrow")


def step(store: SampleStore, dtype: torch.dtype, accumulation: int = 1, ema: bool = False) -> Counts:
    """Count the third step of a training of ResNet-18 with pinned batches."""
    torch.manual_seed(0)
    runtime, config = Runtime(GPU, dtype), TrainingConfig()
    model = build_model(ModelConfig(encoder="resnet18"), 21).to(GPU)
    optimizer = build_optimizer(model, config.optimizer)
    train_mode(model, config)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)) if ema else None
    crops = AugmentationConfig(crop_size=64, scale=(0.5, 0.8))
    batches = training_batches(store, crops, 2, 0, range(10), 0, pin_memory=True)

    def take() -> None:
        train_step(model, optimizer, [next(batches) for _ in range(accumulation)], runtime)
        if average:
            average.update_parameters(model)

    take(), take()
    with counting() as counts:
        take()
    return counts


def validation(store: SampleStore, scale: float) -> Counts:
    """Count the validation of all images of a store."""
    model = build_model(ModelConfig(encoder="resnet18"), 21).to(GPU).eval()
    with counting() as counts:
        list(predict_all(model, store, EvaluationConfig(scale=scale), Runtime(GPU, torch.float32)))
    return counts


def finiteness() -> Counts:
    """Count one check of all weights."""
    model = build_model(ModelConfig(encoder="resnet18"), 21).to(GPU)
    with counting() as counts:
        require_finite_weights(model, 0, "")
    return counts


def main() -> None:
    def cases(store: SampleStore) -> Iterator[tuple[str, Callable[[], Counts]]]:
        yield "step, fp32", lambda: step(store, torch.float32)
        yield "step, bf16", lambda: step(store, torch.bfloat16)
        yield "step, bf16, accumulation 2", lambda: step(store, torch.bfloat16, accumulation=2)
        yield "step, bf16, EMA", lambda: step(store, torch.bfloat16, ema=True)
        yield f"validation of {len(store)} images", lambda: validation(store, 0.5)
        yield "finiteness of weights", finiteness

    with tempfile.TemporaryDirectory() as folder:
        for name, count in cases(scenes(Path(folder), 4)):
            counts = count()
            print(f"{name}: {counts}")
            for copy in counts.copies[:12] if "-v" in sys.argv else ():
                print("   ", copy)
            if "-v" in sys.argv:
                print("   ", dict(counts.launches.most_common()))


if __name__ == "__main__":
    main()
