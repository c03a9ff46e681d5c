"""The metadata of the model card, as the library of the Hugging Face Hub reads them."""

from pathlib import Path
from typing import Any

import pytest

from voc_seg.config import EvaluationConfig, Parameters
from voc_seg.reporting.hub_metadata import front_matter

METRICS = {
    "split": "test", "source": "own", "data_name": "Häuser: 'neu' # 2", "checkpoint_epoch": 18,
    "checkpoint_val_miou": 0.62345, "miou": 0.54321, "pixel_accuracy": 0.9,
}  # fmt: skip


def saved(encoder: str = "resnet18") -> dict[str, Any]:
    parameters = Parameters(evaluation=EvaluationConfig(scale=0.3)).model_dump(mode="json")
    return {
        "model_config": parameters["model"] | {"encoder": encoder},
        "config": {"data": {"source": "own", "name": "Häuser: 'neu' # 2"}},
        "epoch": 18,
        "val_miou": 0.62345,
    }


def test_the_hub_reads_what_the_model_is_and_its_scores(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="it comes with the extra timm")
    (tmp_path / "README.md").write_text(front_matter(saved(), METRICS) + "# A model\n", encoding="utf-8")
    card = hub.ModelCard.load(tmp_path / "README.md")  # raises for a model-index that it cannot parse
    assert card.text.strip() == "# A model"
    about = card.data
    assert (about.library_name, about.pipeline_tag, about.license) == ("voc_seg", "image-segmentation", "unknown")
    assert about.tags == ["semantic-segmentation", "resnet-18"]
    assert about.metrics == ["mean_iou", "accuracy"]
    assert about.model_name == "ResNet-18, trained on Häuser: 'neu' # 2"
    found = {result.metric_type: result.metric_value for result in about.eval_results}
    assert found == {"mean_iou": 0.5432, "accuracy": 0.9}
    assert {(one.dataset_name, one.dataset_split) for one in about.eval_results} == {("Häuser: 'neu' # 2", "test")}


def test_a_name_cannot_end_the_metadata(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="it comes with the extra timm")
    name = "a\n---\nlicense: mit"
    text = front_matter(saved() | {"config": {"data": {"name": name}}}, METRICS | {"data_name": name})
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    about = hub.metadata_load(tmp_path / "README.md")
    assert about["license"] == "unknown"
    assert about["model-index"][0]["results"][0]["dataset"]["name"] == r"a\n---\nlicense: mit"


@pytest.mark.parametrize(
    "metrics",
    [{}, METRICS | {"checkpoint_epoch": 17}, METRICS | {"miou": None, "pixel_accuracy": float("nan")}],
    ids=["no scores", "of another model", "no labelled pixel"],
)
def test_scores_that_do_not_exist_or_are_of_another_model_are_left_out(metrics: dict[str, Any], tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="it comes with the extra timm")
    (tmp_path / "README.md").write_text(front_matter(saved("timm:convnext_tiny"), metrics), encoding="utf-8")
    about = hub.metadata_load(tmp_path / "README.md")
    assert about.keys() == {"license", "library_name", "pipeline_tag", "tags"}
    assert about["tags"] == ["semantic-segmentation", "convnext_tiny"]
