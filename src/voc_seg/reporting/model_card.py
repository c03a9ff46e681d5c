"""The card of a model that is passed on: what it is, what it was trained on, how well it does, how to use it."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from rich.filesize import decimal

from voc_seg.config import InferenceConfig, flattened
from voc_seg.metrics import is_baseline
from voc_seg.reporting.belonging import is_of
from voc_seg.reporting.tables import OTHER_STORED_SIZE, score
from voc_seg.voc.classes import Classes
from voc_seg.voc.names import printable

_VOC_TERMS = (
    "The pictures of PASCAL VOC come from Flickr and are used under their own terms; they are not part of voc_seg, "
    "nor are the masks. What those terms mean for weights trained on them is for you to judge before you pass them on."
)
_DATA = {
    "sample": "Scenes that voc_seg draws itself in VOC's layout, under its MIT licence (if `voc_root` put another "
    "folder in their place, that folder's terms hold). A network that has seen drawings alone is of no use on "
    "photographs.",
    "voc2007": f"PASCAL VOC 2007, http://host.robots.ox.ac.uk/pascal/VOC/voc2007/. {_VOC_TERMS}",
    "voc2012": f"PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. {_VOC_TERMS}",
    "voc2012_aug": "PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, with the masks of the Semantic "
    f"Boundaries Dataset (Hariharan et al., ICCV 2011). {_VOC_TERMS}",
    "own": "Pictures and masks of whoever trained it; their terms are not known to voc_seg. Write them down here.",
}

_DEFAULT_INFERENCE = InferenceConfig()

_WITH_TORCH = Template("""\
from pathlib import Path

import numpy as np

from voc_seg.config import InferenceConfig, RuntimeConfig
from voc_seg.engine.inference import load_segmenter
from voc_seg.engine.runtime import choose_runtime
from voc_seg.models.exchange import read_safetensors
from voc_seg.voc.pictures import decode_picture

saved = read_safetensors("model.safetensors")
settings = InferenceConfig(longer_side=${longer_side}, tile=${tile})
segmenter = load_segmenter(saved, settings, choose_runtime(RuntimeConfig(device="cpu")))
mask = segmenter(decode_picture(Path("picture.jpg")))  # uint8 (height, width) of the picture
print([saved["class_names"][value] for value in np.unique(mask)])
""")

_WITH_ONNX = Template("""\
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")
about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
${resized}
pixels = (np.asarray(small, np.float32) / 255 - about["mean"]) / about["std"]  # (height, width, 3)
images = pixels.transpose(2, 0, 1)[None].astype(np.float32)
(logits,) = session.run(["logits"], {"images": images})
${mirrored}best = np.full(picture.size[::-1], -np.inf, np.float32)
mask = np.zeros(picture.size[::-1], np.uint8)  # (height, width) of the picture
for value, scores in enumerate(logits[0]):  # at the picture's size, one class at a time
    extent = (0, 0, *small.size)
    enlarged = Image.fromarray(scores).transform(
        picture.size, Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR
    )
    mask[np.asarray(enlarged) > best] = value
    best = np.maximum(best, enlarged)
