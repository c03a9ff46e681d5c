"""``training.compile``: the same run as without it, up to rounding, with the same files.

Most tests trace the network and generate no code, which takes seconds instead of a minute.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from voc_seg.config import Parameters
from voc_seg.engine import compiling
from voc_seg.engine.compiling import CompiledNetwork, compile_network
from voc_seg.engine.failures import explain_failures
from voc_seg.engine.run import EpochReport
from voc_seg.engine.runtime import Runtime
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("narrow_encoder")

COMPILED = {"compile": True}
# Four scenes. A batch of 3 leaves one of 1.
VARIANTS: dict[str, dict[str, Any]] = {
    "uneven and auxiliary": {
        "training": {"batch_size": 3},
        "model": {"width": 16, "decoder": "aspp", "auxiliary": 0.4},
    },
    "accumulation and EMA": {"training": {"batch_size": 1, "accumulation": 2, "ema_decay": 0.9, "clip_gradient": 1.0}},
    "frozen": {"training": {"frozen_stages": 2, "freeze_batch_norm": True}},
    "fp16": {"runtime": {"precision": "fp16"}},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Trace instead of compiling; the sizes of batches that went through what was compiled."""
    sizes: list[int] = []
    original = torch.compile

    def traced(network: nn.Module, dynamic: bool, options: dict[str, Any]) -> Callable:
        compiled = original(network, dynamic=dynamic, backend="aot_eager")

        def count(images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return compiled(images)

        return count

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", traced)
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield sizes
    torch.compiler.reset()


@pytest.fixture
def run(train_store: SampleStore, val_store: SampleStore, make_parameters: Callable, kept: Callable) -> Callable:
    def play(blocks: dict[str, Any], start: dict[str, Any] | None = None, **training: Any) -> list[EpochReport]:
        blocks = {**blocks, "training": {"epochs": 2, **blocks.get("training", {}), **training}}
        return list(kept(fit(train_store, val_store, CLASS_NAMES, make_parameters(**blocks), start)))

    return play


def _assert_near(found: Any, expected: Any, where: str = "") -> None:
    """Compare two states: the same keys and random numbers, and nearly the same weights.

    Batch norm over a single crop enlarges differences in rounding.
    """
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            _assert_near(found[key], value, f"{where}.{key}")
    elif isinstance(expected, torch.Tensor) and "rng" in where:
        assert torch.equal(found, expected), where
    elif isinstance(expected, torch.Tensor) and "optimizer" not in where:
        assert (found.double() - expected).norm() <= 0.05 * expected.double().norm() + 1e-3, where


def _within_an_epoch(reports: list[EpochReport]) -> dict[str, Any]:
    return next(report.checkpoint for report in reports if report.checkpoint and report.checkpoint["position"])


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.slow) if name in ("frozen", "fp16") else name for name in VARIANTS]
)
def test_a_run_is_that_of_the_plain_network(run: Callable, calls: list[int], variant: str) -> None:
    plain, compiled = run(VARIANTS[variant]), run(VARIANTS[variant], **COMPILED)
    assert calls == {"uneven and auxiliary": [3, 3], "accumulation and EMA": [1] * 8}.get(variant, [2] * 4)
    _assert_near(compiled[-1].checkpoint, plain[-1].checkpoint)  # the random numbers of dropout too
    _assert_near(compiled[-1].best_model, plain[-1].best_model)
    for row, expected in zip(compiled[-1].history, plain[-1].history, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["uneven and auxiliary", "accumulation and EMA"])
def test_resuming_is_exact(run: Callable, calls: list[int], assert_same_state: Callable, variant: str) -> None:
    blocks, every_step = VARIANTS[variant], {"checkpoint": {"every_minutes": 1e-9}}
    straight = run(blocks, **COMPILED, **every_step)
    middle = _within_an_epoch(straight)
    assert_same_state(run(blocks, middle, **COMPILED)[-1].checkpoint, straight[-1].checkpoint)


