"""Requests that end while a thread still works for them."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import UploadFile

from voc_seg.serving import work
from voc_seg.serving.batching import Batcher
from voc_seg.serving.limits import Limits
from voc_seg.voc.pixel_format import RGB


def test_a_cancelled_request_keeps_its_room_while_its_image_is_decoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    decoding, decoded, most = threading.Semaphore(0), threading.Event(), []
    at_once: set[int] = set()

    def decode(path: Path, pixels: Any) -> Any:
        at_once.add(id(path))
        most.append(len(at_once))
        decoding.release()
        decoded.wait(30)
        at_once.remove(id(path))
        raise OSError("nobody wants it any more")

    monkeypatch.setattr(work, "save_upload", lambda file, path, limit: limit)
    monkeypatch.setattr(work, "decode_upload", decode)
    upload = UploadFile((tmp_path / "image").open("wb"))
    batcher = Batcher(lambda images: [], lambda height, width: 1, wait=0)

    async def cancel_then_ask_again() -> None:
        with ThreadPoolExecutor(16) as pool:
            worker = work.Work(RGB, batcher, Limits(), pool)
            first = [asyncio.create_task(worker._segment(upload, "mask")) for _ in range(4)]
            for _ in first:
                await asyncio.to_thread(decoding.acquire)
            for request in first:
                request.cancel()
            later = [asyncio.create_task(worker._segment(upload, "mask")) for _ in range(4)]
            await asyncio.sleep(0.1)
            assert len(at_once) == 4
            decoded.set()
            for request in first:
                with contextlib.suppress(asyncio.CancelledError):
                    await request
            for request in later:
                with pytest.raises(OSError, match="nobody wants"):
                    await request

    with ThreadPoolExecutor(1) as pool:  # in this thread, tests of pages may have an event loop
        pool.submit(asyncio.run, cancel_then_ask_again()).result()
    upload.file.close()
    batcher.close()
    assert max(most) == 4
