"""Top-level parameters that users add are accepted, but a misspelt setting of this project does not pass as one."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from voc_seg.system.errors import VocSegError

_ONE_TYPO_LENGTH, _TWO_TYPOS_LENGTH = 6, 10
"""Length in letters from which a key with one typo, or two, still counts as a misspelling."""


def project_parameters(settings: Mapping[Any, Any], model: type[BaseModel]) -> dict[Any, Any]:
    """Settings without the user's top-level keys; a probable misspelling of a setting stays, so that it is refused."""
    return {
        key: value for key, value in settings.items() if key in model.model_fields or intended_key(key, value, model)
    }


def user_parameters(settings: Mapping[Any, Any], model: type[BaseModel]) -> dict[Any, Any]:
    """The user's top-level keys."""
    return {key: value for key, value in settings.items() if key not in project_parameters(settings, model)}


def intended_key(key: Any, value: Any, model: type[BaseModel]) -> str | None:
    """The setting that a top-level key probably misspells; None for a key of the user."""
    return next(
        (name for name in model.model_fields if isinstance(key, str) and _is_typo(key, value, name, model)), None
    )


def _is_typo(key: str, value: Any, name: str, model: type[BaseModel]) -> bool:
    """Whether a key misspells ``name``: the shorter the name, the better the value has to fit.

    ``mode: fast`` is not ``model``, which holds a block; ``mode: {encoder: resnet18}`` is.
    """
    written, wanted = _letters(key), _letters(name)
    typos = _edit_distance(written, wanted)
    block = block_of(model.model_fields[name].annotation)
    if typos == 0:
        return True
    if name in key.casefold().replace("-", "_").split("_"):  # my_training, model_b
        return False
    if block and isinstance(value, Mapping) and block.model_fields.keys() & value.keys():
        return typos <= 2 or (len(written) >= 3 and wanted.startswith(written))  # train, eval, aug
    if len(wanted) >= _ONE_TYPO_LENGTH:
        return typos == 1 or (typos == 2 and len(wanted) >= _TWO_TYPOS_LENGTH)
    transposed = sorted(written) == sorted(wanted)
    if block or isinstance(value, (Mapping, list)):
        return typos == 1 and transposed
    one_letter = len(written) < len(wanted) or written == f"{wanted}s" or set(written) == set(wanted)
    return typos == 1 and (transposed or one_letter)


def unread_warnings(
    settings: Mapping[Any, Any], given: Mapping[Any, Any], read: set[str], model: type[BaseModel]
) -> list[str]:
    """Warnings about user keys that no node of the run reads, and that may be misplaced settings.

    Args:
        settings: All parameters.
        given: The parameters from ``--params``.
        read: Top-level keys that nodes of the run read.
        model: The settings of this project.

    Raises:
        VocSegError: A key from ``--params`` has the name of a nested setting.
    """
    warnings = []
    for key in settings:
        if key in model.model_fields or key in read:
            continue
        ours = " or ".join(dotted for dotted in _dotted(model) if dotted.endswith(f".{key}"))  # training.epochs
        if ours and key in given:
            raise VocSegError(f"--params {key}: no node of this run reads that key. Did you mean {ours}?")
        if ours:
            warnings.append(
                f"{key} in a parameters file is not a setting of this project; {ours} is. Check its indentation."
            )
        elif key in given:
            warnings.append(f"--params {key} is not a setting of this project, and no node of this run reads it.")
    return warnings


def block_of(annotation: Any) -> type[BaseModel] | None:
    """The settings block in an annotation such as ``tuple[Block, ...] | None``; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((block for part in get_args(annotation) if (block := block_of(part))), None)


def _dotted(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and (block := block_of(field.annotation)):  # no list of blocks
            yield from _dotted(block, f"{prefix}{name}.")


def _letters(key: str) -> str:
    return "".join(letter for letter in key.casefold() if letter.isalnum())


def _edit_distance(written: str, wanted: str) -> int:
    """Damerau-Levenshtein distance: letters missing, added, replaced or swapped with their neighbour."""
    rows = [list(range(len(wanted) + 1))]
    for i, letter in enumerate(written, start=1):
        row = [i]
        for j, other in enumerate(wanted, start=1):
            row.append(min(row[-1] + 1, rows[-1][j] + 1, rows[-1][j - 1] + (letter != other)))
            if i > 1 and j > 1 and (letter, written[i - 2]) == (wanted[j - 2], other):
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
