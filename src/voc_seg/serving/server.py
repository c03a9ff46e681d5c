"""Start the server, and stop it without losing a request."""

import asyncio
import logging
import os
import socket
import threading
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import numpy as np
import uvicorn

import voc_seg
from voc_seg.api.predictor import Predictor
from voc_seg.system.errors import VocSegError

from .app import create_app
from .limits import Admission, Limits

logger = logging.getLogger(__name__)

_IDLE = 75
"""Seconds after which an idle connection is closed, longer than load balancers keep them: usually 60."""
_THREADS = 8
"""For decoding and encoding, at most: containers see all cores of a machine."""
_SPARE = 5
"""Seconds beyond the time-out of requests that stopping may take."""
_LAST_REQUESTS = 0.5
"""Seconds in which a connection that was accepted last can send its request."""
_WARM_UP = (375, 500)


@dataclass(frozen=True)
class ServerOptions:
    """Where the server listens, who may use it, and how it stops."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    drain: float = 1.0  # seconds between SIGTERM and the last accepted connection
    limits: Limits = field(default_factory=Limits)


class GracefulServer(uvicorn.Server):
    """On SIGTERM or Ctrl-C, readiness turns 503; after ``drain`` seconds no connection is accepted any more.

    Then the accepted requests are answered, and the process ends with code 0. A second signal skips the wait, a
    further one gives up requests in progress.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission, drain: float) -> None:
        super().__init__(config)
        self._admission = admission
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the server is, once it answers and signals are handled."""
        await super().startup(sockets)
        for one in sockets or ():
            host, port = one.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            logger.info("Serving on http://%s (description: /docs). Ctrl-C stops it.", address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, and wait for requests of open connections: uvicorn would close those without one at once."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. uvicorn's own method would end the process by the signal, with another code than 0."""
        if self._admission.draining:
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        self._admission.draining = True
        timer = threading.Timer(self._drain, self._stop)
        timer.daemon = True
        timer.start()

    def _stop(self) -> None:
        self.should_exit = True


def serve_model(path: Path | str, device: str, precision: str, options: ServerOptions) -> None:
    """Serve a model until SIGTERM or Ctrl-C.

    Raises:
        VocSegError: The model cannot be loaded, or the address cannot be used.
    """
    model = voc_seg.load(path, device, precision)
    logger.info("%s: %r", path, model)
    _warm_up(model)
    if not options.token and not _is_loopback(options.host):
        logger.warning("Anyone who can reach %s can use the server. Set a token with --token-file.", options.host)
    admission = Admission(options.limits.queue)
    app = create_app(model, options.limits, options.token, admission, threads=min(_THREADS, os.cpu_count() or 1))
    with _listen(options.host, options.port) as listener:
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, server_header=False,
            timeout_keep_alive=_IDLE, timeout_graceful_shutdown=round(options.limits.timeout + _SPARE),
        )  # fmt: skip
        GracefulServer(config, admission, options.drain).run(sockets=[listener])
    logger.info("Stopped; requests accepted: %d, unanswered: %d", admission.accepted, admission.in_flight)


def _warm_up(model: Predictor) -> None:
    """Predict a blank image: the first one takes longer, and a model that fails should do so before it is ready."""
    model.predict(np.zeros((*_WARM_UP, model.pixels.channels), np.uint8)).overlay()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]  # Python repeats the address
        raise VocSegError(
            f"The server cannot listen on port {port} of {host}: {reason}. Choose others with --port and --host."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
