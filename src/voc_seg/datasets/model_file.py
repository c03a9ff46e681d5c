"""A saved network as a catalog entry, and reading and writing of its file."""

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, Version
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.system.atomic import atomic_write

from .previews import table_preview
from .versions import OwnVersion

State = dict[str, Any]


def write_state(path: Path, state: State) -> None:
    """Write a state dict for ``torch.load(weights_only=True)``; a failed write leaves the old file in place.

    Raises VocSegError if it cannot be written; the message has the size it needs.
    """
    import torch  # takes a second, so only where a network is read or written

    with atomic_write(path, size=_size(state)) as partial, partial.open("wb") as file:
        torch.save(state, file)


def host_copy(state: State) -> State | None:
    """Return a copy of a state dict whose tensors are on a GPU; None for one on the CPU.

    All copies are queued before the first is waited for.
    """
    import torch

    def copy(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.clone() if value.device.type == "cpu" else value.detach().to("cpu", non_blocking=True)
        if isinstance(value, dict):
            return {key: copy(item) for key, item in value.items()}
        return [copy(item) for item in value] if isinstance(value, list) else value

    devices = {tensor.device for tensor in _tensors(state)} - {torch.device("cpu")}
    if not devices:
        return None
    copied = copy(state)
    for device in devices:
        torch.accelerator.synchronize(device)
    return copied


def _size(state: State) -> int:
    """Bytes of the tensors in a state dict; the rest is small."""
    return sum(tensor.nbytes for tensor in _tensors(state))


def _tensors(state: Any) -> Iterator[Any]:
    """The tensors in nested dicts and lists."""
    if hasattr(state, "nbytes"):
        yield state
    for value in state.values() if isinstance(state, dict) else state if isinstance(state, list) else ():
        yield from _tensors(value)


def read_state(path: Path) -> State:
    """Read what :func:`write_state` wrote, on the CPU.

    Raises VocSegError if the file is damaged, holds something else, or would run code on loading.
    """
    from voc_seg.models.exchange import read_saved

    return read_saved(path)


class ModelDataset(OwnVersion, AbstractVersionedDataset[State, State]):
    """A single ``.pth`` file. Saving an empty dict leaves the file as it is, and makes no version.

    Args:
        filepath: The file.
        version: Set by Kedro if the entry has ``versioned: true``.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(PurePosixPath(Path(filepath).as_posix()), version)
        self.metadata = metadata

    @classmethod
    def _save_wrapper(cls, save_func: Callable[..., None]) -> Callable[..., None]:
        save_version = super()._save_wrapper(save_func)

        @wraps(save_func)
        def save(self: "ModelDataset", data: State) -> None:
            if data != {}:  # Kedro expects that every save makes a version
                save_version(self, data)

        save.__savewrapped__ = True  # type: ignore[attr-defined]  # as Kedro marks its own
        return save

    def save(self, data: State) -> None:
        write_state(self._target(), data)
        self._remember_version()

    def load(self) -> State:
        return read_state(self._path())

    def _path(self) -> Path:
        return Path(self._get_load_path())

    def load_checked(self) -> State:
        """The content of the file; raises VocSegError unless it is a usable network."""
        from voc_seg.models.saved import require_best_model

        state = read_state(self._path())
        require_best_model(state, str(self._path()))
        return state

    def _exists(self) -> bool:
        return self._path().is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}

    def preview(self) -> TablePreview:
        """Epoch, score, size and settings of the network, for Kedro-Viz."""
        from voc_seg.models.encoder import count_weights
        from voc_seg.models.saved import require_fields, trained_on

        state = read_state(self._path())
        require_fields(state, str(self._path()), "epoch", "val_miou", "model", "class_names", "model_config")
        facts = {
            "epoch": state["epoch"],
            "val mIoU": round(state["val_miou"], 4),
            "file size": decimal(self._path().stat().st_size),
            "parameters": f"{count_weights(state['model']):,}",
            "classes": len(state["class_names"]),
            "trained on": trained_on(state) or "not known",
            **state["model_config"],
        }
        return table_preview(["property", "value"], [[name, str(value)] for name, value in facts.items()])
