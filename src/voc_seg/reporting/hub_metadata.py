"""The metadata at the start of a model card, which the Hugging Face Hub reads from a model's README.md."""

import math
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

    The licence is ``unknown``, as it depends on the data and the initial weights. There is no ``datasets``, which
    would need the names of repositories on the hub.

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
    known = {key: metrics[key] for key in _METRICS if _is_number(metrics.get(key))}
    if known and is_score_of(metrics, saved):
        content["metrics"] = [_METRICS[key][0] for key in known]
        content["model-index"] = [_scored(saved, metrics, known)]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n\n"


def _is_number(value: float | None) -> bool:
    """Whether a score exists: without labelled pixels it is null in ``metrics.json``."""
    return value is not None and not math.isnan(value)


def _scored(saved: Mapping[str, Any], metrics: Mapping[str, Any], known: Mapping[str, float]) -> dict[str, Any]:
    data = _plain(metrics.get("data_name") or metrics["source"])
    return {
        "name": _plain(model_name(saved)),
        "results": [
            {
                "task": {"type": "image-segmentation"},
                "dataset": {"type": data, "name": data, "split": metrics["split"]},
                "metrics": [
                    {"type": _METRICS[key][0], "name": _METRICS[key][1], "value": round(value, 4)}
                    for key, value in known.items()
                ],
            }
        ],
    }


def _plain(name: str) -> str:
    """A name on one line and without HTML tags, as viewers that do not know the metadata show it as Markdown."""
    return printable(name).translate({ord("<"): "(", ord(">"): ")"})
