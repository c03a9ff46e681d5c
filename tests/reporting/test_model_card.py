"""The model card describes its own model and no other."""

import re
from typing import Any

import pytest

from voc_seg.config import EvaluationConfig, InferenceConfig, Parameters
from voc_seg.reporting.model_card import model_card
from voc_seg.voc.classes import VOC_CLASSES, name_classes

ONNX = {"opset": 18, "onnxruntime": "1.32.0", "sizes": "1 x 33 x 95", "difference": 1.23e-6,
        "other_pixels": 1e-5, "mask_sizes": "64 x 96"}  # fmt: skip
METRICS = {
    "split": "test", "source": "voc2007", "images": 210, "scale": 0.75, "flip": False, "checkpoint_epoch": 18,
    "checkpoint_val_miou": 0.62345, "miou": 0.54321, "pixel_accuracy": 0.9, "mean_class_accuracy": 0.7,
    "frequency_weighted_iou": 0.8, "classes_present": 20, "all_background_miou": 0.034,
}  # fmt: skip


def saved(source: str = "sample", weights: str | None = None, **blocks: Any) -> dict[str, Any]:
    parameters = Parameters(evaluation=EvaluationConfig(scale=0.3)).model_dump(mode="json")
    config = {key: parameters[key] for key in ("seed", "augmentation", "training", "evaluation")} | blocks
    return {
        "model_config": parameters["model"] | {"weights": weights},
        "config": config | {"data": {"source": source, "images": 1464, "val_images": 1449}},
        "image_size": config["augmentation"]["image_size"],
        "epoch": 18,
        "val_miou": 0.62345,
    }


def card(model: dict[str, Any] | None = None, **changes: Any) -> str:
    arguments = {"classes": VOC_CLASSES, "normalisation": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                 "parameters": 12_345_678, "files": {"model.safetensors": 45_000_000, "model.onnx": 46_000_000},
                 "onnx_facts": ONNX, "metrics": METRICS}  # fmt: skip
    return model_card(model or saved(), **arguments | changes)


def without_metadata(text: str) -> str:
    return text.split("---\n\n", 1)[1]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_it_says_what_the_model_is() -> None:
    text = card()
    assert without_metadata(text).startswith("# ResNet-18, 21 classes, trained on sample\n")
    assert "12.3 million parameters" in text
    assert "| `model.safetensors` | weights in float32; settings and class names in its metadata | 45.0 MB |" in text
    assert "| `model.onnx` | the network for ONNX Runtime and others, opset 18; the same metadata | 46.0 MB |" in text
    assert "in ONNX Runtime 1.32.0 at 1 x 33 x 95 (batch x height x width): logits differ by at most 1e-06." in text
    assert "mean (0.485, 0.456, 0.406), over standard deviation (0.229, 0.224, 0.225)" in text
    data = "1,464 training images; 1,449 validation images, used to choose the epoch. It was trained from scratch."
    assert data in text
    assert "| `training.optimizer.learning_rate` | `0.006` |" in text
    assert "| `seed` | `0` |" in text
    assert "keep_last" not in text


@pytest.mark.parametrize(
    ("int8", "kept", "sentence"),
    [
        (0.618, True, "With INT8, mIoU falls by 0.20 points. Its ranges"),
        (0.621, True, "With INT8, mIoU rises by 0.10 points. Its ranges"),
        (0.62, True, "With INT8, mIoU stays the same. Its ranges"),
        (
            float("nan"),
            False,
            "With INT8, mIoU is unknown, as no pixel of these images has a label, so that file was not",
        ),
        (0.61, False, "With INT8, mIoU falls by 1.00 points, so that file was not kept. Its ranges"),
    ],
)
def test_files_have_their_speed_and_score(int8: float, kept: bool, sentence: str) -> None:
    sentence = sentence.replace("points", "points (95 % interval of the change: -0.31 to 0.07)")
    names = ["model.safetensors", "model.onnx", "model_masks.onnx", *["model_masks_int8.onnx"] * kept]
    measured = {
        "miou": {"model.safetensors": 0.63, "model_masks.onnx": 0.62, "model_masks_int8.onnx": int8},
        "change": (-0.0031, 0.0007),
        "milliseconds": dict.fromkeys([*names, "model_masks_int8.onnx"], 12.345),
        "images": 32, "size": (375, 500), "rounds": 7, "processor": "A", "threads": 1, "precision": "bf16",
        "calibrated": 16,
    }  # fmt: skip
    text = card(files=dict.fromkeys(names, 15_000_000), measured=measured)
    assert "| 15.0 MB | 12.3 | 0.630 |" in text
    assert text.count("| 12.3 | 0.620 |") == 2 + (int8 == 0.62)
    assert "an image of 375 x 500 pixels (height x width) on A with 1 thread, median of 7" in text
    assert sentence in text
    assert ("`model_masks_int8.onnx` |" in text) == kept


def test_own_data_has_the_name_of_its_folder() -> None:
    model = saved("own")
    model["config"]["data"]["name"] = "my_data"
    text = card(model, metrics=METRICS | {"source": "own", "data_name": "my_data"})
    assert without_metadata(text).startswith("# ResNet-18, 21 classes, trained on my\\_data\n")
    assert "| test of my\\_data | 210 |" in text
    assert "does not know their terms of use" in text


