"""Numbers read a step late are those that were computed."""

import torch

from voc_seg.engine.delayed import DelayedRead


def test_on_a_cpu_the_number_is_passed_on() -> None:
    loss = torch.tensor(0.25)
    assert DelayedRead(loss, asynchronous=False).read() is loss
