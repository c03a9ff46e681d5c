"""Saved networks as catalog entries: single models and the folder of a run's checkpoints."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.atomic import replacing
from voc_seg.errors import VocSegError

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
        VocSegError: The file is cut short, holds something else, or would run code on loading.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes make of a reader of zip files and pickles
        raise VocSegError(
            f"{path} cannot be read as a saved network ({type(error).__name__}: {_first_line(error)}). "
            "It may be cut short or come from elsewhere; make it again with: kedro run --pipelines training"
        ) from error
    if not isinstance(state, dict):
        raise VocSegError(
            f"{path} is no network saved by this project. Weights from elsewhere go into model.weights; "
            "make this file with: kedro run --pipelines training"
        )
    return state


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def preview(self) -> TablePreview:
        """Epoch, score, size and what the network is, for Kedro-Viz."""
        from voc_seg.models.encoder import count_learnt

        state = read_state(self._filepath)
        facts = {
            "epoch": state["epoch"],
            "val mIoU": round(state["val_miou"], 4),
            "file size": decimal(self._filepath.stat().st_size),
            "parameters": f"{count_learnt(state['model']):,}",
            "classes": len(state["class_names"]),
            "trained on": state["source"],
            **state["model_config"],
        }
        return table_preview(["property", "value"], [[name, str(value)] for name, value in facts.items()])


_MID_EPOCH = "checkpoint_mid_epoch.pth"


class CheckpointsDataset(AbstractDataset[State, Callable[..., State]]):
    """A folder of ``checkpoint_epoch_0001.pth`` and so on, and ``checkpoint_mid_epoch.pth``.

    Saving takes the file's number from ``epoch`` and prunes to ``config.training.checkpoint.keep_last``, both
    of the checkpoint itself; an empty dict leaves the folder as it is. One of the middle of an epoch (``position``
    is not 0) stands apart from those, and goes when the next one of a whole epoch is written. Loading gives a
    function that reads the newest checkpoint that can be read, so that a run that does not resume reads nothing; asked
    for one of a ``launch`` (``engine.distributed``) it gives an empty dict where the newest is of another or none.
    Newest is the one written last, whatever its number: a run started anew counts from one again.

    Args:
        filepath: The folder.
        best_model: Its ``filepath`` is the best model, which must be that of the checkpoint that is loaded.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self, *, filepath: str, best_model: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._folder = Path(filepath)
        self._best_model = Path(best_model["filepath"]) if best_model else None
        self.metadata = metadata

    def save(self, data: State) -> None:
        if not data:
            return
        if data["position"]:
            write_state(self._folder / _MID_EPOCH, data)
            return
        written = self._folder / f"checkpoint_epoch_{data['epoch']:04d}.pth"
        write_state(written, data)
        (self._folder / _MID_EPOCH).unlink(missing_ok=True)
        keep = data["config"]["training"]["checkpoint"]["keep_last"]
        # Whatever the clock says of the others, the one just written stays.
        others = [path for path in self._newest_first() if path != written]
        for path in others[keep - 1 :] if keep else []:
            path.unlink()

    def load(self) -> Callable[..., State]:
        return self._read_newest

    def _read_newest(self, launch: str = "") -> State:
        for path in self._newest_first():
            try:
                state = read_state(path)
            except VocSegError as error:
                logger.warning("Passing over a damaged checkpoint: %s", str(error).partition(" (")[0])
                continue
            if launch and state.get("launch") != launch:
                return {}
            self._require_its_best_model(path, state)
            logger.info("Going on from %s", path)
            return state
        if launch:
            return {}
        raise VocSegError(
            f"training.resume is true, but {self._folder} holds no checkpoint that can be read. "
            "Train without it first: kedro run --pipelines training"
        )

    def _require_its_best_model(self, path: Path, state: State) -> None:
        """Refuse a best model of another run: one that was started anew, and killed before its first checkpoint."""
        if self._best_model is None or not state.get("best_epoch"):
            return
        wanted = f"{path} goes with a best model of epoch {state['best_epoch']}, val mIoU {state['best_miou']:.4f}"
        advice = "Put that file back, or train anew: kedro run --pipelines training"
        if not self._best_model.is_file():
            raise VocSegError(f"{wanted}, but there is no {self._best_model}. {advice}")
        best = read_state(self._best_model)
        # One of a later epoch is of this run, killed before the checkpoint: it comes again.
        found = best.get("epoch", 0), best.get("val_miou", 0.0)
        if found[0] <= state["epoch"] and found != (state["best_epoch"], state["best_miou"]):
            raise VocSegError(
                f"{wanted}, but {self._best_model} is of epoch {found[0]}, val mIoU "
                f"{found[1]:.4f}: another run has been started since. {advice}"
            )

    def _newest_first(self) -> list[Path]:
        paths = [*self._folder.glob("checkpoint_epoch_*.pth"), *self._folder.glob(_MID_EPOCH)]
        return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)

    def _exists(self) -> bool:
        return True  # the folder may be empty; asking for a checkpoint then tells what to do

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def preview(self) -> TablePreview:
        """Epoch, score and size of every file, the newest first, for Kedro-Viz."""
        rows = []
        for path in self._newest_first():
            state = read_state(path)
            best = f"{state['best_miou']:.4f} (epoch {state['best_epoch']})" if state["best_epoch"] else "-"
            rows.append([path.name, state["epoch"], state["step"], best, decimal(path.stat().st_size)])
        return table_preview(["file", "epoch", "step", "best val mIoU", "size"], rows)
