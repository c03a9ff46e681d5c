"""Whether an exported model predicts the same masks as the model itself."""

from typing import Any

import numpy as np
from PIL import Image

from voc_seg.config import RuntimeConfig
from voc_seg.models.onnx_masks import IMAGE, MASK
from voc_seg.system.errors import VocSegError

from .inference import recorded_segmenter
from .runtime import choose_runtime

CHECKED = ((64, 96), (375, 500), (451, 302))
"""Height and width of the images."""
_LARGEST_SHARE = 0.001
"""Of the pixels: two classes may have nearly equal scores at many of them where a network has learnt little."""


def share_of_other_pixels(content: bytes, saved: dict[str, Any]) -> float:
    """The share of pixels to which an ONNX file of `voc_seg.models.onnx_masks` gives another class than torch.

    Args:
        content: The file.
        saved: The content of ``best_model.pth``.

    Raises:
        VocSegError: It is so large that the file is wrong.
    """
    import onnxruntime  # optional

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    segmenter = recorded_segmenter(saved, choose_runtime(RuntimeConfig(device="cpu", precision="fp32")))
    channels, random = session.get_inputs()[0].shape[2], np.random.default_rng(0)
    other = pixels = 0
    for height, width in CHECKED:
        # Coarse noise has regions, as photographs do.
        coarse = random.integers(0, 256, (channels, 12, 16), dtype=np.uint8)
        bands = [Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC) for band in coarse]
        image = np.stack([np.asarray(band) for band in bands], axis=-1)
        (mask,) = session.run([MASK], {IMAGE: image})
        other, pixels = other + int((mask != segmenter(image)).sum()), pixels + mask.size
    if other > _LARGEST_SHARE * pixels:
        raise VocSegError(
            f"model_masks.onnx gives {other / pixels:.2%} of the pixels another class than torch; at most "
            f"{_LARGEST_SHARE:.1%} is rounding. Nothing is exported. Please report this with model_config, image_size "
            "and config.evaluation of best_model.pth. To export without ONNX: pip uninstall onnxscript"
        )
    return other / pixels
