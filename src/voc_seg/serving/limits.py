"""What the server accepts, and how many images it has in memory at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_DECODED = 4
"""Images of the largest size that may be decoded at once; the others wait as files."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    | field      | meaning                                                                          |
    |------------|----------------------------------------------------------------------------------|
    | max_bytes  | of a request; a larger one gets 413 while it is read                              |
    | max_pixels | of an image; a larger one gets 413 from its header, before it is decoded          |
    | queue      | requests that are accepted and not yet answered; one more gets 429                |
    | batch      | images of one size that go through the network together, at most                 |
    | batch_wait | seconds that an image waits for others of its size                                |
    | timeout    | seconds from the beginning of a request; later it gets 504, or 408 while uploading |
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 64_000_000
    queue: int = 64
    batch: int = 8
    batch_wait: float = 0.005
    timeout: float = 30.0


class Admission:
    """Counts the requests that are accepted and not yet answered; used by the event loop only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.accepted = 0
        self.in_flight = 0
        self.draining = False  # the server is stopping: it still answers, but a load balancer should choose another

    def enter(self) -> bool:
        """Accept a request; false if there are too many. After true, call `leave`."""
        if self.in_flight >= self._limit:
            return False
        self.accepted += 1
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Count a request as answered."""
        self.in_flight -= 1


class PixelBudget:
    """Limits the pixels that are decoded at once; used by the event loop only."""

    def __init__(self, limits: Limits) -> None:
        self._total = _DECODED * limits.max_pixels
        self._used = 0
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, pixels: int) -> AsyncIterator[None]:
        """Wait until there is room for an image, and keep its room until exit."""
        while self._used and self._used + pixels > self._total:
            self._freed.clear()
            await self._freed.wait()
        self._used += pixels
        try:
            yield
        finally:
            self._used -= pixels
            self._freed.set()
