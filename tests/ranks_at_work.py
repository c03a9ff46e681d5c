"""Training runs for tests, under torchrun or in one process: record what was trained on, and the result.

In float64, so that sums in another order do not hide whether the arithmetic is the same.
"""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from voc_seg.config import Parameters
from voc_seg.engine import feeding, frozen, training
from voc_seg.engine import run as training_run
from voc_seg.engine.distributed import all_gather, all_reduce_sum, destroy_process_group, init_process_group, rank
from voc_seg.engine.evaluation import Score
from voc_seg.samples.batches import Batch, normalise
from voc_seg.samples.store import SampleStore
from voc_seg.voc.classes import CLASS_NAMES

SEEN: dict[str, list] = {"steps": [], "losses": [], "shares": [], "pixels": []}
"""By step: ids in the order of the whole batches, loss, crops of each process; by validation: pixels scored."""


def in_float64(patch: Callable[[Any, str, Any], None]) -> None:
    """Make the training compute in float64 and record its inputs."""
    build, restore = training_run.build_model, training_run.restore_model
    step, validate = training.train_step, training.validate

    def watched(model: nn.Module, optimizer: Any, group: list[Batch], *rest: Any) -> float:
        loss = float(step(model, optimizer, group, *rest))
        parts = all_gather([list(batch.ids) for batch in group])
        SEEN["steps"].append([name for part in zip(*parts) for ids in part for name in ids])
        SEEN["shares"].append([sum(map(len, part)) for part in parts])
        SEEN["losses"].append(all_reduce_sum(loss)[0])
        return loss

    def scored(model: nn.Module, *given: Any) -> Score:
        score = validate(copy.deepcopy(model).float(), *given)
        SEEN["pixels"].append(int(score.confusion.sum()))
        return score

    def restored(given: dict[str, Any]) -> nn.Module:
        model = restore(given).double()
        model.load_state_dict(given["model"])  # in float64; float32 has rounded the loaded weights
        return model

    patch(training_run, "build_model", lambda *given: build(*given).double())
    patch(training_run, "restore_model", restored)
    for module in (feeding, frozen):
        patch(module, "normalise", lambda *given: normalise(*given).double())
    patch(feeding, "maps_to_device", lambda *given: [maps.double() for maps in frozen.maps_to_device(*given)])
    patch(training, "validate", scored)
    patch(training, "train_step", watched)


def trace_only(patch: Callable[[Any, str, Any], None]) -> None:
    """Make torch.compile trace networks without generating code, which takes seconds instead of a minute."""
    original = torch.compile
    patch(torch, "compile", lambda network, dynamic, options: original(network, dynamic=dynamic, backend="aot_eager"))


def work(folder: Path, name: str, settings: dict[str, Any], checkpoint: str = "", reports: int = 0) -> None:
    """Train from a checkpoint or from scratch, to the end or to a given report; save the checkpoint and the record."""
    for values in SEEN.values():
        values.clear()
    start = torch.load(folder / f"{checkpoint}.pth", weights_only=True) if checkpoint else None
    stores = SampleStore(folder / "train.arrow"), SampleStore(folder / "val.arrow")
    reported = training.fit(*stores, CLASS_NAMES, Parameters.model_validate(settings), start)
    for number, report in enumerate(reported, start=1):
        last = report.checkpoint
        if number == reports:
            break
    if rank() == 0:
        torch.save(last, folder / f"{name}.pth")
        (folder / f"{name}.json").write_text(json.dumps(SEEN))


if __name__ == "__main__":
    from narrow import narrow_resnet18  # beside this file, as it is a script

    narrow_resnet18(pytest.MonkeyPatch())
    init_process_group(torch.device("cpu"), 60)
    in_float64(setattr)
    trace_only(setattr)
    for job in json.loads(sys.argv[2]):
        work(Path(sys.argv[1]), **job)
    destroy_process_group()
