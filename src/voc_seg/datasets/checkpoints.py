"""Saved networks as catalog entries: single models and the folder of a run's checkpoints."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.system.atomic import SCRATCH, replacing
from voc_seg.system.errors import VocSegError

from .previews import table_preview

logger = logging.getLogger(__name__)

State = dict[str, Any]


def write_state(path: Path, state: State) -> None:
    """Write a state dict for ``torch.load(weights_only=True)``; a failed write leaves the old file in place.

    Raises:
        VocSegError: It could not be written; how much room it takes is in the message.
    """
    import torch  # takes a second: only when a network is at stake

    with replacing(path, size=_size(state)) as partial, partial.open("wb") as file:
        torch.save(state, file)


def _size(state: Any) -> int:
    """Bytes of the tensors in a state dict; the rest is small."""
    if hasattr(state, "nbytes"):
        return state.nbytes
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return sum(_size(value) for value in values)


def read_state(path: Path) -> State:
    """Read what :func:`write_state` wrote, on the CPU.

    Raises:
        VocSegError: The file is damaged, holds something else, or would run code on loading.
    """
    from voc_seg.models.exchange import read_saved

    return read_saved(path)


class ModelDataset(AbstractDataset[State, State]):
    """A single ``.pth`` file. Saving an empty dict leaves the file as it is."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: State) -> None:
        if data:
            write_state(self._filepath, data)

    def load(self) -> State:
        return read_state(self._filepath)

    def load_checked(self) -> State:
        """The content of the file, if it is a network that can be used.

        Raises:
            VocSegError: It cannot be read, or a field or a tensor is not what it must be.
        """
        from voc_seg.models.saved import require_best_model

        state = read_state(self._filepath)
        require_best_model(state, str(self._filepath))
        return state

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def preview(self) -> TablePreview:
        """Epoch, score, size and what the network is, for Kedro-Viz."""
        from voc_seg.models.encoder import count_weights
        from voc_seg.models.saved import require_fields

        state = read_state(self._filepath)
        require_fields(state, str(self._filepath), "epoch", "val_miou", "model", "class_names", "model_config")
        facts = {
            "epoch": state["epoch"],
            "val mIoU": round(state["val_miou"], 4),
            "file size": decimal(self._filepath.stat().st_size),
            "parameters": f"{count_weights(state['model']):,}",
            "classes": len(state["class_names"]),
            "trained on": state.get("source"),
            **state["model_config"],
        }
        return table_preview(["property", "value"], [[name, str(value)] for name, value in facts.items()])


_MID_EPOCH = "checkpoint_mid_epoch.pth"
_NAME = re.compile(r"checkpoint_(epoch_(\d{4}|[1-9]\d{4,})|mid_epoch)\.pth")


def holds_checkpoints(folder: Path) -> bool:
    """Whether a folder has checkpoints of a run; files with other names, which users keep there, are none."""
    return any(_NAME.fullmatch(path.name) and path.is_file() for path in folder.glob("checkpoint_*.pth"))


@dataclass(frozen=True)
class _Header:
    """What a checkpoint says of its place among the others; of one that cannot be read, nothing."""

    run: int = -1  # runs into one folder count from 1; 0 in files of earlier versions, which did not count
    first_row: str = ""  # of the history, with its times: tells runs of earlier versions apart
    epoch: int = 0
    position: int = 0

    @property
    def is_known(self) -> bool:
        return self.run >= 0

    @property
    def progress(self) -> tuple[int, int]:
        return self.epoch, self.position