@pytest.mark.parametrize(
    ("device", "accumulation", "ranks", "graphs"),
    [("cuda", 1, 1, True), ("cuda", 2, 1, False), ("cuda", 1, 2, False), ("cpu", 1, 1, False)],
)
def test_cuda_graphs_are_used_where_nothing_outlives_a_replay(
    monkeypatch: pytest.MonkeyPatch, parameters: Parameters, device: str, accumulation: int, ranks: int, graphs: bool
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(torch, "compile", lambda network, **rest: given.update(rest))
    monkeypatch.setattr(compiling, "world_size", lambda: ranks)
    config = parameters.training.model_copy(update={"compile": True, "accumulation": accumulation})
    compile_network(nn.Identity(), config, Runtime(torch.device(device), torch.float32))
    assert given["options"]["triton.cudagraphs"] is graphs
    assert given["dynamic"] is False


def test_it_is_off_by_default_and_refused_on_apple_gpus(parameters: Parameters) -> None:
    network, apple = nn.Identity(), Runtime(torch.device("mps"), torch.float32)
    assert compile_network(network, parameters.training, apple) is network
    with pytest.raises(VocSegError, match=r"Set training\.compile=false on a Mac"):
        compile_network(network, parameters.training.model_copy(update=COMPILED), apple)


@pytest.mark.parametrize("other", ["deterministic", "sync_batch_norm"])
def test_what_it_excludes_is_refused(make_parameters: Callable[..., Parameters], other: str) -> None:
    with pytest.raises(ValueError, match=f"compile and {other} exclude each other"):
        make_parameters(training={**COMPILED, other: True})


@pytest.mark.parametrize(
    "text",
    [
        "backend='inductor' raised:\nRuntimeError: Failed to find C compiler.\n\nSet TORCH_LOGS",  # torch 2.6
        "RuntimeError: Failed to find C compiler.\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace",
    ],
)
def test_a_failed_compilation_is_explained_in_one_line(text: str) -> None:
    from torch._dynamo.exc import TorchDynamoException

    with (
        pytest.raises(VocSegError, match=r"^torch\.compile failed \(RuntimeError: Failed to find C compiler\.\)\. It"),
        explain_failures(""),
    ):
        raise TorchDynamoException(text)


@pytest.mark.slow
def test_without_a_compiler_the_run_says_what_is_missing(
    run: Callable, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    from torch._inductor import config

    missing = config.patch({"cpp.cxx": (None, str(tmp_path / "g++"))})
    with (
        missing,
        pytest.raises(VocSegError, match=r"torch\.compile failed \(InvalidCxxCompiler.*such as g\+\+") as caught,
    ):
        run({}, **COMPILED)
    assert "\n" not in str(caught.value) and "training.compile=false" in str(caught.value)


def test_memory_that_runs_out_while_compiling_is_called_that() -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    error = BackendCompilerFailed(lambda: None, torch.OutOfMemoryError("CUDA out of memory."), None)
    with pytest.raises(VocSegError, match="Out of memory"), explain_failures(""):
        raise error


def test_the_wrapper_adds_no_parameter(parameters: Parameters) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    wrapped = CompiledNetwork(network, 2, cuda_graphs=False)
    assert [*map(id, wrapped.parameters())] == [*map(id, network.parameters())]
    assert [*map(id, wrapped.buffers())] == [*map(id, network.buffers())]


@pytest.mark.slow
def test_generated_code(run: Callable, assert_same_state: Callable) -> None:
    torch.compiler.reset()
    slowly = {"batch_size": 3, "optimizer": {"learning_rate": 1e-4}}  # batch norm over one crop enlarges differences
    play = partial(run, {"training": slowly})
    plain, compiled = play(), play(**COMPILED, checkpoint={"every_minutes": 1e-9})
    _assert_near(compiled[-1].checkpoint, plain[-1].checkpoint)
    torch.compiler.reset()
    assert_same_state(play(_within_an_epoch(compiled), **COMPILED)[-1].checkpoint, compiled[-1].checkpoint)
