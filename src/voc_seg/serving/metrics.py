"""Metrics of the server for Prometheus, and the middleware that counts requests."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, waiting: Callable[[], float], in_flight: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "voc_seg_requests", "Requests to /predict; 499: the client is gone.", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "voc_seg_request_seconds", "Seconds of a request that got a result.", buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "voc_seg_batch_size", "Images that went through the network together.", buckets=_BATCHES,
            registry=self.registry,
        )  # fmt: skip
        queue = Gauge("voc_seg_queue_length", "Decoded images that wait for the network.", registry=self.registry)
        queue.set_function(waiting)
        accepted = Gauge("voc_seg_requests_in_flight", "Requests accepted, not yet answered.", registry=self.registry)
        accepted.set_function(in_flight)
        ProcessCollector(registry=self.registry)


class RequestMiddleware:
    """Counts the requests to /predict, and closes connections that the server should not read from any more.

    These are those with a body that has not been read to its end, and all while the server is stopping.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, is_stopping: Callable[[], bool]) -> None:
        self._app = app
        self._metrics = metrics
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_read = time.perf_counter(), 500, scope["method"] != "POST"

        async def read() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if not is_read or self._is_stopping():
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        try:
            await self._app(scope, read, answer)
        finally:
            if scope["path"] == "/predict" and scope["method"] == "POST":
                self._metrics.requests.labels(str(status)).inc()
                if status == 200:
                    self._metrics.seconds.observe(time.perf_counter() - started)
