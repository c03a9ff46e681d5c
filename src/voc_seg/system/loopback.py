"""A folder as a website that only this computer can open."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .errors import VocSegError

_LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    # Windows may know other types, with which browsers run no scripts.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript", ".md": "text/plain"}

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # the folder may be written again
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


def serve_folder(folder: Path, port: int, started: Callable[[str], object]) -> None:
    """Serve a folder on loopback until interrupted with Ctrl+C.

    Args:
        folder: Its ``index.html`` is shown first.
        port: 0 chooses a free one.
        started: Called with the address.

    Raises:
        VocSegError: The port cannot be used.
    """
    try:
        server = ThreadingHTTPServer((_LOOPBACK, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise VocSegError(
            f"Port {port} cannot be used ({error}). Choose another with --port, or leave it out."
        ) from error
    with server:
        started(f"http://{_LOOPBACK}:{server.server_address[1]}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
