"""The model card: what the model is, what it was trained on, how well it scores and how to use it."""

import html
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from voc_seg.config import InferenceConfig, flattened
from voc_seg.config.network import TIMM
from voc_seg.metrics.confusion import is_baseline
from voc_seg.metrics.intervals import SCORES
from voc_seg.models.saved import trained_on
from voc_seg.system.names import printable
from voc_seg.voc.classes import Classes

from .card_code import usage
from .card_files import file_sections, markdown_table
from .hub_metadata import front_matter
from .model_origin import best_validation, encoder_name, images_used, what_it_is
from .same_evaluation import is_score_of
from .tables import OTHER_STORED_SIZE, interval, over, score

_VOC_TERMS = (
    "The images of PASCAL VOC come from Flickr and have their own terms of use. Neither images nor masks are part of "
    "voc_seg. Check what those terms mean for weights trained on the images before you distribute them."
)
_DATA = {
    "sample": "Scenes drawn by voc_seg in VOC's layout, under its MIT licence. (If `voc_root` pointed to another "
    "folder, the terms of that data apply.) A network trained only on drawings is of no use on photographs.",
    "voc2007": f"PASCAL VOC 2007, http://host.robots.ox.ac.uk/pascal/VOC/voc2007/. {_VOC_TERMS}",
    "voc2012": f"PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. {_VOC_TERMS}",
    "voc2012_aug": "PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, with the masks of the Semantic "
    f"Boundaries Dataset (Hariharan et al., ICCV 2011). {_VOC_TERMS}",
    "own": "The user's own images and masks. voc_seg does not know their terms of use: add them here.",
}

_DEFAULT_INFERENCE = InferenceConfig()


def model_card(
    saved: Mapping[str, Any],
    classes: Classes,
    normalisation: tuple[Sequence[float], Sequence[float]],
    parameters: int,
    files: Mapping[str, int],
    onnx_facts: Mapping[str, Any],
    metrics: Mapping[str, Any],
    inference: InferenceConfig = _DEFAULT_INFERENCE,
    measured: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """The card as Markdown, which begins with metadata for the Hugging Face Hub.

    Args:
        saved: The content of ``best_model.pth``.
        classes: Names and colours by mask value.
        normalisation: Mean and standard deviation of each channel in 0..1.
        parameters: Number of trainable parameters.
        files: Size in bytes of each exported file.
        onnx_facts: opset, onnxruntime, sizes, difference; empty if there is no ``model.onnx``.
        metrics: ``metrics.json`` and ``evaluation_facts.json``; shown only if they belong to this model.
        inference: Settings for large images.
        measured: Speed and mIoU of the files, if they were measured; see :func:`file_sections`.
    """
    model, data = saved["model_config"], saved["config"]["data"]
    sections = [
        f"# {_plain(encoder_name(model))}, {len(classes)} classes, trained on {_plain(trained_on(saved))}",
        f"{what_it_is(saved, parameters)} It assigns one of {len(classes)} classes to each pixel of an image.",
        *file_sections(files, onnx_facts, measured),
        *_digest(saved),
        "## Scores",
        *_scores(saved, metrics, classes),
        "## Input and output",
        *_contract(saved, classes, normalisation, inference, bool(onnx_facts)),
        "## Use",
        *usage(saved, onnx_facts, inference),
        "## Data",
        _DATA.get(data["source"], _DATA["own"]),
        f"{images_used(saved)} {_start(model)}",
        "## Recipe",
        markdown_table(["setting", "value"], _recipe(saved)),
        "## Classes",
        markdown_table(
            ["mask value", "class", "colour", "red, green, blue"],
            (
                (value, _plain(name), "`#{:02x}{:02x}{:02x}`".format(*colour), ", ".join(map(str, colour)))
                for value, (name, colour) in enumerate(zip(classes.names, classes.colours))
            ),
        ),
        "Masks of the data may also contain 255 (void, unlabelled pixels); the network never predicts it.",
    ]
    return front_matter(saved, metrics) + "\n\n".join(sections) + "\n"


def _digest(saved: Mapping[str, Any]) -> list[str]:
    if "model_digest" not in saved:
        return []
    digest = _code(saved["model_digest"])
    return [f"All files contain the digest of the model, {digest}, as `model_digest`."]


def _scores(saved: Mapping[str, Any], metrics: Mapping[str, Any], classes: Classes) -> list[str]:
    training = saved["config"]["training"]
    minutes = training.get("minutes")
    planned = training["epochs"] if minutes is None else f"a training of {minutes:g} minutes"
    best = best_validation(saved, planned, _conditions(saved["config"]["evaluation"]))
    if not is_score_of(metrics, saved):
        return [best, "It has not been evaluated further: `kedro run --pipelines evaluation,export` adds the scores."]
    scored_on = metrics.get("data_name") or metrics["source"]
    table = markdown_table(
        ["split", "images", "mIoU", "pixel accuracy", "mean class accuracy", "frequency-weighted IoU"],
        [
            (
                _plain(f"{metrics['split']} of {scored_on}"), metrics["images"],
                *(_with_interval(metrics, name) for name in SCORES),
            )
        ],
    )  # fmt: skip
    stored = metrics.get("longer_side")
    size = f"with images reduced to a longer side of {stored} pixels" if stored else "at each image's own size"
    warnings = []
    if is_baseline(metrics["miou"], metrics["all_background_miou"]):
        warnings.append(
            f"The mIoU is no better than predicting {_plain(classes.names[0])} everywhere: the model has learnt "
            "nothing useful."
        )
    if reason := metrics.get("intervals_unreliable"):
        warnings.append(f"The intervals are unreliable: {reason}.")
    if OTHER_STORED_SIZE in metrics:
        warnings.append(
            "The scored images were stored with another `data.longer_side` than the training images, so these scores "
            "are not comparable with those of the training."
        )
    of_parts = over(metrics) or " over images"
    return [
        best,
        f"Evaluation, {_conditions(metrics)}, mean over {metrics['classes_present']} of {len(classes)} classes"
        f"{f', with 95 % intervals{of_parts}' if interval(metrics, 'miou') else ''}:",
        table,
        *(f"**{warning}**" for warning in warnings),
        f"Baseline: predicting {_plain(classes.names[0])} everywhere scores mIoU "
        f"{score(metrics['all_background_miou'])}. Pixels are counted over the whole split {size}, without void.",
    ]


def _with_interval(metrics: Mapping[str, Any], name: str) -> str:
    ends = interval(metrics, name)
    return score(metrics[name]) + (f" ({ends})" if ends else "")


def _conditions(evaluation: Mapping[str, Any]) -> str:
    mirrored = ", averaged with the mirrored image" if evaluation["flip"] else ""
    if scales := evaluation.get("scales"):
        return f"probabilities averaged over images scaled by {', '.join(f'{scale:g}' for scale in scales)}{mirrored}"
    return f"images scaled by {evaluation['scale']:g}{mirrored}"


def _contract(
    saved: Mapping[str, Any],
    classes: Classes,
    normalisation: tuple[Sequence[float], Sequence[float]],
    inference: InferenceConfig,
    has_onnx: bool,
) -> list[str]:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in normalisation)
    image_size, evaluation = saved["image_size"], saved["config"]["evaluation"]
    base = f"{image_size[0]} x {image_size[1]} pixels (height x width)" if image_size else "the image's own size"
    reduced = not image_size and inference.longer_side
    large = f"; images with a longer side above {reduced} pixels are first reduced to {reduced}" if reduced else ""
    channels = len(normalisation[0])
    kind = "red, green, blue" if channels == 3 else f"{channels} bands as stored in the files"
    low_high = saved["config"]["data"].get("range")
    wide = f"; values of more than 8 bits first from {low_high[0]:g}..{low_high[1]:g} to 0..255" if low_high else ""
    rows = [
        *([("file", "`model.onnx`; `model_masks.onnx` takes the image as `uint8` and returns the mask")] * has_onnx),
        ("input", f"`images`, float32 `(batch, {channels}, height, width)`, {kind}; any batch, any height and width"),
        ("normalisation", f"value / 255, minus mean ({mean}), over standard deviation ({std}){wide}"),
        ("size", f"validated at **{evaluation['scale']:g}** times {base}; use the same{large}"),
        ("output", f"`logits`, float32 `(batch, {len(classes)}, height, width)`; the argmax is the class"),
        *_confidence(saved),
    ]
    mirrored = "Scores use logits averaged over the image and its mirror image, which takes twice as long."
    return [markdown_table(["", "specification"], rows)] + ([mirrored] if evaluation["flip"] else [])


