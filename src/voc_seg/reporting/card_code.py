"""The code samples of the model card."""

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from voc_seg.config import InferenceConfig, ModelInput
from voc_seg.voc.pixel_format import RGB

_WITH_TORCH = Template("""\
from pathlib import Path

import numpy as np

from voc_seg.config import InferenceConfig, ${model_input}RuntimeConfig
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.exchange import read_safetensors
from voc_seg.voc.images import decode_image

saved = read_safetensors("model.safetensors")
settings = InferenceConfig(longer_side=${longer_side}, tile=${tile})
segmenter = load_segmenter(saved, settings, choose_runtime(RuntimeConfig(device="cpu"))${scales})
mask = segmenter(decode_image(Path("${picture}")${pixels}))  # uint8 (height, width), the image's own size
print([saved["class_names"][value] for value in np.unique(mask)])
""")

_WITH_ONNX = Template("""\
import json

import numpy as np
import onnxruntime
from PIL import Image${image_ops}

session = onnxruntime.InferenceSession("model.onnx")
about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
${opened}
${resized}
pixels = (np.asarray(${stacked}, np.float32) / 255 - about["mean"]) / about["std"]  # (height, width, ${channels})
images = pixels.transpose(2, 0, 1)[None].astype(np.float32)
(logits,) = session.run(["logits"], {"images": images})
${mirrored}best = np.full(picture.size[::-1], -np.inf, np.float32)
mask = np.zeros(picture.size[::-1], np.uint8)  # (height, width), the image's own size
for value, scores in enumerate(logits[0]):  # at the image's size, one class at a time
    extent = (0, 0, *small.size)
    enlarged = Image.fromarray(scores).transform(
        picture.size, Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR
    )
    mask[np.asarray(enlarged) > best] = value
    best = np.maximum(best, enlarged)
print([about["class_names"][value] for value in np.unique(mask)])
""")
_OPEN_RGB = 'picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")'
_OPEN_BANDS = """\
stored = np.load("picture.npy")  # uint8 (height, width, {}): bands scaled to 8 bits as in training
bands = [Image.fromarray(band) for band in stored.transpose(2, 0, 1)]
picture = bands[0]"""
_MIRRORED = """\
(mirrored,) = session.run(["logits"], {"images": np.ascontiguousarray(images[..., ::-1])})
logits = (logits + mirrored[..., ::-1]) / 2
"""


def usage(
    saved: Mapping[str, Any],
    onnx_facts: Mapping[str, Any],
    inference: InferenceConfig,
    scales: Sequence[float] | None = None,
) -> list[str]:
    model_input = ModelInput.of(saved)
    as_rgb = model_input.channels == 3
    code = _WITH_TORCH.substitute(
        longer_side=inference.longer_side,
        tile=inference.tile,
        scales=f", scales={list(scales)}" if scales else "",
        picture="picture.jpg" if model_input.pixels == RGB else "picture.tif",
        model_input="" if model_input.pixels == RGB else "ModelInput, ",
        pixels="" if model_input.pixels == RGB else ", ModelInput.of(saved).pixels",
    )
    torch = [
        "With PyTorch and voc_seg; the masks equal those of `kedro run --pipelines inference` on a CPU:",
        f"```python\n{code}```",
        "To start a training from this model, set `model.weights` of voc_seg to this file.",
    ]
    if not onnx_facts:
        return torch
    evaluation = saved["config"]["evaluation"]
    onnx = _WITH_ONNX.substitute(
        image_ops=", ImageOps" if as_rgb else "",
        opened=_OPEN_RGB if as_rgb else _OPEN_BANDS.format(model_input.channels),
        stacked="small" if as_rgb else "np.stack(bands, -1)",
        channels=model_input.channels,
        resized=_resized(saved["image_size"], evaluation["scale"], inference.longer_side, as_rgb),
        mirrored=_MIRRORED if evaluation["flip"] else "",
    )
    several = f" The mean over the scales {' '.join(map(str, scales))} is not part of it." if scales else ""
    return [
        *torch,
        "With ONNX Runtime, without voc_seg. Masks may differ in a few pixels at object borders. They differ more for "
        f"transparent or 16-bit images, and where the network's input is longer than {inference.tile} pixels, which "
        f"voc_seg processes in tiles and this code does not.{several}",
        f"```python\n{onnx}```",
    ]


def _resized(image_size: Sequence[int] | None, scale: float, longer_side: int | None, as_rgb: bool) -> str:
    """The lines of code that resize an image to the network's input size."""
    if image_size:
        height, width = (max(1, round(length * scale)) for length in image_size)
        return _resize(f"({width}, {height})", as_rgb)
    factor = f"{scale!r} * min(1, {longer_side} / max(picture.size))" if longer_side else f"{scale!r}"
    return (f"factor = {factor}\nsize = [max(1, round(length * factor)) for length in picture.size]\n") + _resize(
        "size", as_rgb
    )


def _resize(size: str, as_rgb: bool) -> str:
    if as_rgb:
        return f"small = picture.resize({size}, Image.Resampling.BILINEAR)"
    return f"bands = [band.resize({size}, Image.Resampling.BILINEAR) for band in bands]\nsmall = bands[0]"
