"""Parameters that users add beside ours: they pass, but a slip in one of our keys does not pass for one of theirs."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from voc_seg.system.errors import VocSegError

_LONG, _VERY_LONG = 6, 10
"""Letters of a key from which on one slip, or two, tell that it was meant."""


def own_settings(settings: Mapping[Any, Any], model: type[BaseModel]) -> dict[Any, Any]:
    """Settings without the top-level keys of users; a key that is probably a slip of ours stays, to be refused.

    Args:
        settings: What ``parameters*.yml`` and ``--params`` hold.
        model: All settings of this project.
    """
    return {key: value for key, value in settings.items() if key in model.model_fields or meant(key, value, model)}


def foreign_settings(settings: Mapping[Any, Any], model: type[BaseModel]) -> dict[Any, Any]:
    """The top-level keys of users."""
    return {key: value for key, value in settings.items() if key not in own_settings(settings, model)}


def meant(key: Any, value: Any, model: type[BaseModel]) -> str | None:
    """The key of ours that a top-level key was probably meant to be; None for a key of somebody else."""
    return next(
        (name for name in model.model_fields if isinstance(key, str) and _is_slip(key, value, name, model)), None
    )


def _is_slip(key: str, value: Any, name: str, model: type[BaseModel]) -> bool:
    """Whether a key is a slip of ``name``: the shorter the name, the more the value has to bear it out.

    ``mode: fast`` is not ``model``, which holds a block; ``mode: {encoder: resnet18}`` is.
    """
    written, wanted = _plain(key), _plain(name)
    slips = _slips(written, wanted)
    block = block_of(model.model_fields[name].annotation)
    if slips == 0:
        return True
    if name in key.casefold().replace("-", "_").split("_"):  # my_training, model_b
        return False
    if block and isinstance(value, Mapping) and block.model_fields.keys() & value.keys():
        return slips <= 2 or (len(written) >= 3 and wanted.startswith(written))  # train, eval, aug
    if len(wanted) >= _LONG:
        return slips == 1 or (slips == 2 and len(wanted) >= _VERY_LONG)
    transposed = sorted(written) == sorted(wanted)
    if block or isinstance(value, (Mapping, list)):
        return slips == 1 and transposed
    one_letter = len(written) < len(wanted) or written == f"{wanted}s" or set(written) == set(wanted)
    return slips == 1 and (transposed or one_letter)


def namesakes(key: Any, model: type[BaseModel]) -> list[str]:
    """Our settings further down that are called like a top-level key: ``training.epochs`` for ``epochs``."""
    return [dotted for dotted in _dotted(model) if "." in dotted and dotted.rpartition(".")[2] == key]


def unread(settings: Mapping[Any, Any], given: Mapping[Any, Any], read: set[str], model: type[BaseModel]) -> list[str]:
    """Warnings of keys of users that no node of a run takes, and that were therefore perhaps meant to be ours.

    Args:
        settings: All parameters.
        given: Those of ``--params`` among them.
        read: Top-level keys that nodes of the run take.
        model: All settings of this project.

    Raises:
        VocSegError: One of ``--params`` is called like a setting of ours that stands in a block.
    """
    warnings = []
    for key in settings:
        if key in model.model_fields or key in read:
            continue
        ours = " or ".join(namesakes(key, model))
        if ours and key in given:
            raise VocSegError(f"--params {key}: no node of this run reads that key. Did you mean {ours}?")
        if ours:
            warnings.append(f"{key} in a parameters file is no setting of this project; {ours} is. Is it indented?")
        elif key in given:
            warnings.append(f"--params {key}: it is no setting of this project, and no node of this run reads it.")
    return warnings


def block_of(annotation: Any) -> type[BaseModel] | None:
    """The block of settings in an annotation such as ``tuple[Block, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((block for part in get_args(annotation) if (block := block_of(part))), None)


def _dotted(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and (block := block_of(field.annotation)):  # no list of blocks
            yield from _dotted(block, f"{prefix}{name}.")


def _plain(key: str) -> str:
    return "".join(letter for letter in key.casefold() if letter.isalnum())


def _slips(written: str, wanted: str) -> int:
    """Letters that were left out, added, mistyped or swapped with their neighbour (Damerau-Levenshtein distance)."""
    rows = [list(range(len(wanted) + 1))]
    for i, letter in enumerate(written, start=1):
        row = [i]
        for j, other in enumerate(wanted, start=1):
            row.append(min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (letter != other)))
            if i > 1 and j > 1 and (letter, written[i - 2]) == (wanted[j - 2], other):
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
