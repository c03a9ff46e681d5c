"""The exported files on the model card: size, speed and mIoU of each."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from voc_seg.models.exchange import INT8, MASKS, NETWORK, TORCH
from voc_seg.system.names import counted

from .tables import score

_SAME_MASKS = {NETWORK: MASKS}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def file_sections(files: Mapping[str, int], onnx_facts: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    """The table of files, and how they were checked and measured.

    Args:
        files: Size in bytes of each exported file.
        onnx_facts: How ``model.onnx`` and ``model_masks.onnx`` were checked; empty if there are none.
        measured: See :func:`voc_seg.engine.export_formats.compare_files`; empty if nothing was measured.
    """
    about = {
        TORCH: "weights in float32; settings and class names in its metadata",
        NETWORK: f"the network for ONNX Runtime and others, opset {onnx_facts.get('opset')}; the same metadata",
        MASKS: "the same with resizing and normalisation inside: an image of any size in, its mask out",
        INT8: "`model_masks.onnx` with 8-bit convolutions",
    }
    header, rows = ["file", "content", "size"], [[f"`{name}`", about[name], decimal(files[name])] for name in files]
    if measured:
        header += ["ms per image", "mIoU"]
        for name, row in zip(files, rows):
            row += [f"{measured['milliseconds'][name]:.1f}", score(measured["miou"].get(_SAME_MASKS.get(name, name)))]
    return [markdown_table(header, rows), *_measured(files, measured), *_checked(onnx_facts)]


def _measured(files: Mapping[str, int], measured: Mapping[str, Any]) -> list[str]:
    if not measured:
        return []
    height, width = measured["size"]
    text = [
        f"Time is for an image of {height} x {width} pixels (height x width) on {measured['processor']} with "
        f"{counted(measured['threads'], 'thread')}, median of {measured['rounds']}. `model.safetensors` runs in "
        f"PyTorch ({measured['precision']}), the other files in ONNX Runtime; the time of `model.onnx` is that of the "
        f"network alone. mIoU is that of {counted(measured['images'], 'image')} of val."
    ]
    if INT8 in measured["miou"]:
        text.append(
            f"With INT8, mIoU {change_by_int8(measured)}{'' if INT8 in files else ', so that file was not kept'}. Its "
            f"ranges were calibrated on {counted(measured['calibrated'], 'image')} of train. Val decided whether to "
            "keep the file; test was not used."
        )
    return [" ".join(text)]


def change_by_int8(measured: Mapping[str, Any]) -> str:
    """How mIoU changes with INT8, as in "falls by 0.12 points (95 % interval of the change: -0.31 to 0.07)"."""
    points = 100 * (measured["miou"][INT8] - measured["miou"][MASKS])
    if math.isnan(points):
        return "is unknown, as no pixel of these images has a label"
    if abs(points) < 0.005:
        return "stays the same"
    low, high = measured["change"]
    ends = "" if math.isnan(low) else f" (95 % interval of the change: {100 * low:.2f} to {100 * high:.2f})"
    return f"{'falls' if points < 0 else 'rises'} by {abs(points):.2f} points{ends}"


def _checked(onnx_facts: Mapping[str, Any]) -> list[str]:
    if not onnx_facts:
        return []
    return [
        "`model.onnx` was compared with PyTorch in ONNX Runtime {onnxruntime} at {sizes} (batch x height x width): "
        "logits differ by at most {difference:.1g}. At {mask_sizes} (height x width), {percent:.2g} % of the pixels in "
        "masks of `model_masks.onnx` differ from PyTorch in fp32.".format(
            **onnx_facts, percent=100 * onnx_facts["other_pixels"]
        )
    ]
