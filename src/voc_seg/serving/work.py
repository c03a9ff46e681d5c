"""What happens to one request: read the upload, decode it, segment it with others, encode the answer."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from fastapi import HTTPException, Request, UploadFile
from starlette.requests import ClientDisconnect

from voc_seg.api.predictor import Result
from voc_seg.voc.pixel_format import PixelFormat

from .answers import encode
from .batching import Batcher
from .limits import Limits, PixelBudget
from .uploads import decode_upload, read_upload, save_upload

T = TypeVar("T")


class Work:
    """Answers requests within the limits; several at a time, in the event loop of the server."""

    def __init__(self, pixels: PixelFormat, batcher: Batcher, limits: Limits, pool: Executor) -> None:
        self._pixels = pixels
        self._batcher = batcher
        self._limits = limits
        self._pool = pool
        self._budget = PixelBudget(limits)

    async def answer(self, request: Request, kind: str) -> bytes:
        """Return the mask, the overlay or the JSON for a request.

        Raises:
            HTTPException: The upload is refused, or time ran out.
            ClientDisconnect: The client is gone; its image has left the queue.
            NoMemoryError: Memory ran out.
        """
        until = asyncio.get_running_loop().time() + self._limits.timeout
        upload = await _before(until, read_upload(request, self._limits.max_bytes), 408, "The upload")
        gone = asyncio.ensure_future(_disconnected(request))
        answer = asyncio.ensure_future(_before(until, self._segment(upload, kind), 504, "Segmentation"))
        try:
            await asyncio.wait({gone, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        finally:
            gone.cancel()
            answer.cancel()
            await asyncio.wait([answer])  # its thread may still read the upload
            upload.file.close()

    async def _segment(self, upload: UploadFile, kind: str) -> bytes:
        with TemporaryDirectory(prefix="voc_seg_upload_") as folder:
            path = Path(folder) / "image"
            pixels = await self._in_pool(save_upload, upload.file, path, self._limits.max_pixels)
            async with self._budget.taken(pixels):
                image = await self._in_pool(decode_upload, path, self._pixels)
                result = await self._predict(image)
                return await self._in_pool(encode, result, kind)

    async def _predict(self, image: np.ndarray) -> Result:
        waiting = self._batcher.submit(image)
        try:
            return await asyncio.wrap_future(waiting)
        finally:
            self._batcher.discard(waiting)

    async def _in_pool(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread. If the request is cancelled, this waits: the thread still uses its memory."""
        running = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            _ = running.cancelled() or running.exception()  # nobody asks for it, which asyncio would log
            raise


async def _before(until: float, work: Any, status: int, stage: str) -> Any:
    """Await a coroutine until a deadline on the event loop's clock; then cancel it."""
    try:
        return await asyncio.wait_for(work, until - asyncio.get_running_loop().time())
    except asyncio.TimeoutError:
        raise HTTPException(status, f"{stage} took longer than the server's time limit.") from None


async def _disconnected(request: Request) -> None:
    """Wait until the client has closed the connection; its request has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
