"""Contact sheets for Kedro-Viz."""

from collections.abc import Callable

from voc_seg.datasets.previews import contact_sheet


def test_a_sheet_of_nothing_is_blank(decoded: Callable) -> None:
    assert decoded(contact_sheet([])).size == (180, 90)
