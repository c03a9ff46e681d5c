"""Collective operations as far as a single process can test them; tests/test_distributed.py has several."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from voc_seg.config import RuntimeConfig
from voc_seg.engine import data_parallel as whole_batch
from voc_seg.engine import distributed, runtime
from voc_seg.engine.distributed import Launch, first_line
from voc_seg.engine.interruption import Interruption
from voc_seg.engine.resuming import checkpoint_to_resume
from voc_seg.samples.batches import Batch
from voc_seg.system import torchrun
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import ProcessInfo, process_info

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "node-0", "MASTER_PORT": "29500", "TORCHELASTIC_ERROR_FILE": "/tmp/launch/attempt_0/1/error.json",
}  # fmt: skip


class TestProcessInfo:
    def test_it_is_what_torchrun_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in TORCHRUN.items():
            monkeypatch.setenv(name, value)
        assert process_info() == ProcessInfo(3, 4, 1, 2, 2, "node-0:29500", "/tmp/launch")
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "")
        assert process_info().agent_folder == ""

    def test_a_scheduler_that_sets_some_of_it_is_not_torchrun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "4")
        monkeypatch.setenv("RANK", "3")
        assert process_info() == ProcessInfo()


class TestAlone:
    def test_nothing_is_said_to_nobody(self) -> None:
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        assert distributed.all_reduce_sum(1, 2.5) == (1, 2.5)
        assert distributed.all_gather("a") == distributed.gather_to_rank0("a") == ["a"]
        assert distributed.broadcast_from_rank0(lambda: 3) == 3
        assert distributed.find_launch() == Launch()

    def test_the_network_stays_what_it_is(self) -> None:
        model = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.Dropout2d(0.1))
        assert whole_batch.wrap_ddp(whole_batch.convert_sync_layers(model, True)) is model
        assert [type(layer) for layer in model] == [torch.nn.BatchNorm2d, torch.nn.Dropout2d]

    def test_a_batch_with_too_few_crops_does_without_torchs_batch_norm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given an empty slice, its ranks may wait for each other for ever."""
        monkeypatch.setattr(whole_batch, "world_size", lambda: 2)
        monkeypatch.setattr(whole_batch, "DistributedDataParallel", torch.nn.Sequential)
        monkeypatch.setattr(whole_batch._AllReduceSum, "apply", lambda part: part)  # the other rank has no crop
        maps, layer = torch.rand(1, 3, 4, 4), whole_batch.GpuSyncBatchNorm2d(3)
        whole_batch.set_batch_offset(torch.nn.Sequential(layer), Batch(maps, maps, ("a",), 0, 2))
        assert not layer.has_empty_slices
        whole_batch.set_batch_offset(torch.nn.Sequential(layer), Batch(maps, maps, ("a",), 0, 1))
        torch.testing.assert_close(layer(maps), torch.nn.BatchNorm2d(3)(maps))  # torch's own refuses a CPU

    def test_a_signal_counts_at_once(self) -> None:
        interruption = Interruption()
        assert interruption.synchronize(0.5, True) == (0.5, True)
        interruption.received = signal.SIGTERM
        assert interruption
        assert interruption.signum == signal.SIGTERM


class TestDevice:
    @pytest.fixture
    def four_of_two_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            runtime, "process_info", lambda: ProcessInfo(rank=3, world_size=4, local_rank=1, local_world_size=2)
        )

    @pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (2, "cuda:1"), (8, "cuda:1")])
    def test_each_process_has_its_own(
        self, monkeypatch: pytest.MonkeyPatch, four_of_two_machines: None, gpus: int, expected: str
    ) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(runtime, "missing_kernels", lambda index: "")
        assert runtime._choose_device("auto") == torch.device(expected)
        assert runtime._choose_device("cpu") == torch.device("cpu")

    def test_too_few_gpus(self, monkeypatch: pytest.MonkeyPatch, four_of_two_machines: None) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(VocSegError, match=r"started 2 processes .* sees 1 GPUs\. .* --nproc-per-node=1"):
            runtime._choose_device("auto")

    def test_one_device_for_all_is_refused(self, four_of_two_machines: None) -> None:
        with pytest.raises(VocSegError, match=r"runtime\.device is cuda:0, but 4 processes run"):
            runtime._choose_device("cuda:0")

    def test_loader_workers_share_the_cores(self, monkeypatch: pytest.MonkeyPatch, four_of_two_machines: None) -> None:
        monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: range(6), raising=False)
        assert runtime.loader_workers(RuntimeConfig(), torch.device("cuda", 1)) == 3


class TestStartingPoint:
    def _read(self, launch: str = "") -> dict[str, Any]:
        return {} if launch == "other" else {"launch": launch}

    def test_as_asked(self) -> None:
        assert checkpoint_to_resume(self._read, True, Launch("other", restarted=True)) == {"launch": ""}
        assert checkpoint_to_resume(self._read, False, Launch()) is None
        assert checkpoint_to_resume(self._read, False, Launch("this")) is None, "its first start"

    def test_a_restart_goes_on_from_its_own_checkpoint_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        assert checkpoint_to_resume(self._read, False, Launch("this", restarted=True)) == {"launch": "this"}
        assert checkpoint_to_resume(self._read, False, Launch("other", restarted=True)) is None
        assert "restarted this training before its first checkpoint" in caplog.text


def test_a_launch_is_known_by_what_it_left_with_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torchrun, "process_info", lambda: ProcessInfo(agent_folder=str(tmp_path)))
    first = distributed.find_launch()
    assert first.name
    assert not first.restarted
    assert distributed.find_launch() == Launch(first.name, restarted=True)
    assert [path.name for path in tmp_path.iterdir()] == ["voc_seg_launch"]


def test_what_gloo_says_is_shown_without_its_source_file() -> None:
    raised = RuntimeError(
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:1"
    )
    assert first_line(raised) == "Connection closed by peer [::1]:1"
    assert first_line(ValueError("one\ntwo")) == "one"


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="gloo of one process"), distributed.explain_lost_rank():
        raise RuntimeError("gloo of one process")


@pytest.mark.parametrize("chosen", [None, "0"])
def test_nccls_watchdog_says_what_it_waited_for(monkeypatch: pytest.MonkeyPatch, chosen: str | None) -> None:
    given = {} if chosen is None else {"TORCH_FR_BUFFER_SIZE": chosen}
    monkeypatch.setattr(distributed.os, "environ", TORCHRUN | given)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(distributed, "_rendezvous_store", lambda *given: None)
    found: dict[str, str] = {}
    monkeypatch.setattr(
        distributed.distributed, "init_process_group", lambda *given, **options: found.update(distributed.os.environ)
    )
    distributed.init_process_group(torch.device("cuda", 1), 60)
    assert found["TORCH_FR_BUFFER_SIZE"] == (chosen or "2000")
    assert found["TORCH_NCCL_DUMP_ON_TIMEOUT"] == "1"
