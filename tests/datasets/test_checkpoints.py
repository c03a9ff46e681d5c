"""Saved networks: files are written atomically, old ones pruned, the newest readable one is found."""

import copy
import errno
import io
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError

from voc_seg.datasets import CheckpointsDataset, ModelDataset
from voc_seg.datasets import checkpoints as module
from voc_seg.datasets.model_file import host_copy, read_state, write_state
from voc_seg.system.atomic import partial_path
from voc_seg.system.errors import VocSegError


def _checkpoint(epoch: int, keep_last: int | None = None, position: int = 0) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "position": position,
        "model": {"weight": torch.full((50, 50), float(epoch))},
        "config": {"training": {"checkpoint": {"keep_last": keep_last}}},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "06_models" / "checkpoints"


@pytest.fixture
def dataset(folder: Path) -> CheckpointsDataset:
    return CheckpointsDataset(filepath=str(folder))


def _save(dataset: CheckpointsDataset, folder: Path, *epochs: int, keep_last: int | None = None) -> None:
    """Save one after the other, with file times a second apart and in the past."""
    for epoch in epochs:
        newest = max((path.stat().st_mtime for path in folder.glob("checkpoint_epoch_*")), default=1e9)
        dataset.save(_checkpoint(epoch, keep_last))
        path = folder / f"checkpoint_epoch_{epoch:04d}.pth"
        if path.exists():
            os.utime(path, (newest + 1, newest + 1))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        write_state(tmp_path / "new" / "a.pth", _checkpoint(3))
        state = read_state(tmp_path / "new" / "a.pth")
        assert state["epoch"] == 3
        assert torch.equal(state["model"]["weight"], torch.full((50, 50), 3.0))
        assert _names(tmp_path / "new") == ["a.pth"]

    def test_an_interrupted_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.pth"
        write_state(path, _checkpoint(1))

        def interrupted(state: dict, file: Any) -> None:
            file.write(b"half a network")
            raise KeyboardInterrupt

        monkeypatch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_state(path, _checkpoint(2))
        assert read_state(path)["epoch"] == 1

    def test_a_full_disk_says_how_much_was_needed_and_the_old_file_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.pth"
        write_state(path, _checkpoint(1))

        class Full(io.FileIO):
            def write(self, data: Any) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "open", lambda self, mode: Full(self, mode))
        with pytest.raises(VocSegError, match=r"a\.pth: No space left .* about 10\.0 kB\. .* free there\. .*untouched"):
            write_state(path, _checkpoint(2))
        monkeypatch.undo()
        assert read_state(path)["epoch"] == 1
        assert _names(tmp_path) == ["a.pth"]

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
    def test_a_truncated_file_is_told(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "cut.pth"
        write_state(path, _checkpoint(1))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(VocSegError, match=r"cut\.pth cannot be read as a saved network"):
            read_state(path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "best_model.pth")
        with pytest.raises(VocSegError, match=r"best_model\.pth cannot be read .* not a regular file"):
            read_state(tmp_path / "best_model.pth")

    def test_a_linked_file_stays_linked(self, tmp_path: Path) -> None:
        (tmp_path / "best_model.pth").symlink_to(tmp_path / "disk" / "best.pth")
        for epoch in (1, 2):
            write_state(tmp_path / "best_model.pth", _checkpoint(epoch))
        assert (tmp_path / "best_model.pth").is_symlink()
        assert read_state(tmp_path / "disk" / "best.pth")["epoch"] == 2

    def test_a_file_that_would_run_code_is_refused(self, tmp_path: Path) -> None:
        trap = tmp_path / "sprung"
        torch.save({"model": _Trap(trap)}, tmp_path / "hostile.pth")
        with pytest.raises(VocSegError, match=r"hostile\.pth cannot be read"):
            read_state(tmp_path / "hostile.pth")
        assert not trap.exists()


class TestModelDataset:
    def test_round_trip(self, tmp_path: Path) -> None:
        dataset = ModelDataset(filepath=str(tmp_path / "best_model.pth"))
        assert not dataset.exists()
        dataset.save(_checkpoint(7))
        assert dataset.exists()
        assert dataset.load()["epoch"] == 7

    def test_an_empty_dict_leaves_the_file_as_it_is(self, tmp_path: Path) -> None:
        dataset = ModelDataset(filepath=str(tmp_path / "best_model.pth"))
        dataset.save({})
        assert not dataset.exists()
        dataset.save(_checkpoint(7))
        dataset.save({})
        assert dataset.load()["epoch"] == 7

    def test_the_preview_has_epoch_score_and_size(self, tmp_path: Path) -> None:
        dataset = ModelDataset(filepath=str(tmp_path / "best_model.pth"))
        model = {"a.weight": torch.ones(50, 50), "a.bias": torch.ones(50), "b.running_mean": torch.ones(9)}
        about = {"class_names": ["background", "cat"], "source": "sample", "model_config": {"encoder": "resnet18"}}
        dataset.save({"epoch": 7, "val_miou": 0.61237, "model": model, **about})
        table = dataset.preview()
        assert table["columns"] == ["property", "value"]
        rows = dict(table["data"])
        assert rows.pop("file size").endswith("kB")
        assert rows == {
            "epoch": "7", "val mIoU": "0.6124", "parameters": "2,550", "classes": "2", "trained on": "sample",
            "encoder": "resnet18",
        }  # fmt: skip

    def test_the_preview_names_the_data_as_the_report_does(self, tmp_path: Path) -> None:
        dataset = ModelDataset(filepath=str(tmp_path / "best_model.pth"))
        data = {"source": "own", "name": "street_scenes"}
        about = {"class_names": ["background", "cat"], "source": "own", "model_config": {}, "config": {"data": data}}
        dataset.save({"epoch": 7, "val_miou": 0.5, "model": {"a": torch.ones(2)}, **about})
        assert dict(dataset.preview()["data"])["trained on"] == "street_scenes"

    def test_a_damaged_file_says_how_to_make_it_again(self, tmp_path: Path) -> None:
        (tmp_path / "best_model.pth").write_bytes(b"not a network")
        with pytest.raises(DatasetError, match="kedro run --pipelines training") as caught:
            ModelDataset(filepath=str(tmp_path / "best_model.pth")).load()
        assert isinstance(caught.value.__cause__, VocSegError)


class TestCheckpointsDataset:
    def test_files_are_numbered_by_epoch(self, dataset: CheckpointsDataset, folder: Path) -> None:
        _save(dataset, folder, 1, 12, 12345)
        assert _names(folder) == [
            "checkpoint_epoch_0001.pth", "checkpoint_epoch_0012.pth", "checkpoint_epoch_12345.pth",
        ]  # fmt: skip

    @pytest.mark.parametrize(("keep_last", "left"), [(1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4]), (None, [1, 2, 3, 4])])
    def test_the_newest_stay(
        self, dataset: CheckpointsDataset, folder: Path, keep_last: int | None, left: list[int]
    ) -> None:
        _save(dataset, folder, 1, 2, 3, 4, keep_last=keep_last)
        assert _names(folder) == [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in left]

    def test_pruning_counts_by_time_so_that_a_run_started_anew_keeps_its_own(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        _save(dataset, folder, 48, 49, 50, keep_last=3)
        dataset.save(_checkpoint(1, keep_last=3))
        assert _names(folder) == [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in (1, 49, 50)]

    def test_one_of_the_middle_of_an_epoch_stands_apart_until_the_epoch_is_whole(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        _save(dataset, folder, 1, 2, keep_last=2)
        for position in (4, 8):
            dataset.save(_checkpoint(2, keep_last=2, position=position))
            assert dataset.load()()["position"] == position
        whole = ["checkpoint_epoch_0001.pth", "checkpoint_epoch_0002.pth"]
        assert _names(folder) == [*whole, "checkpoint_mid_epoch.pth"]
        dataset.save(_checkpoint(3, keep_last=2))
        assert _names(folder) == [whole[1], "checkpoint_epoch_0003.pth"]

    @pytest.mark.parametrize("saved", [(1, 2, 3), (50, 1, 2), (7, 8, 3)])
    def test_the_order_is_that_of_writing_whatever_the_times_of_the_files(
        self, dataset: CheckpointsDataset, folder: Path, saved: tuple[int, ...]
    ) -> None:
        for number, epoch in enumerate(saved):
            dataset.save(_checkpoint(epoch))
            os.utime(folder / f"checkpoint_epoch_{epoch:04d}.pth", (2e9 - number, 2e9 - number))
        again = CheckpointsDataset(filepath=str(folder))
        assert again.load()()["epoch"] == saved[-1]
        again.save(_checkpoint(saved[-1] + 1, keep_last=2))
        assert _names(folder) == [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in (saved[-1], saved[-1] + 1)]

    def test_one_of_the_middle_of_an_epoch_is_newer_than_the_epoch_before_whatever_its_time(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        _save(dataset, folder, 3)
        dataset.save(_checkpoint(3, position=4))
        os.utime(folder / "checkpoint_mid_epoch.pth", (1e6, 1e6))
        assert dataset.load()()["position"] == 4

    def test_a_run_resumed_goes_on_under_its_number(self, dataset: CheckpointsDataset, folder: Path) -> None:
        _save(dataset, folder, 50, 1)
        assert dataset.load()()["run"] == 2
        CheckpointsDataset(filepath=str(folder)).save(_checkpoint(1, position=2))
        CheckpointsDataset(filepath=str(folder)).save(_checkpoint(1, position=2))
        assert dataset.load()()["run"] == 2

    def test_of_an_earlier_version_runs_go_by_time_and_within_a_run_epochs_count(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        for epoch, time, row in [(1, 1e9, "b"), (2, 8e8, "b"), (9, 9e8, "a"), (8, 9.5e8, "a")]:
            path = folder / f"checkpoint_epoch_{epoch:04d}.pth"
            write_state(path, _checkpoint(epoch) | {"history": [{"seconds": row}]})
            os.utime(path, (time, time))
        assert dataset.load()()["epoch"] == 2
        dataset.save(_checkpoint(3, keep_last=3))
        assert _names(folder) == [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in (1, 2, 3)]
        dataset.save(_checkpoint(1, keep_last=3))
        assert dataset.load()()["epoch"] == 1

    def test_tensors_are_not_read_for_the_order(
        self, dataset: CheckpointsDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _save(dataset, folder, 1, 2, 3)
        read, real = [], module.read_state
        monkeypatch.setattr(module, "read_state", lambda path: read.append(path.name) or real(path))
        CheckpointsDataset(filepath=str(folder)).load()()
        assert read == ["checkpoint_epoch_0003.pth"]

    def test_what_the_user_keeps_under_another_name_is_neither_read_nor_pruned(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        _save(dataset, folder, 1, 9)
        theirs = [f"checkpoint_epoch_{name}.pth" for name in ("0001_keep", "0009 copy", "1", "last", "mid_epoch")]
        for name in theirs:
            shutil.copy(folder / "checkpoint_epoch_0009.pth", folder / name)
        dataset.save(_checkpoint(1, keep_last=1))
        assert _names(folder) == sorted(["checkpoint_epoch_0001.pth", *theirs])
        assert dataset.load()()["epoch"] == 1

    def test_what_a_kill_left_half_written_goes(self, dataset: CheckpointsDataset, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        half, mine = partial_path(folder / "checkpoint_mid_epoch.pth"), partial_path(folder / "mine.pth")
        for path in (half, mine):
            path.touch()
        dataset.save(_checkpoint(1, keep_last=1))
        assert not half.exists()
        assert mine.exists()

    @pytest.mark.parametrize("name", ["checkpoint_epoch_00001.pth", "checkpoint_epoch_0099.pth"])
    def test_a_copy_under_the_number_of_another_epoch_is_not_pruned(
        self, dataset: CheckpointsDataset, folder: Path, name: str
    ) -> None:
        dataset.save(_checkpoint(1, keep_last=1))
        shutil.copy(folder / "checkpoint_epoch_0001.pth", folder / name)
        dataset.save(_checkpoint(2, keep_last=1))
        assert _names(folder) == sorted(["checkpoint_epoch_0002.pth", name])

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
    def test_what_is_no_file_is_passed_over_with_a_warning(
        self, dataset: CheckpointsDataset, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        _save(dataset, folder, 1)
        os.mkfifo(folder / "checkpoint_epoch_0005.pth")
        (folder / "checkpoint_epoch_0006.pth").mkdir()
        (folder / "checkpoint_mid_epoch.pth").mkdir()
        (folder / "checkpoint_epoch_0007.pth").symlink_to(folder / "nowhere")
        dataset.save(_checkpoint(2, keep_last=1))
        assert dataset.load()()["epoch"] == 2
        left = [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in (2, 5, 6, 7)]
        assert _names(folder) == [*left, "checkpoint_mid_epoch.pth"]
        for epoch in (5, 6, 7):
            assert f"checkpoint_epoch_{epoch:04d}.pth, which is not a file" in caplog.text

    def test_one_that_does_not_say_its_epoch_is_passed_over_with_a_warning(
        self, dataset: CheckpointsDataset, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        _save(dataset, folder, 1)
        write_state(folder / "checkpoint_epoch_0002.pth", {"model": {}})
        assert dataset.load()()["epoch"] == 1
        assert "checkpoint_epoch_0002.pth does not say which epoch it belongs to" in caplog.text

    def test_pruning_leaves_other_files_alone(self, dataset: CheckpointsDataset, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
        (folder / "my_favourite.pth").write_text("mine")
        _save(dataset, folder, 1, 2, keep_last=1)
        assert _names(folder) == ["checkpoint_epoch_0002.pth", "my_favourite.pth", "notes.txt"]

    def test_an_empty_dict_saves_and_prunes_nothing(self, dataset: CheckpointsDataset, folder: Path) -> None:
        dataset.save({})
        assert not folder.exists()
        _save(dataset, folder, 1, 2)
        dataset.save({})
        assert len(_names(folder)) == 2

    def test_the_newest_is_the_one_written_last_whatever_its_number(
        self, dataset: CheckpointsDataset, folder: Path
    ) -> None:
        _save(dataset, folder, 49, 50, 1)
        assert dataset.load()()["epoch"] == 1

    def test_loading_reads_nothing_before_it_is_asked(
        self, dataset: CheckpointsDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "read_state", lambda path: pytest.fail("read"))
        assert dataset.IS_OPTIONAL
        assert callable(dataset.load())

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_a_damaged_newest_one_is_passed_over_with_a_warning(
        self, dataset: CheckpointsDataset, folder: Path, caplog: pytest.LogCaptureFixture, share: float
    ) -> None:
        _save(dataset, folder, 1, 2, 3)
        damaged = folder / "checkpoint_epoch_0003.pth"
        content = damaged.read_bytes()
        damaged.write_bytes(content[: int(share * len(content))])
        with caplog.at_level(logging.WARNING):
            assert dataset.load()()["epoch"] == 2
        assert "Skipping a damaged checkpoint" in caplog.text
        assert "checkpoint_epoch_0003.pth" in caplog.text

    def test_a_half_written_file_is_no_checkpoint(self, dataset: CheckpointsDataset, folder: Path) -> None:
        _save(dataset, folder, 1)
        (folder / "checkpoint_epoch_0002.pth.partial").write_bytes(b"half")
        assert dataset.load()()["epoch"] == 1

    def test_one_of_a_launch_is_not_taken_from_another(self, dataset: CheckpointsDataset, folder: Path) -> None:
        assert dataset.load()(launch="this") == {}
        dataset.save(_checkpoint(1) | {"launch": "this"})
        assert dataset.load()(launch="this")["epoch"] == 1
        assert dataset.load()(launch="other") == {}
        _save(dataset, folder, 2)  # by a run without torchrun
        os.utime(folder / "checkpoint_epoch_0001.pth", (1e9, 1e9))
        assert dataset.load()(launch="this") == {}
        assert dataset.load()()["epoch"] == 2

    @pytest.mark.parametrize(
        ("best", "message"),
        [
            ({"epoch": 2, "val_miou": 0.5}, None),
            ({"epoch": 4, "val_miou": 0.6}, None),  # of this run, killed before its checkpoint
            ({"epoch": 1, "val_miou": 0.1}, r"best_model\.pth is of epoch 1, val mIoU 0\.1000: another run has been"),
            ({"epoch": 2, "val_miou": 0.4}, r"goes with a best model of epoch 2, val mIoU 0\.5000, but"),
            (None, r"goes with a best model of epoch 2, val mIoU 0\.5000, but there is no"),
        ],
    )
    def test_the_best_model_must_be_that_of_the_checkpoint(
        self, folder: Path, best: dict[str, Any] | None, message: str | None
    ) -> None:
        path = folder.parent / "best_model.pth"
        dataset = CheckpointsDataset(filepath=str(folder), best_model={"filepath": str(path)})
        dataset.save({**_checkpoint(3), "best_epoch": 2, "best_miou": 0.5})
        if best:
            write_state(path, best)
        if message is None:
            assert dataset.load()()["epoch"] == 3
        else:
            with pytest.raises(VocSegError, match=message):
                dataset.load()()

    @pytest.mark.parametrize("content", [None, b"garbage"])
    def test_no_readable_checkpoint_names_the_folder(
        self, dataset: CheckpointsDataset, folder: Path, content: bytes | None
    ) -> None:
        if content:
            folder.mkdir(parents=True)
            (folder / "checkpoint_epoch_0001.pth").write_bytes(content)
        with pytest.raises(VocSegError) as caught:
            dataset.load()()
        assert str(folder) in str(caught.value)
        assert "training.resume" in str(caught.value)

    def test_the_preview_lists_the_files_newest_first(self, dataset: CheckpointsDataset, folder: Path) -> None:
        _save(dataset, folder, 1)
        dataset.save(_checkpoint(2) | {"step": 8, "best_epoch": 1, "best_miou": 0.5})
        (folder / "checkpoint_epoch_0001.pth").unlink()
        (row,) = dataset.preview()["data"]
        assert row[:4] == ["checkpoint_epoch_0002.pth", 2, 8, "0.5000 (epoch 1)"]


class _Trap:
    """Unpickled by Python's own pickle, it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class TestOfAGpu:
    """The tensors of a GPU are copied to the host, and the file is written while the GPU trains on."""

    @pytest.fixture(autouse=True)
    def on_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "host_copy", copy.deepcopy)

    def test_what_is_read_is_what_was_saved_last(self, dataset: CheckpointsDataset, folder: Path) -> None:
        for epoch in (1, 2, 3):
            dataset.save(_checkpoint(epoch, keep_last=2))
        assert dataset.exists()
        assert _names(folder) == ["checkpoint_epoch_0002.pth", "checkpoint_epoch_0003.pth"]
        assert dataset.load()()["epoch"] == 3

    def test_steps_taken_since_do_not_change_it(self, dataset: CheckpointsDataset) -> None:
        checkpoint = _checkpoint(1)
        dataset.save(checkpoint)
        checkpoint["model"]["weight"].fill_(7)
        assert torch.equal(dataset.load()()["model"]["weight"], torch.full((50, 50), 1.0))

    def test_a_write_that_fails_is_raised_by_the_next_save(
        self, dataset: CheckpointsDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, state: dict[str, Any]) -> None:
            raise VocSegError("No space left")

        monkeypatch.setattr(module, "write_state", full)
        dataset.save(_checkpoint(1))
        with pytest.raises(DatasetError, match="No space left"):
            dataset.save(_checkpoint(2))


def test_a_state_on_the_cpu_is_written_at_once() -> None:
    assert host_copy(_checkpoint(1)) is None
