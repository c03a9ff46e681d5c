"""A folder as a website on loopback."""

import threading
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from queue import Queue

import pytest

from voc_seg.system.errors import VocSegError
from voc_seg.system.loopback import serve_folder


def start(folder: Path) -> str:
    addresses: Queue[str] = Queue()
    threading.Thread(target=partial(serve_folder, folder, 0, addresses.put), daemon=True).start()
    return addresses.get(timeout=10)


def test_files_of_the_folder_are_served_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "index.html").write_text("page")
    (tmp_path / "demo" / "model.js").write_text("script")
    (tmp_path / "secret.txt").write_text("secret")
    address = start(tmp_path / "demo")
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address) as answer:
        assert answer.read() == b"page"
    with urllib.request.urlopen(f"{address}model.js") as answer:
        assert answer.headers["Content-Type"] == "text/javascript"
        assert answer.headers["Cache-Control"] == "no-cache"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}../secret.txt")


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    port = int(start(tmp_path).rstrip("/").rpartition(":")[2])
    with pytest.raises(VocSegError, match=f"Port {port} cannot be used .* Choose another with --port"):
        serve_folder(tmp_path, port, lambda _: None)
