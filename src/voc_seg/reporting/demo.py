"""The page on which an exported model segments photographs in the browser, without a network."""

import base64
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from voc_seg.config import ModelInput
from voc_seg.models.saved import trained_on
from voc_seg.voc.classes import Classes
from voc_seg.voc.pixel_format import RGB

from .fonts import shown_classes
from .html_page import fill_template, hex_colour
from .model_origin import model_name

MAX_PIXELS = 2_000_000
"""Larger photographs are reduced in the page: WebAssembly has one thread here, and at most 4 GB of memory."""
MAX_BYTES = 350_000_000
"""Larger models have no page: it holds the model as a base64 string, and Chromium limits strings to 512 MB."""
_RUNTIME, _MODULE, _WASM = "onnxruntime_web", "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"
_SCRIPTS = ("helpers.js", "demo_drawing.js", "demo.js")
_STYLES = ("report.css", "demo.css")
_OF_DRAWINGS = "The network was trained on drawn scenes only, and is of no use on photographs. "
_BACKGROUND = (230, 230, 230)  # in the legend, as in that of overlays; it is not tinted


def why_no_demo(saved: Mapping[str, Any], masks: bytes) -> str:
    """Why there is no page for a model, as a sentence; empty if there is one.

    Args:
        saved: The content of ``best_model.pth``.
        masks: ``model_masks.onnx``.
    """
    if not masks:
        return "it needs model_masks.onnx. To get both: pip install 'voc_seg[onnx]'"
    if ModelInput.of(saved).pixels != RGB:
        return "browsers read RGB images only, and this model takes others"
    if len(masks) > MAX_BYTES:
        return f"browsers cannot hold a model of {len(masks) / 1e6:.0f} MB in a page"
    return ""


def demo_files(masks: bytes, card: str, saved: Mapping[str, Any], classes: Classes) -> dict[str, bytes]:
    """The files of the page by name.

    ``index.html`` works when it is opened as a file. Browsers do not let such a page read other files, except scripts;
    so the runtime and the model are scripts that set a global.

    Args:
        masks: ``model_masks.onnx`` of an RGB model.
        card: ``MODEL_CARD.md``.
        saved: The content of ``best_model.pth``.
        classes: Names and colours by mask value.
    """
    folder = files("voc_seg.reporting") / _RUNTIME
    module, wasm = (folder / _MODULE).read_text(encoding="utf-8"), (folder / _WASM).read_bytes()
    page = files("voc_seg.reporting") / "page"
    shown = shown_classes(classes)
    content = {
        "title": model_name(saved),
        "warning": _OF_DRAWINGS if trained_on(saved) == "sample" else "",
        "digest": saved["model_digest"],
        "classes": [
            {"name": name, "rgb": colour, "colour": hex_colour(colour if value else _BACKGROUND)}
            for value, (name, colour) in enumerate(zip(shown.names, shown.colours))
        ],
        "megabytes": round((len(masks) + len(wasm)) / 1e6),
        "most_pixels": MAX_PIXELS,
        "worker": (page / "demo_worker.js").read_text(encoding="utf-8"),
    }
    title = html.escape(f"Demo: {content['title']}")
    text = fill_template("demo.html", title, _SCRIPTS, content, frame="demo_frame.html", styles=_STYLES)
    runtime = {"module": module, "wasm": base64.b64encode(wasm).decode()}
    return {
        "index.html": text.encode(),
        "model.js": b'globalThis.MODEL="' + base64.b64encode(masks) + b'";\n',
        "onnxruntime.js": f"globalThis.RUNTIME={json.dumps(runtime)};\n".encode(),
        "MODEL_CARD.md": card.encode(),
        "onnxruntime_LICENSE.txt": (folder / "LICENSE").read_bytes(),
        "onnxruntime_ThirdPartyNotices.txt": (folder / "ThirdPartyNotices.txt").read_bytes(),
    }
