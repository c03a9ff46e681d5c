"""Whether val has chosen the epoch of a model, so that its score there is optimistic."""

from typing import Any

import pytest

from voc_seg.models.members import is_chosen_on_val


def saved(*folds: str | None, **training: str | None) -> dict[str, Any]:
    members = [{"run": str(number), "fold": fold} for number, fold in enumerate(folds)]
    return {"config": {"training": training}} | ({"members": members} if members else {})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (saved(), True),
        ({}, True),  # of an earlier version
        (saved(select="best"), True),
        (saved(select="last"), False),
        (saved(select="ema"), False),
        (saved(fold="2/5"), False),
        (saved("1/2", "2/2", select="best"), False),
        (saved(None, None, select="best"), True),
        (saved(None, None, select="last"), False),
    ],
)
def test_val_chooses_the_epoch_unless_the_last_or_a_fold_does(model: dict[str, Any], expected: bool) -> None:
    assert is_chosen_on_val(model) is expected
