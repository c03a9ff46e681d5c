"""Common failures are explained with advice that names settings; all other errors pass unchanged."""

from collections.abc import Callable

import pytest
import torch

from voc_seg.config import Parameters
from voc_seg.engine.failures import explain_failures, out_of_memory_advice, require_finite, require_finite_weights
from voc_seg.samples.arrow_file import IncompleteStoreError
from voc_seg.samples.batches import Batch
from voc_seg.system.errors import VocSegError


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_exhausted_memory(make_parameters: Callable[..., Parameters], error: Exception) -> None:
    parameters = make_parameters(training={"batch_size": 8, "accumulation": 3}, augmentation={"crop_size": 224})
    with pytest.raises(VocSegError) as caught, explain_failures(out_of_memory_advice(parameters)):
        raise error
    message = str(caught.value)
    assert "8 crops of 224 x 224" in message
    # half the batch, twice the accumulation: the same effective batch
    assert "training.batch_size=4,training.accumulation=6" in message
    assert "augmentation.crop_size=168" in message
    assert caught.value.__cause__ is error


def test_advice_for_a_single_crop_is_not_to_halve_it(make_parameters: Callable[..., Parameters]) -> None:
    with (
        pytest.raises(VocSegError) as caught,
        explain_failures(out_of_memory_advice(make_parameters(training={"batch_size": 1}))),
    ):
        raise MemoryError
    assert "training.batch_size=" not in str(caught.value)
    assert "augmentation.crop_size=" not in str(caught.value)  # 64 already
    assert "model.encoder" in str(caught.value)


@pytest.mark.parametrize(("batch_size", "half"), [(2, 1), (3, 1), (4, 2), (6, 3), (9, 3)])
def test_advice_keeps_the_effective_batch(
    make_parameters: Callable[..., Parameters], batch_size: int, half: int
) -> None:
    advice = out_of_memory_advice(make_parameters(training={"batch_size": batch_size}))
    with pytest.raises(VocSegError, match=f"training.batch_size={half},") as caught, explain_failures(advice):
        raise MemoryError
    assert f"training.accumulation={batch_size // half};" in str(caught.value)


def test_a_dead_loader_worker() -> None:
    error = RuntimeError("DataLoader worker (pid(s) 4711) exited unexpectedly\nlong story")
    with (
        pytest.raises(VocSegError, match=r"pid\(s\) 4711.*runtime\.workers=0") as caught,
        explain_failures("memory"),
    ):
        raise error
    assert "long story" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_worker_that_a_bus_error_ends() -> None:
    text = "DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that dataloader's workers are"
    advice = r"a packed file was cut.*data_processing .*repairs.*runtime\.workers=0"
    with pytest.raises(VocSegError, match=advice), explain_failures("memory"):
        raise RuntimeError(text)


@pytest.mark.parametrize("kind", [VocSegError, IncompleteStoreError])
def test_an_error_of_a_worker_reads_as_its_own_message(kind: type[VocSegError]) -> None:
    text = f"Caught {kind.__name__} in DataLoader worker process 1.\nOriginal Traceback:\n  File ...\nvoc_seg.errors."
    with pytest.raises(VocSegError) as caught, explain_failures("memory"):
        raise kind(text + f"{kind.__name__}: No sample store at a.arrow.\nMake it.\n")
    assert str(caught.value) == "No sample store at a.arrow.\nMake it."


def test_weights_that_are_not_finite_are_named() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    require_finite_weights(model, 7, "Do this.")
    model[1].running_var[0] = float("inf")
    with pytest.raises(VocSegError, match=r"1\.running_var of the network is not finite after step 7\. Do this\."):
        require_finite_weights(model, 7, "Do this.")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback"),  # alive, and says why
        VocSegError("mine"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("other"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explain_failures("memory"):
        raise error
    assert caught.value is error


def test_no_error_no_change() -> None:
    with explain_failures("anything"):
        result = 1
    assert result == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_step_rate_images_and_advice(loss: float) -> None:
    batch = Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4), ("one", "two"))
    with pytest.raises(VocSegError, match=r"at step 7 \(learning rate 0\.1; images one, two\)\. Do this\."):
        require_finite(loss, 7, 0.1, batch.ids, "Do this.")
    require_finite(1.0, 7, 0.1, batch.ids, "Do this.")