print([about["class_names"][value] for value in np.unique(mask)])
""")
_MIRRORED = """\
(mirrored,) = session.run(["logits"], {"images": np.ascontiguousarray(images[..., ::-1])})
logits = (logits + mirrored[..., ::-1]) / 2
"""


def model_card(
    saved: Mapping[str, Any],
    classes: Classes,
    normalisation: tuple[Sequence[float], Sequence[float]],
    parameters: int,
    files: Mapping[str, int],
    onnx_facts: Mapping[str, Any],
    metrics: Mapping[str, Any],
    inference: InferenceConfig = _DEFAULT_INFERENCE,
) -> str:
    """The card as Markdown.

    Args:
        saved: The content of ``best_model.pth``.
        classes: Names and colours by mask value.
        normalisation: Mean and deviation of red, green and blue in 0..1.
        parameters: Trainable values of the network.
        files: Size in bytes of each file beside the card.
        onnx_facts: opset, onnxruntime, sizes, difference; empty when there is no ``model.onnx``.
        metrics: ``metrics.json`` and ``evaluation_facts.json``; they are shown if they are of this very model.
        inference: How ``inference`` treats large pictures: the code of the card does the same.

    Returns:
        Text with a newline at the end.
    """
    model, data = saved["model_config"], saved["config"]["data"]
    sections = [
        f"# {_encoder(model)}, {len(classes)} classes, trained on {_plain(data.get('name') or data['source'])}",
        f"A SegmentationNet of voc_seg, {parameters / 1e6:.1f} million parameters: it gives each pixel of a "
        f"picture one of {len(classes)} classes.",
        _table(["file", "what it is", "size"], _files(files, onnx_facts)),
        *_checked(onnx_facts),
        *_digest(saved),
        "## Scores",
        *_scores(saved, metrics, len(classes)),
        "## Input and output",
        *_contract(saved, classes, normalisation, inference),
        "## Use",
        *_use(saved, onnx_facts, inference),
        "## Data",
        _DATA.get(data["source"], _DATA["own"]),
        f"{data['images']:,} images to learn from, {data['val_images']:,} to choose the epoch by. {_start(model)}",
        "## Recipe",
        _table(["setting", "value"], _recipe(saved)),
        "## Classes",
        _table(
            ["mask value", "class", "colour", "red, green, blue"],
            (
                (value, _plain(name), "`#{:02x}{:02x}{:02x}`".format(*colour), ", ".join(map(str, colour)))
                for value, (name, colour) in enumerate(zip(classes.names, classes.colours))
            ),
        ),
        "Masks of the data may also hold 255 for void, pixels that nobody labelled; the network never gives it.",
    ]
    return "\n\n".join(sections) + "\n"


def _encoder(model: Mapping[str, Any]) -> str:
    return f"ResNet-{model['encoder'].removeprefix('resnet')}"


def _files(files: Mapping[str, int], onnx_facts: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    about = {
        "model.safetensors": "weights in float32; settings and class names in its metadata",
        "model.onnx": f"the network for ONNX Runtime and others, opset {onnx_facts.get('opset')}; the same metadata",
    }
    return [(f"`{name}`", about[name], decimal(size)) for name, size in files.items()]


def _checked(onnx_facts: Mapping[str, Any]) -> list[str]:
    if not onnx_facts:
        return []
    return [
        "`model.onnx` was held against PyTorch in ONNX Runtime {onnxruntime}, at {sizes} (batch x height x width): "
        "logits differ by {difference:.1g} at most.".format(**onnx_facts)
    ]


def _digest(saved: Mapping[str, Any]) -> list[str]:
    if "model_digest" not in saved:
        return []
    digest = _code(saved["model_digest"])
    return [f"These files are of the model {digest}, which they have as `model_digest` in themselves."]


def _scores(saved: Mapping[str, Any], metrics: Mapping[str, Any], classes: int) -> list[str]:
    planned = saved["config"]["training"]["epochs"]
    best = (
        f"Epoch {saved['epoch']} of {planned}, the best by val mIoU: **{score(saved['val_miou'])}**, "
        f"{_conditions(saved['config']['evaluation'])}."
    )
    if not is_of(metrics, saved):
        return [best, "It has not been evaluated further: `kedro run --pipelines evaluation,export` adds the scores."]
    scored_on = metrics.get("data_name") or metrics["source"]
    table = _table(
        ["split", "images", "mIoU", "pixel accuracy", "mean class accuracy", "frequency-weighted IoU"],
        [
            (
                _plain(f"{metrics['split']} of {scored_on}"), metrics["images"], score(metrics["miou"]),
                score(metrics["pixel_accuracy"]), score(metrics["mean_class_accuracy"]),
                score(metrics["frequency_weighted_iou"]),
            )
        ],
    )  # fmt: skip
    baseline = is_baseline(metrics["miou"], metrics["all_background_miou"])
    stored = metrics.get("longer_side")
    size = f"images reduced to a longer side of {stored} pixels" if stored else "each image's own size"
    return [
        best,
        f"Its evaluation, {_conditions(metrics)}, mean over {metrics['classes_present']} of {classes} classes:",
        table,
        *(
            ["**The mIoU is no better than that of background everywhere: the model has learnt nothing of use.**"]
            * baseline
        ),
        *(
            [
                "**The scored images were stored at another `data.longer_side` than those of the training: the scores "
                "do not compare.**"
            ]
            * (OTHER_STORED_SIZE in metrics)
        ),
        f"Calling everything background would have mIoU {score(metrics['all_background_miou'])} there. Counted over "
        f"the whole split at {size}, void left out.",
    ]


def _conditions(evaluation: Mapping[str, Any]) -> str:
    mirrored = ", averaged with the mirrored image" if evaluation["flip"] else ""
    return f"pictures at {evaluation['scale']:g} of their size{mirrored}"


def _contract(
    saved: Mapping[str, Any],
    classes: Classes,
    normalisation: tuple[Sequence[float], Sequence[float]],
    inference: InferenceConfig,
) -> list[str]:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in normalisation)
    image_size, evaluation = saved["image_size"], saved["config"]["evaluation"]
    base = f"{image_size[0]} x {image_size[1]} pixels (height x width)" if image_size else "the picture's own size"
    reduced = not image_size and inference.longer_side
    large = f"; pictures with a longer side above {reduced} pixels are first reduced to that" if reduced else ""
    rows = [
        ("input", "`images`, float32 `(batch, 3, height, width)`, red, green, blue; any batch, any height and width"),
        ("normalisation", f"value / 255, minus mean ({mean}), over standard deviation ({std})"),
        ("size", f"it was validated, and should be used, at **{evaluation['scale']:g}** times {base}{large}"),
        ("output", f"`logits`, float32 `(batch, {len(classes)}, height, width)`; the class is where they are largest"),
    ]
    mirrored = "Scores were made with logits averaged over the picture and its mirror image, which takes twice as long."
    return [_table(["", "what is asked and given"], rows)] + ([mirrored] if evaluation["flip"] else [])


def _use(saved: Mapping[str, Any], onnx_facts: Mapping[str, Any], inference: InferenceConfig) -> list[str]:
    code = _WITH_TORCH.substitute(longer_side=inference.longer_side, tile=inference.tile)
    torch = [
        "With PyTorch, where voc_seg is installed; it gives the masks that `kedro run --pipelines inference` gives on "
        "a CPU:",
        f"```python\n{code}```",
        "`model.weights` of voc_seg takes this file as well: a training then starts from its encoder.",
    ]
    if not onnx_facts:
        return torch
    evaluation = saved["config"]["evaluation"]
    onnx = _WITH_ONNX.substitute(
        resized=_resized(saved["image_size"], evaluation["scale"], inference.longer_side),
        mirrored=_MIRRORED if evaluation["flip"] else "",
    )
    return [
        *torch,
        "With ONNX Runtime alone. Masks may differ from those in a few pixels at the borders of things, and more in "
        f"pictures that are transparent or have 16 bits, and where the network's input is longer than {inference.tile} "
        "pixels, which voc_seg feeds in tiles and this code does not:",
        f"```python\n{onnx}```",
    ]


def _resized(image_size: Sequence[int] | None, scale: float, longer_side: int | None) -> str:
    """The lines of code that bring a picture to the size the network is given in inference."""
    if image_size:
        height, width = (max(1, round(length * scale)) for length in image_size)
        return f"small = picture.resize(({width}, {height}), Image.Resampling.BILINEAR)"
    factor = f"{scale!r} * min(1, {longer_side} / max(picture.size))" if longer_side else f"{scale!r}"
    return (
        f"factor = {factor}\n"
        "size = [max(1, round(length * factor)) for length in picture.size]\n"
        "small = picture.resize(size, Image.Resampling.BILINEAR)"
    )


def _start(model: Mapping[str, Any]) -> str:
    if model["weights"] is None:
        return "It was trained from scratch."
    if model["weights"] == "imagenet":
        return (
            "Its encoder started from torchvision's weights of ImageNet (IMAGENET1K_V1), whose pictures are for "
            "research that is not commercial."
        )
    return f"Its encoder started from weights called {_plain(model['weights'])}, under their own terms."


def _recipe(saved: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every setting that shaped the network, by the name it has in ``parameters.yml``."""
    blocks = {key: value for key, value in saved["config"].items() if key != "data"}
    # Which checkpoints are kept, and whether a run was resumed, shapes nothing.
    return [
        (_code(key), _code(json.dumps(value, ensure_ascii=False)))
        for key, value in flattened({"model": saved["model_config"], **blocks})
        if ".checkpoint." not in key and not key.endswith(".resume")
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _plain(name: Any) -> str:
    """A name that Markdown and HTML show letter by letter, and that does not end its cell."""
    letters = printable(str(name))
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+!|~$:@" else letter for letter in letters)
    return html.escape(escaped, quote=False)


def _code(text: Any) -> str:
    """A text as code; as plain text where it would end the code or its cell."""
    letters = printable(str(text))
    return _plain(letters) if set("`|") & set(letters) else f"`{letters}`"
