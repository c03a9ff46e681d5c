"""The folder of a run's checkpoints as a catalog entry."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.system.atomic import SCRATCH
from voc_seg.system.background import finish_writes, write_in_background
from voc_seg.system.errors import VocSegError
from voc_seg.system.versions import newest_version

from .model_file import State, host_copy, read_state, write_state
from .previews import table_preview

logger = logging.getLogger(__name__)

_MID_EPOCH = "checkpoint_mid_epoch.pth"
_NAME = re.compile(r"checkpoint_(epoch_(\d{4}|[1-9]\d{4,})|mid_epoch)\.pth")


def holds_checkpoints(folder: Path) -> bool:
    """Whether a folder has checkpoints of a run; files with other names do not count."""
    return any(_NAME.fullmatch(path.name) and path.is_file() for path in folder.glob("checkpoint_*.pth"))


@dataclass(frozen=True)
class _Header:
    """Run, epoch and position of a checkpoint, which order it among the others; the defaults mean unreadable."""

    run: int = -1  # runs into one folder count from 1; 0 in files of earlier versions, which did not count
    first_row: str = ""  # of the history, with its times: distinguishes runs of earlier versions
    epoch: int = 0
    position: int = 0

    @property
    def is_known(self) -> bool:
        return self.run >= 0

    @property
    def progress(self) -> tuple[int, int]:
        return self.epoch, self.position


def _read_header(path: Path) -> _Header:
    """The header of a checkpoint; its tensors stay on disk, so this takes milliseconds."""
    import torch

    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # not every file system supports memory maps
            state = read_state(path)
        history = state.get("history") or [""]
        counts = [state.get("run", 0), state["epoch"], state.get("position", 0)]
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
            return _Header()
        return _Header(counts[0], repr(history[0]), counts[1], counts[2])
    except Exception:  # whatever a damaged file may hold
        return _Header()


class CheckpointsDataset(AbstractDataset[State, Callable[..., State]]):
    """A folder of ``checkpoint_epoch_0001.pth`` and so on, and ``checkpoint_mid_epoch.pth``.

    Saving names the file by ``epoch`` and prunes to ``config.training.checkpoint.keep_last``, both taken from the
    checkpoint; an empty dict leaves the folder unchanged. The mid-epoch checkpoint (``position`` is not 0) does not
    count towards ``keep_last``; it is deleted when the next whole epoch is saved. Loading returns a function that reads
    the newest readable checkpoint, so that a run that does not resume reads nothing. Called with a ``launch``
    (``engine.distributed``), it returns an empty dict unless the newest checkpoint is of that launch.

    Newest means written last, independent of file times and of the epoch, which restarts at one when a run trains from
    scratch: saving adds ``run``, the number of the run in this folder, and the order is by run, epoch and position.
    Runs of earlier versions have no number; they come first, ordered by file times. Files with other names are neither
    read nor removed.

    Args:
        filepath: The folder.
        best_model: Its ``filepath`` is the best model, which must match the checkpoint that is loaded.
        metadata: For Kedro-Viz.
    """

    IS_OPTIONAL = True
    """The folder may be empty; the error on reading a checkpoint then says what to do."""

    def __init__(
        self, *, filepath: str, best_model: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._folder = Path(filepath)
        self._best_model = Path(best_model["filepath"]) if best_model else None
        self._heads: dict[tuple[str, int, int, int], _Header] = {}
        self._reported: set[Path] = set()
        self.metadata = metadata

    def save(self, data: State) -> None:
        if not data:
            return
        finish_writes()
        data = data | {"run": self._run_number(data)}
        if copy := host_copy(data):
            write_in_background(lambda: self._write(copy))  # a GPU trains on meanwhile; a CPU has no core to spare
        else:
            self._write(data)

    def _write(self, data: State) -> None:
        if data["position"]:
            write_state(self._folder / _MID_EPOCH, data)
            return
        written = self._folder / f"checkpoint_epoch_{data['epoch']:04d}.pth"
        write_state(written, data)
        if (self._folder / _MID_EPOCH).is_file():
            (self._folder / _MID_EPOCH).unlink()
        for scratch in self._folder.glob(f".checkpoint_*.pth.{SCRATCH}"):
            scratch.unlink()  # left by a process killed while writing; this run holds the lock
        keep = data["config"]["training"]["checkpoint"]["keep_last"]
        others = [path for path in self._newest_first() if path != written and self._is_own(path)]
        for path in others[keep - 1 :] if keep else []:
            path.unlink()

    def _is_own(self, path: Path) -> bool:
        """Whether a file may have been saved under its name, rather than copied from another epoch."""
        head = self._head(path)
        return not head.is_known or path.name == f"checkpoint_epoch_{head.epoch:04d}.pth"

    def _run_number(self, data: State) -> int:
        """The run number that makes a checkpoint the newest when saved."""
        heads = [self._head(path) for path in self._newest_first()[:1]]
        newest = heads[0] if heads else _Header()
        from_scratch = (data["epoch"], data["position"]) < newest.progress
        return max(1, newest.run + from_scratch)

    def load(self) -> Callable[..., State]:
        finish_writes()
        return self._read_newest

    def _read_newest(self, launch: str = "") -> State:
        # Files without a readable header might be the newest: reading them logs what is wrong.
        for path in sorted(self._newest_first(), key=lambda path: self._head(path).is_known):
            try:
                state = read_state(path)
                if not self._head(path).is_known:
                    raise VocSegError(f"{path} does not say which epoch it belongs to")
            except VocSegError as error:
                logger.warning("Skipping a damaged checkpoint: %s", str(error).partition(" (")[0])
                continue
            if launch and state.get("launch") != launch:
                return {}
            self._require_matching_best_model(path, state)
            logger.info("Resuming from %s", path)
            return state
        if launch:
            return {}
        raise VocSegError(
            f"training.resume is true, but {self._folder} holds no checkpoint that can be read. "
            "Train without it first: kedro run --pipelines training"
        )

    def _require_matching_best_model(self, path: Path, state: State) -> None:
        """Refuse a best model of another run, which was killed before its first checkpoint."""
        if self._best_model is None or not state.get("best_epoch"):
            return
        from voc_seg.models.saved import require_fields

        require_fields(state, str(path), "best_epoch", "best_miou")
        wanted = f"{path} goes with a best model of epoch {state['best_epoch']}, val mIoU {state['best_miou']:.4f}"
        advice = "Restore that file, or train from scratch: kedro run --pipelines training"
        best_model = newest_version(self._best_model)
        if not best_model.is_file():
            raise VocSegError(f"{wanted}, but there is no {best_model}. {advice}")
        best = read_state(best_model)
        require_fields(best, str(best_model), "epoch", "val_miou")
        # A best model of a later epoch is of this run, killed before the checkpoint; that epoch is repeated.
        found = best["epoch"], best["val_miou"]
        if found[0] <= state["epoch"] and found != (state["best_epoch"], state["best_miou"]):
            raise VocSegError(
                f"{wanted}, but {best_model} is of epoch {found[0]}, val mIoU "
                f"{found[1]:.4f}: another run has been started since. {advice}"
            )

    def _newest_first(self) -> list[Path]:
        """The files from newest to oldest; unreadable ones come last."""
        heads, times = {}, {}
        for path in sorted(self._folder.glob("checkpoint_*.pth")):
            if not _NAME.fullmatch(path.name):
                continue
            if not path.is_file():
                if path not in self._reported:
                    logger.warning("Skipping %s, which is not a file", path)
                self._reported.add(path)
                continue
            heads[path], times[path] = self._head(path), path.stat().st_mtime_ns
        latest: dict[str, int] = {}  # of the runs of earlier versions
        for path, head in heads.items():
            if head.run == 0:
                latest[head.first_row] = max(times[path], latest.get(head.first_row, 0))

        def order(path: Path) -> tuple[int, int, int, int, int]:
            head = heads[path]
            return head.run, 0 if head.run else latest[head.first_row], *head.progress, times[path]

        return sorted(heads, key=order, reverse=True)

    def _head(self, path: Path) -> _Header:
        about = path.stat()
        key = (path.name, about.st_size, about.st_mtime_ns, about.st_ino)
        if key not in self._heads:
            self._heads[key] = _read_header(path)
        return self._heads[key]

    def _exists(self) -> bool:
        finish_writes()
        return any(_NAME.fullmatch(path.name) and path.is_file() for path in self._folder.glob("checkpoint_*.pth"))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def preview(self) -> TablePreview:
        """Epoch, score and size of every file, newest first, for Kedro-Viz."""
        rows = []
        for path in filter(lambda path: self._head(path).is_known, self._newest_first()):
            state = read_state(path)
            best = f"{state['best_miou']:.4f} (epoch {state['best_epoch']})" if state["best_epoch"] else "-"
            rows.append([path.name, state["epoch"], state["step"], best, decimal(path.stat().st_size)])
        return table_preview(["file", "epoch", "step", "best val mIoU", "size"], rows)