def _confidence(saved: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "temperature" not in saved:
        return []
    return [("probabilities", f"softmax of the logits divided by the temperature, **{saved['temperature']:g}**")]


def _start(model: Mapping[str, Any]) -> str:
    if model["weights"] is None:
        return "It was trained from scratch."
    if model["weights"] in ("imagenet", "pretrained") and model["encoder"].startswith(TIMM):
        name = model["encoder"].removeprefix(TIMM)
        return (
            f"Its encoder started from timm's pretrained weights of {_plain(name)}, which have their own licence: "
            f"https://huggingface.co/models?search=timm/{name}"
        )
    if model["weights"] in ("imagenet", "pretrained"):
        return (
            "Its encoder started from torchvision's ImageNet weights (IMAGENET1K_V1); ImageNet's images are for "
            "non-commercial research."
        )
    return f"It started from the weights {_plain(model['weights'])}, which have their own terms."


def _recipe(saved: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every setting that affects the network, under its name in ``parameters.yml``."""
    blocks = {key: value for key, value in saved["config"].items() if key != "data"}
    # Kept checkpoints and resuming do not affect the network.
    return [
        (_code(key), _code(json.dumps(value, ensure_ascii=False)))
        for key, value in flattened({"model": saved["model_config"], **blocks})
        if ".checkpoint." not in key and not key.endswith(".resume")
    ]


def _plain(name: Any) -> str:
    """A name escaped for Markdown and HTML, safe in a table cell."""
    letters = printable(str(name))
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+!|~$:@" else letter for letter in letters)
    return html.escape(escaped, quote=False)


def _code(text: Any) -> str:
    """A text as code; as plain text where it contains a backtick or a pipe."""
    letters = printable(str(text))
    return _plain(letters) if set("`|") & set(letters) else f"`{letters}`"
