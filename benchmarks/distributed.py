"""Images per second of training on one machine: one process against several, on GPUs or on the cores of a CPU.

    python benchmarks/distributed.py --voc-root PATH [--batch 8] [--rounds 5] [--processes 2] [--device auto]

ResNet-18, crops of 224, scale 0.9 to 1.1, the loop of `voc_seg.engine.training.fit` without validation and
checkpoints. Both variants have the same total batch size and the same total number of threads; with GPUs, each process
has one of its own. Every round starts new processes; their first step is not timed. Also measured: the time of summing
all gradients without other work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import add_device, alternate, describe_machine, finish, print_table, ratio
from torch import distributed

from voc_seg.config import AugmentationConfig, ModelConfig, OptimizerConfig, RuntimeConfig
from voc_seg.engine.data_parallel import convert_sync_layers, wrap_ddp
from voc_seg.engine.distributed import barrier, destroy_process_group, init_process_group, rank, world_size
from voc_seg.engine.optimisation import build_optimizer, set_learning_rate
from voc_seg.engine.runtime import choose_runtime, cudnn_benchmark, loader_workers
from voc_seg.engine.training import train_step
from voc_seg.models.registry import build_model
from voc_seg.samples.batches import training_batches
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.splits import find_voc_folder, read_split

REDUCTIONS = 5


def work(store: SampleStore, batch: int, steps: int, device: str, out: Path) -> None:
    """Work of one process: training steps on its part of the batch, then only gradient sums."""
    config = RuntimeConfig(device=device)
    runtime = choose_runtime(config)
    init_process_group(runtime.device, 120)
    torch.manual_seed(0)
    model = convert_sync_layers(runtime.place(build_model(ModelConfig(), 21)), sync_batch_norm=False).train()
    optimizer = build_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 0.006)
    network, scaler = wrap_ddp(model), runtime.gradient_scaler()
    augmentation = AugmentationConfig(crop_size=224, scale=(0.9, 1.1))
    batches = training_batches(
        store, augmentation, batch, 0, range(10**6), loader_workers(config, runtime.device), runtime.asynchronous,
        rank=rank(), ranks=world_size(),
    )  # fmt: skip

    def step() -> None:
        while (part := next(batches)).whole < batch:
            pass  # the last batch of an epoch is smaller
        train_step(network, optimizer, [part], runtime, scaler)

    with runtime.keep_freed_memory(), cudnn_benchmark(True):
        step()
        finish(runtime.device)
        barrier()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        finish(runtime.device)
        barrier()
        seconds = (time.perf_counter() - started) / steps
    size = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    gradients = torch.zeros(size, device=runtime.device)
    finish(runtime.device)
    started = time.perf_counter()
    for _ in range(REDUCTIONS if world_size() > 1 else 0):
        distributed.all_reduce(gradients)
    finish(runtime.device)
    reduction = (time.perf_counter() - started) / REDUCTIONS
    if rank() == 0:
        out.write_text(json.dumps({"seconds": seconds, "reduction": reduction, "bytes": gradients.nbytes}))
    destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, nargs=2, help=argparse.SUPPRESS)  # store and result, for started processes
    add_device(parser)
    arguments = parser.parse_args()
    if arguments.work:
        store, out = arguments.work
        work(SampleStore(store), arguments.batch, arguments.steps, arguments.device, out)
        return
    describe_machine(arguments.device)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as folder:
        split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "train")
        store, out = Path(folder) / "train.arrow", Path(folder) / "out.json"
        write_store(store, DecodedSamples(split, split.ids))

        def side(processes: int) -> Callable[[], float]:
            threads = arguments.processes // processes
            options = f"-m torch.distributed.run --nproc-per-node={processes} {__file__} --batch={arguments.batch}"
            options = f"{options} --steps={arguments.steps} --device={arguments.device}"
            command = [sys.executable, *options.split(), "--work", str(store), str(out)]

            def turn() -> float:
                environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
                subprocess.run(command, env=environment, check=True, capture_output=True)
                found.append({"processes": processes, **json.loads(out.read_text())})
                return found[-1]["seconds"]

            return turn

        sides = {f"{count} x {arguments.processes // count} threads": side(count) for count in (1, arguments.processes)}
        seconds = alternate(sides, arguments.rounds)
    first, *_ = seconds.values()
    rows = [[name, arguments.batch / statistics.median(of), ratio(of, first)] for name, of in seconds.items()]
    print_table(f"Batch of {arguments.batch}", ["processes x threads", "images/s", "times the first"], rows)
    reductions = [turn["reduction"] for turn in found if turn["processes"] > 1]
    columns = ["gradients, MB", "summing only, s"]
    print_table("Reduction", columns, [[found[-1]["bytes"] / 1e6, statistics.median(reductions)]])


if __name__ == "__main__":
    main()