def test_a_score_that_is_only_the_baseline_is_called_so() -> None:
    assert "no better" not in card()
    assert "no better than predicting background everywhere" in card(metrics={**METRICS, "miou": 0.034})


def test_scores_are_those_of_this_model() -> None:
    text = card()
    assert "Best validation mIoU: **0.623**, epoch 18 of 50, images scaled by 0.3." in text
    assert "Evaluation, images scaled by 0.75, mean over 20 of 21 classes:" in text
    assert "| test of voc2007 | 210 | 0.543 | 0.900 | 0.700 | 0.800 |" in text
    assert "background everywhere scores mIoU 0.034." in text


@pytest.mark.parametrize(
    "metrics",
    [{}, METRICS | {"model_digest": "1111"},
     METRICS | {"checkpoint_epoch": 17}, METRICS | {"checkpoint_val_miou": 0.62346},
     {key: value for key, value in METRICS.items() if key != "checkpoint_val_miou"}],
)  # fmt: skip
def test_scores_of_another_model_are_not_shown(metrics: dict[str, Any]) -> None:
    text = card(saved() | {"model_digest": "0000"}, metrics=metrics)
    assert "**0.623**" in text
    assert "0.543" not in text
    assert "`kedro run --pipelines evaluation,export` adds the scores" in text


def test_the_size_at_which_scores_were_counted_is_said() -> None:
    assert "the whole split at each image's own size, without void" in card()
    text = card(metrics=METRICS | {"longer_side": 512})
    assert "the whole split with images reduced to a longer side of 512 pixels, without void" in text
    assert "own size, without" not in text


def test_another_stored_size_than_that_of_the_training_is_said() -> None:
    assert "not comparable" not in card()
    text = card(metrics=METRICS | {"trained_longer_side": None})
    assert "stored with another `data.longer_side` than the training images" in text


def test_mirrored_averaging_is_said() -> None:
    text = card(saved(evaluation={"scale": 0.65, "flip": True}))
    assert "images scaled by 0.65, averaged with the mirrored image." in text
    assert "validated at **0.65** times the image's own size; use the same" in text
    assert "Scores use logits averaged over the image and its mirror image" in text
    assert "mirror image" not in card()


def test_several_scales_are_said() -> None:
    text = card(metrics=METRICS | {"scales": [0.5, 0.75]})
    assert "Evaluation, probabilities averaged over images scaled by 0.5, 0.75, mean over" in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("sample", "Scenes drawn by voc_seg in VOC's layout, under its MIT licence"),
        ("voc2012", "come from Flickr and have their own terms of use"),
        ("voc2007", "come from Flickr and have their own terms of use"),
        ("voc2012_aug", "Semantic Boundaries Dataset"),
        ("own", "does not know their terms of use"),
    ],
)
def test_the_data_and_its_licence(source: str, words: str) -> None:
    assert words in card(saved(source))
    assert ("MIT" in card(saved(source))) == (source == "sample")


def test_where_the_encoder_comes_from() -> None:
    assert "started from torchvision's ImageNet weights" in card(saved(weights="imagenet"))
    assert "started from the weights my.pth, which have their own terms" in card(saved(weights="my.pth"))
    model = saved(weights="pretrained")
    of_timm = card(model | {"model_config": model["model_config"] | {"encoder": "timm:convnext_tiny"}})
    assert without_metadata(of_timm).startswith("# convnext\\_tiny, ")
    assert "timm's pretrained weights of convnext\\_tiny, which have their own licence: https://hugg" in of_timm


def test_own_classes_with_their_colours() -> None:
    text = card(classes=name_classes(["background", "a|b"], [(0, 0, 0), (1, 20, 255)]))
    assert without_metadata(text).startswith("# ResNet-18, 2 classes, trained on sample\n")
    assert "| 1 | a\\|b | `#0114ff` | 1, 20, 255 |" in text
    assert "float32 `(batch, 2, height, width)`" in text


def test_without_onnx_nothing_is_said_of_it() -> None:
    text = card(onnx_facts={}, files={"model.safetensors": 45_000_000})
    assert "onnx" not in text.lower()
    assert len(blocks(text)) == 1


def test_the_code_compiles() -> None:
    for text in (card(), card(onnx_facts={})):
        for code in blocks(text):
            compile(code, "card", "exec")


def test_large_images_are_treated_as_inference_is_set_to() -> None:
    text = card(inference=InferenceConfig(longer_side=700, tile=256))
    assert "images with a longer side above 700 pixels are first reduced to 700" in text
    assert "longer than 256 pixels, which voc_seg processes in tiles and ONNX Runtime at once" in text
    assert "first reduced" not in card(inference=InferenceConfig(longer_side=None))


def test_what_comes_from_other_files_is_shown_letter_by_letter() -> None:
    model = saved("own", weights="<img src=x>|`a`\n# b.pth")
    model["config"]["data"]["source"] = "<script>[x](y)\nz"
    text = card(model, metrics=METRICS | {"source": "a|b<i>"})
    assert without_metadata(text).startswith(
        r"# ResNet-18, 21 classes, trained on &lt;script&gt;\[x\]\(y\)\\nz" + "\n\n"
    )
    assert r"the weights &lt;img src=x&gt;\|\`a\`\\n\# b.pth, which" in text
    assert r"| test of a\|b&lt;i&gt; | 210 |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| `model.weights`")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert "<img" not in text and "<script" not in text
