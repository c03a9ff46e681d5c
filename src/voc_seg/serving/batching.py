"""Images of several requests go through the network together: a queue, and one thread that empties it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from voc_seg.api.predictor import Result

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    image: np.ndarray
    answer: "Future[Result]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> tuple[int, ...]:
        return self.image.shape


class Batcher:
    """Predicts the masks of images that several threads submit, the oldest first, with others of its size.

    Args:
        predict: Returns a result for each image of a list.
        largest_batch: The number of images of a height and width that are predicted together.
        wait: Seconds that an image waits for others of its size.
        on_batch: Called with the size of each batch.
    """

    def __init__(
        self,
        predict: Callable[[list[np.ndarray]], Sequence[Result]],
        largest_batch: Callable[[int, int], int],
        wait: float,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._predict = predict
        self._largest_batch = largest_batch
        self._wait = wait
        self._on_batch = on_batch
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="voc_seg batches", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many images wait."""
        return len(self._queue)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, image: np.ndarray) -> "Future[Result]":
        """Append an image ``uint8 (H, W, C)`` to the queue."""
        job = _Job(image)
        with self._changed:
            self._queue.append(job)
            self._changed.notify_all()
        return job.answer

    def discard(self, answer: "Future[Result]") -> None:
        """Remove an image that nobody waits for; no effect if it has been predicted, or is just being predicted."""
        if answer.done() and not answer.cancelled():
            return
        answer.cancel()
        with self._changed:
            self._queue = deque(job for job in self._queue if job.answer is not answer)
            self._changed.notify_all()

    def close(self) -> None:
        """Predict what is in the queue, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while self._answer(self._next_batch()):
            pass

    def _answer(self, batch: list[_Job]) -> bool:
        """Predict the images of a batch; false if it is empty. Nothing of it stays in memory."""
        running = [job for job in batch if job.answer.set_running_or_notify_cancel()]
        if not running:
            return bool(batch)
        self._on_batch(len(running))
        try:
            results = self._predict([job.image for job in running])
        except Exception as error:  # one image must not end the server
            for job in running:
                job.answer.set_exception(error)
        else:
            for job, result in zip(running, results):
                job.answer.set_result(result)
        return True

    def _next_batch(self) -> list[_Job]:
        """The oldest image, and others of its size; empty when the queue is closed and empty."""
        with self._changed:
            while True:
                if not self._queue:
                    if self._closing:
                        return []
                    self._changed.wait()
                    continue
                oldest = self._queue[0]
                most = self._largest_batch(*oldest.size[:2])
                batch = [job for job in self._queue if job.size == oldest.size][:most]
                left = oldest.submitted + self._wait - time.monotonic()
                if len(batch) == most or self._closing or left <= 0:
                    chosen = set(map(id, batch))
                    self._queue = deque(job for job in self._queue if id(job) not in chosen)
                    return batch
                self._changed.wait(left)
