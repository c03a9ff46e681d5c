"""The metadata with which a model card begins, as the Hugging Face Hub reads it from the README.md of a model."""

from collections.abc import Mapping
from typing import Any

import yaml

from voc_seg.system.names import printable

from .model_origin import encoder_name, model_name
from .same_evaluation import is_score_of

_METRICS = {"miou": ("mean_iou", "mIoU"), "pixel_accuracy": ("accuracy", "pixel accuracy")}
"""By the key in ``metrics.json``: type on the hub, a name of the library ``evaluate``, and the name shown."""


def front_matter(saved: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The metadata as YAML between two lines of dashes.

    The licence is ``unknown``: it depends on the data and the initial weights. No ``datasets`` are named, as these are
    names of repositories on the hub.

    Args:
        saved: The content of ``best_model.pth``.
        metrics: ``metrics.json`` and ``evaluation_facts.json``; used only if they belong to this model.

    Source: https://huggingface.co/docs/hub/model-cards and ``modelcard.md`` in https://github.com/huggingface/hub-docs.
    """
    content: dict[str, Any] = {
        "license": "unknown",
        "library_name": "voc_seg",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", encoder_name(saved["model_config"]).lower()],
    }
    if is_score_of(metrics, saved):
        content["metrics"] = [kind for kind, _ in _METRICS.values()]
        content["model-index"] = [_scored(saved, metrics)]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n\n"


def _scored(saved: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    data = _plain(metrics.get("data_name") or metrics["source"])
    return {
        "name": _plain(model_name(saved)),
        "results": [
            {
                "task": {"type": "image-segmentation"},
                "dataset": {"type": data, "name": data, "split": metrics["split"]},
                "metrics": [
                    {"type": kind, "name": name, "value": round(metrics[key], 4)}
                    for key, (kind, name) in _METRICS.items()
                ],
            }
        ],
    }


def _plain(name: str) -> str:
    """A name on one line and without tags of HTML, as viewers that do not know such metadata show them as Markdown."""
    return printable(name).translate({ord("<"): "(", ord(">"): ")"})
