"""The code samples of the model card."""

from collections.abc import Mapping
from string import Template
from typing import Any

from voc_seg.config import InferenceConfig, ModelInput
from voc_seg.voc.pixel_format import RGB

_WITH_TORCH = Template("""\
import voc_seg

model = voc_seg.load("model.safetensors")
result = model.predict("${photo}")
mask = result.mask  # uint8 (height, width), the image's own size
print(result.shares)
""")

_WITH_ONNX = Template("""\
import json

import numpy as np
import onnxruntime
${imported}
session = onnxruntime.InferenceSession("model_masks.onnx")
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
${opened}
(mask,) = session.run(["mask"], {"image": image})  # uint8 (height, width), the image's own size
print([names[value] for value in np.unique(mask)])
""")
_OPEN_RGB = 'image = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))'
_OPEN_BANDS = 'image = np.load("photo.npy")  # uint8 (height, width, {}): bands scaled to 8 bits as in training'


def usage(saved: Mapping[str, Any], onnx_facts: Mapping[str, Any], inference: InferenceConfig) -> list[str]:
    model_input = ModelInput.of(saved)
    is_rgb = model_input.channels == 3
    code = _WITH_TORCH.substitute(photo="photo.jpg" if model_input.pixels == RGB else "photo.tif")
    torch = [
        "With PyTorch and voc_seg; the masks equal those of `kedro run --pipelines inference`:",
        f"```python\n{code}```",
        "To start a training from this model, set `model.weights` of voc_seg to this file.",
    ]
    if not onnx_facts:
        return torch
    onnx = _WITH_ONNX.substitute(
        imported="from PIL import Image, ImageOps\n" if is_rgb else "",
        opened=_OPEN_RGB if is_rgb else _OPEN_BANDS.format(model_input.channels),
    )
    return [
        *torch,
        "With ONNX Runtime, without voc_seg. Masks are those of PyTorch in fp32; in bf16, the default on processors "
        "that have it, a few pixels at object borders differ. Masks differ more for "
        f"transparent or 16-bit images, and where the network's input is longer than {inference.tile} pixels, which "
        "voc_seg processes in tiles and ONNX Runtime at once.",
        f"```python\n{onnx}```",
    ]
