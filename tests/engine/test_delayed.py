"""Numbers read a step late are those that were computed."""

import torch

from voc_seg.engine.delayed import DelayedRead


def test_on_a_cpu_the_number_is_passed_on() -> None:
    loss, mask = torch.tensor(0.25), torch.zeros(2, 2)
    found = DelayedRead(loss, mask, asynchronous=False).read()
    assert found[0] is loss and found[1] is mask