def _read_header(path: Path) -> _Header:
    """The head of a checkpoint; its tensors stay on the disk, so it takes milliseconds."""
    import torch

    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # not every file system maps files
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

    Saving takes the file's number from ``epoch`` and prunes to ``config.training.checkpoint.keep_last``, both
    of the checkpoint itself; an empty dict leaves the folder as it is. One of the middle of an epoch (``position``
    is not 0) stands apart from those, and goes when the next one of a whole epoch is written. Loading gives a
    function that reads the newest checkpoint that can be read, so that a run that does not resume reads nothing; asked
    for one of a ``launch`` (``engine.distributed``) it gives an empty dict where the newest is of another or none.

    Newest is the one written last, whatever its number (a run started anew counts from one again) and whatever the
    clock says of the file: a save adds ``run``, the number of the run in this folder, to the checkpoint, and runs,
    epochs and samples of the epoch give the order. Runs of earlier versions, without such a number, come first, by the
    times of their files. Files with other names are neither read nor removed.

    Args:
        filepath: The folder.
        best_model: Its ``filepath`` is the best model, which must be that of the checkpoint that is loaded.
        metadata: For Kedro-Viz.
    """

    IS_OPTIONAL = True
    """The folder may be empty; asking for a checkpoint then tells what to do."""

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
        data = data | {"run": self._run_number(data)}
        if data["position"]:
            write_state(self._folder / _MID_EPOCH, data)
            return
        written = self._folder / f"checkpoint_epoch_{data['epoch']:04d}.pth"
        write_state(written, data)
        if (self._folder / _MID_EPOCH).is_file():
            (self._folder / _MID_EPOCH).unlink()
        for scratch in self._folder.glob(f".checkpoint_*.pth.{SCRATCH}"):
            scratch.unlink()  # of a process that was killed while it wrote one; this run holds the lock
        keep = data["config"]["training"]["checkpoint"]["keep_last"]
        others = [path for path in self._newest_first() if path != written and self._is_own(path)]
        for path in others[keep - 1 :] if keep else []:
            path.unlink()

    def _is_own(self, path: Path) -> bool:
        """Whether a file is what a save wrote under its name, as far as can be seen: no copy of another epoch."""
        head = self._head(path)
        return not head.is_known or path.name == f"checkpoint_epoch_{head.epoch:04d}.pth"

    def _run_number(self, data: State) -> int:
        """Number of the run of a checkpoint that is to be saved: with it, that one is the newest of all."""
        heads = [self._head(path) for path in self._newest_first()[:1]]
        newest = heads[0] if heads else _Header()
        started_anew = (data["epoch"], data["position"]) < newest.progress
        return max(1, newest.run + started_anew)

    def load(self) -> Callable[..., State]:
        return self._read_newest

    def _read_newest(self, launch: str = "") -> State:
        # Those without a head might be the newest: reading them says what is wrong.
        for path in sorted(self._newest_first(), key=lambda path: self._head(path).is_known):
            try:
                state = read_state(path)
                if not self._head(path).is_known:
                    raise VocSegError(f"{path} does not say which epoch it is of")
            except VocSegError as error:
                logger.warning("Skipping a damaged checkpoint: %s", str(error).partition(" (")[0])
                continue
            if launch and state.get("launch") != launch:
                return {}
            self._require_matching_best_model(path, state)
            logger.info("Going on from %s", path)
            return state
        if launch:
            return {}
        raise VocSegError(
            f"training.resume is true, but {self._folder} holds no checkpoint that can be read. "
            "Train without it first: kedro run --pipelines training"
        )

    def _require_matching_best_model(self, path: Path, state: State) -> None:
        """Refuse a best model of another run: one that was started anew, and killed before its first checkpoint."""
        if self._best_model is None or not state.get("best_epoch"):
            return
        from voc_seg.models.saved import require_fields

        require_fields(state, str(path), "best_epoch", "best_miou")
        wanted = f"{path} goes with a best model of epoch {state['best_epoch']}, val mIoU {state['best_miou']:.4f}"
        advice = "Put that file back, or train anew: kedro run --pipelines training"
        if not self._best_model.is_file():
            raise VocSegError(f"{wanted}, but there is no {self._best_model}. {advice}")
        best = read_state(self._best_model)
        require_fields(best, str(self._best_model), "epoch", "val_miou")
        # One of a later epoch is of this run, killed before the checkpoint: it comes again.
        found = best["epoch"], best["val_miou"]
        if found[0] <= state["epoch"] and found != (state["best_epoch"], state["best_miou"]):
            raise VocSegError(
                f"{wanted}, but {self._best_model} is of epoch {found[0]}, val mIoU "
                f"{found[1]:.4f}: another run has been started since. {advice}"
            )

    def _newest_first(self) -> list[Path]:
        """The files in their order; those that cannot be read come last."""
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
        return any(_NAME.fullmatch(path.name) and path.is_file() for path in self._folder.glob("checkpoint_*.pth"))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def preview(self) -> TablePreview:
        """Epoch, score and size of every file, the newest first, for Kedro-Viz."""
        rows = []
        for path in filter(lambda path: self._head(path).is_known, self._newest_first()):
            state = read_state(path)
            best = f"{state['best_miou']:.4f} (epoch {state['best_epoch']})" if state["best_epoch"] else "-"
            rows.append([path.name, state["epoch"], state["step"], best, decimal(path.stat().st_size)])
        return table_preview(["file", "epoch", "step", "best val mIoU", "size"], rows)
