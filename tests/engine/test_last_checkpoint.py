"""A training does not end, and says nothing of its last checkpoint, before that is written."""

import signal
from collections.abc import Callable

import pytest

from voc_seg.config import Parameters
from voc_seg.engine.training import fit
from voc_seg.samples.store import SampleStore
from voc_seg.system.background import write_in_background
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES


def _fail() -> None:
    raise VocSegError("No space for the checkpoint")


@pytest.mark.usefixtures("narrow_encoder")
@pytest.mark.parametrize("interrupted_after", [None, 0, 1], ids=["finished", "in an epoch", "after an epoch"])
def test_a_last_checkpoint_that_could_not_be_written_is_the_error_of_the_training(
    train_store: SampleStore,
    val_store: SampleStore,
    make_parameters: Callable[..., Parameters],
    interrupted_after: int | None,
) -> None:
    """Otherwise an interrupted run would say that it has been written."""
    reports = fit(train_store, val_store, CLASS_NAMES, make_parameters(training={"epochs": 1}))
    with pytest.raises(VocSegError, match=r"^No space"):
        for number, _ in enumerate(reports):
            if number == interrupted_after:
                signal.raise_signal(signal.SIGTERM)
            if number == 1:  # the first is of the time before validation
                write_in_background(_fail)
