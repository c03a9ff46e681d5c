"""Names that classes can have."""

from collections.abc import Mapping, Sequence

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import class_name_problem, name_key
from voc_seg.voc.classes import RESERVED_NAMES, VOID

from .layout import Stored
from .stored import text_of


def require_valid_names(meanings: Mapping[Stored, str], names: Sequence[str]) -> None:
    """Raise VocSegError for names that tables or settings cannot have, and for too many.

    Args:
        meanings: Name by stored value or colour.
        names: The classes.
    """
    seen: dict[str, str] = {}

    def renamed(other: str, *olds: str) -> str:
        """By what is stored: a name may hold the marks of the option."""
        keys = [text_of(key) for key, name in meanings.items() if name in olds]
        return ",".join(f"{key}={other}" for key in keys)

    for name in names:
        twin = seen.setdefault(name_key(name), name)
        problem = class_name_problem(name) or ("tables have a column of that name" if name in RESERVED_NAMES else "")
        if problem:
            raise VocSegError(
                f"{name!r} cannot be a class name: {problem}. Rename it with --classes {renamed('other', name)}"
            )
        if twin != name:
            raise VocSegError(
                f"{name!r} and {twin!r} differ only in case or in how a letter is encoded. Merge them with "
                f'--classes "{renamed(twin, twin, name)}"'
            )
    if len(names) > VOID:
        raise VocSegError(f"{len(names)} classes were found, but a mask can hold {VOID}. Merge some with --merge.")
