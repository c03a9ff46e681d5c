"""The command ``voc-seg serve``, in a project also ``kedro serve``."""

import logging
import os
from pathlib import Path

import click

from voc_seg.system.errors import VocSegError

from .limits import Limits

_DEFAULTS = Limits()
TOKEN = "VOC_SEG_TOKEN"
"""The variable with the token, if no file is given: arguments of a process are visible to other users."""


@click.command()
@click.option("--model", default="data/06_models/best_model.pth", show_default=True, metavar="PATH",
              help="best_model.pth, model.safetensors, model_masks.onnx, model_masks_int8.onnx or hf://USER/NAME.",
              )  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; 0.0.0.0 lets other machines use the server.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 chooses a free one.")
@click.option("--token-file", type=click.Path(path_type=Path), default=None,
              help="File with the token that clients must send. Or set VOC_SEG_TOKEN.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--precision", default="auto", show_default=True, help="auto, bf16, fp16 or fp32.")
@click.option("--batch", type=click.IntRange(1), default=_DEFAULTS.batch, show_default=True,
              help="Images of one size that go through the network together, at most.")  # fmt: skip
@click.option("--batch-wait", type=click.FloatRange(0), default=1000 * _DEFAULTS.batch_wait, show_default=True,
              metavar="MS", help="Milliseconds that an image waits for others.")  # fmt: skip
@click.option("--queue", type=click.IntRange(1), default=_DEFAULTS.queue, show_default=True,
              help="Requests in progress, at most; others get 429.")  # fmt: skip
@click.option("--max-bytes", type=click.IntRange(1), default=_DEFAULTS.max_bytes, show_default=True,
              help="Size of a request.")  # fmt: skip
@click.option("--max-pixels", type=click.IntRange(1), default=_DEFAULTS.max_pixels, show_default=True,
              help="Pixels of an image.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=_DEFAULTS.timeout, show_default=True,
              metavar="SECONDS", help="Time for a request.")  # fmt: skip
@click.option("--drain", type=click.FloatRange(0), default=1.0, show_default=True, metavar="SECONDS",
              help="Time to accept requests after SIGTERM, while /readyz is 503.")  # fmt: skip
def serve(
    model: str,
    host: str,
    port: int,
    token_file: Path | None,
    device: str,
    precision: str,
    batch: int,
    batch_wait: float,
    queue: int,
    max_bytes: int,
    max_pixels: int,
    timeout: float,
    drain: float,
) -> None:
    """Serve a model over HTTP: POST an image to /predict, get its mask.

    \b
    curl -F image=@photo.jpg http://127.0.0.1:8000/predict -o mask.png
    curl -F image=@photo.jpg "http://127.0.0.1:8000/predict?format=json"
    """
    if not logging.getLogger().handlers:  # Kedro has set them up for `kedro serve`
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s")
    limits = Limits(max_bytes, max_pixels, queue, batch, batch_wait / 1000, timeout)
    try:
        token = read_token(token_file)
        try:
            from .server import ServerOptions, serve_model  # slow to import, and needs an extra
        except ImportError as error:
            raise VocSegError(f"The server needs the extra serve: pip install 'voc_seg[serve]' ({error})") from None
        serve_model(model, device, precision, ServerOptions(host, port, token, drain, limits))
    except VocSegError as error:
        raise click.ClickException(str(error)) from None


def read_token(path: Path | None) -> str:
    """Return the token of a file, else that of the environment; empty if there is neither.

    Raises:
        VocSegError: The file cannot be read, or the token is blank or has characters that HTTP headers cannot hold.
    """
    source = TOKEN if path is None else str(path)
    try:
        text = os.environ.get(TOKEN) if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VocSegError(f"The token in {source} cannot be read: {error}") from None
    if text is None:
        return ""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise VocSegError(f"The token in {source} must be one word of ASCII letters, digits and signs.")
    return token
