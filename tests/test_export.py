"""The export pipeline: files work as the card describes, for images of any size."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click import ClickException
from PIL import ExifTags, Image

import voc_seg
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, ModelConfig, Parameters, RuntimeConfig
from voc_seg.datasets import BytesDataset
from voc_seg.engine import export_formats
from voc_seg.engine.checkpoint import export_best_model
from voc_seg.engine.export_check import share_of_other_pixels
from voc_seg.engine.resuming import run_fingerprint
from voc_seg.models import onnx_export
from voc_seg.models.exchange import model_digest, read_safetensors, take_model
from voc_seg.models.onnx_digest import KEY
from voc_seg.models.registry import build_model, restore_model
from voc_seg.pipelines.evaluation import create_pipeline as evaluation_pipeline
from voc_seg.pipelines.export import create_pipeline as export_pipeline
from voc_seg.pipelines.export import nodes
from voc_seg.pipelines.inference.nodes import segment
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store
from voc_seg.scenes.sample import draw_scene, plan_split
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, VOC_CLASSES
from voc_seg.voc.images import decode_image

Run = Callable[..., None]
needs_onnx = pytest.mark.skipif(
    bool(onnx_export.missing_packages()), reason="the extra onnx is not installed: pip install 'voc_seg[onnx]'"
)


pytestmark = pytest.mark.usefixtures("narrow_encoder")


@pytest.fixture(scope="module")
def best_model() -> dict:
    """An untrained network with the fields that training saves."""
    # The network with the most shapes that must match.
    config = ModelConfig(width=8, skips=(1, 2, 3, 4), output_stride=16)
    parameters = Parameters(model=config, evaluation=EvaluationConfig(scale=0.5))
    torch.manual_seed(0)
    model = build_model(parameters.model, len(CLASS_NAMES)).eval()
    data = {"source": "sample", "images": 64, "val_images": 32, "ids": "", "val_ids": ""}
    with torch.no_grad():  # initial weights are so small that rounding would decide the class
        model.decoder.classify.weight.mul_(50)
    return export_best_model(model, run_fingerprint(CLASS_NAMES, parameters, data), 7, 0.5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, make_project: Callable, best_model: dict) -> Path:
    folder = make_project(tmp_path_factory.mktemp("export"))
    (folder / "data/06_models").mkdir(parents=True)
    from_afar = best_model["model_config"] | {"weights": "/home/somebody/weights.pth"}
    torch.save(best_model | {"model_config": from_afar}, folder / "data/06_models/best_model.pth")
    return folder


@pytest.fixture(scope="module")
def exported(project: Path, run_kedro: Run) -> Path:
    run_kedro(project, "export")
    return project / "data/06_models/export"


def test_safetensors_hold_the_best_model(exported: Path, best_model: dict) -> None:
    found = read_safetensors(exported / "model.safetensors")
    assert found["model_config"]["weights"] == "weights.pth"
    assert (found["epoch"], found["val_miou"], found["class_names"]) == (7, 0.5, list(CLASS_NAMES))
    assert found["class_colours"] == [list(colour) for colour in VOC_CLASSES.colours]
    assert all(torch.equal(found["model"][name], value) for name, value in best_model["model"].items())


@needs_onnx
def test_onnx_holds_for_sizes_and_batches_never_seen(exported: Path, best_model: dict) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("images", ["batch", 3, "height", "width"], "tensor(float)")
    assert (made.name, made.shape) == ("logits", ["batch", 21, "height", "width"])
    model = restore_model(best_model)
    for batch, height, width in ((1, 31, 32), (4, 65, 2), (2, 149, 203)):
        images = torch.randn(batch, 3, height, width)
        with torch.inference_mode():
            expected = model(images)
        (logits,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-4)


@needs_onnx
def test_onnx_says_what_it_is(exported: Path) -> None:
    import onnx

    model = onnx.load(exported / "model.onnx")
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["class_names"] == list(CLASS_NAMES)
    assert about["mean"] == [0.485, 0.456, 0.406]
    assert about["std"] == [0.229, 0.224, 0.225]
    assert about["config"]["evaluation"] == {"scale": 0.5, "flip": False}
    assert [opset.version for opset in model.opset_import if not opset.domain] == [18]


@needs_onnx
@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((40, 60), {}),
        ((1998, 3000), {}),
        ((700, 450), {"flip": True, "scale": 0.7}),
        ((1200, 900), {"image_size": [60, 80]}),
        ((20, 30), {"image_size": [60, 80], "scale": 1.0}),
    ],
)
def test_the_code_of_the_card_gives_the_masks_of_inference(
    size: tuple[int, int], changes: dict, exported: Path, best_model: dict, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    way = {"scale": changes.get("scale", 0.5), "flip": changes.get("flip", False)}
    saved = best_model | {"config": best_model["config"] | {"evaluation": way}}
    saved["image_size"] = changes.get("image_size")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    scene = Image.fromarray(draw_scene(plan_split("train", 1, 0)[0])[0])
    scene.resize(size).save(tmp_path / "photo.jpg", exif=exif)  # stored lying
    data = DataConfig()
    network = SimpleNamespace(content=(exported / "model.onnx").read_bytes(), runtime="1", difference=0.0)
    monkeypatch.setattr(nodes, "to_onnx", lambda *_: network)  # the same whatever the settings
    _, onnx, _, weights, _, card = nodes.export_model(saved, {}, {}, data, EvaluationConfig(), InferenceConfig())
    (tmp_path / "model_masks.onnx").write_bytes(onnx)
    (tmp_path / "model.safetensors").write_bytes(weights)
    images = {"photo": decode_image(tmp_path / "photo.jpg")}
    # On some CPUs torch computes in bf16 by default; ONNX Runtime uses fp32.
    expected, in_fp32 = (
        np.asarray(segment(images, {}, saved, data, EvaluationConfig(), InferenceConfig(), runtime)[0]["photo"].mask)
        for runtime in (RuntimeConfig(device="cpu"), RuntimeConfig(device="cpu", precision="fp32"))
    )
    assert expected.shape == size
    assert len(np.unique(expected)) > 1
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    same = []
    for code in re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL):
        names: dict = {}
        exec(code, names)
        assert names["mask"].shape == size
        same.append([(names["mask"] == mask).mean() for mask in (expected, in_fp32)])
        printed = capsys.readouterr().out
        assert {name for name in CLASS_NAMES if repr(name) in printed} == {
            CLASS_NAMES[value] for value in np.unique(names["mask"])
        }
    assert same[0][0] == 1
    assert same[1][1] > 0.999


def test_an_export_that_is_killed_leaves_no_card_of_other_files(
    project: Path, exported: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir() if path.is_file()}
    write = BytesDataset.save

    def killed(dataset: BytesDataset, data: bytes) -> None:
        if dataset._filepath.name == "model.safetensors":
            raise KeyboardInterrupt
        write(dataset, data)

    network = onnx_export.ExportedNetwork(before["model.onnx"], 0.0, "1") if "model.onnx" in before else None
    with monkeypatch.context() as patch:
        patch.setattr(nodes, "to_onnx", lambda *_: network)  # exporting once is enough
        patch.setattr(BytesDataset, "save", killed)
        with pytest.raises((KeyboardInterrupt, ClickException)):
            run_kedro(project, "export")
    assert not (exported / "MODEL_CARD.md").exists()
    for name, content in before.items():
        (exported / name).write_bytes(content)


def test_the_files_say_of_which_model_they_are(exported: Path, best_model: dict) -> None:
    digest = model_digest(best_model)
    saved = read_safetensors(exported / "model.safetensors")
    assert saved["model_digest"] == model_digest(saved) == digest
    assert f"the digest of the model, `{digest}`," in (exported / "MODEL_CARD.md").read_text(encoding="utf-8")
    changed = {name: value + 1 for name, value in best_model["model"].items()}
    assert model_digest(best_model | {"model": changed}) != digest


def test_scores_of_another_model_are_left_off_the_card_with_a_warning(
    best_model: dict, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "missing_packages", lambda: ["onnx"])
    taken = take_model(best_model)
    metrics = {"model_digest": "0" * 16, "images_per_second": 1.0}
    *_, card = nodes.export_model(taken, dict(metrics), metrics, DataConfig(), EvaluationConfig(), InferenceConfig())
    assert "has not been evaluated further" in card
    assert f"(model_digest {'0' * 16}, not {taken['model_digest']})" in caplog.text


@pytest.fixture
def export_with_samples(
    exported: Path, best_model: dict, train_store: SampleStore, val_store: SampleStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple]:
    """Run the node with samples; it makes no network of its own."""
    network = SimpleNamespace(content=(exported / "model.onnx").read_bytes(), runtime="1", difference=0.0)
    monkeypatch.setattr(nodes, "to_onnx", lambda *_: network)
    settings = DataConfig(), EvaluationConfig(), InferenceConfig()

    def run(
        train: SampleStore | None = train_store, val: SampleStore | None = val_store, largest_loss: float = 1.0
    ) -> tuple:
        monkeypatch.setattr(export_formats, "LARGEST_LOSS", largest_loss)
        return nodes.export_model(take_model(best_model), {}, {}, *settings, train, val)

    return run


@needs_onnx
def test_masks_that_differ_from_torch_are_not_exported(exported: Path, best_model: dict) -> None:
    other = best_model | {"config": best_model["config"] | {"evaluation": {"scale": 1.0, "flip": False}}}
    masks = export_formats.with_processing((exported / "model.onnx").read_bytes(), other)
    with pytest.raises(VocSegError, match=r"model_masks\.onnx gives .* of the pixels another class than torch"):
        share_of_other_pixels(masks, best_model)


@needs_onnx
def test_int8_is_kept_if_it_is_as_good_on_val(
    export_with_samples: Callable[..., tuple], val_store: SampleStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    _, masks, int8, *_, card = export_with_samples()
    assert len(int8) < 0.6 * len(masks)
    for name, content in (("model_masks.onnx", masks), ("model_masks_int8.onnx", int8)):
        assert KEY.encode() in content
        (tmp_path / name).write_bytes(content)
    before, after = (voc_seg.load(tmp_path / name) for name in ("model_masks.onnx", "model_masks_int8.onnx"))
    image = np.array(val_store[0].image)
    assert (before.predict(image).mask == after.predict(image).mask).mean() > 0.9
    rows = {
        row.split("|")[1].strip(): row
        for row in card.splitlines()
        if row.startswith("| `model") and row.count("|") == 6
    }
    assert len(rows) == 4
    for name in rows:
        *_, milliseconds, miou, _ = rows[name].split("|")
        assert float(milliseconds) > 0 and 0 <= float(miou) <= 1
    assert "mIoU is that of 2 images of val. With INT8, mIoU" in card
    assert "calibrated on 4 images of train" in card
    assert "model_masks_int8.onnx: mIoU on 2 images of val" in caplog.text


@needs_onnx
def test_int8_that_is_worse_is_not_kept(
    export_with_samples: Callable[..., tuple], caplog: pytest.LogCaptureFixture
) -> None:
    _, _, int8, *_, card = export_with_samples(largest_loss=-1.0)
    assert int8 == b""
    assert "| `model_masks_int8.onnx` |" not in card
    assert re.search("With INT8, mIoU .*, so that file was not kept", card)
    assert "model_masks_int8.onnx is not written, because it loses too much: mIoU on 2 images of val" in caplog.text


@needs_onnx
def test_without_samples_of_the_models_data_there_is_no_int8(
    export_with_samples: Callable[..., tuple], scene_samples: list[Sample], empty_store: SampleStore, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for given, reason in (
        ({"train": None}, "there are no images of train or of val with masks"),
        ({"val": empty_store}, "there are no images of train or of val with masks"),
    ):
        caplog.clear()
        _, _, int8, *_, card = export_with_samples(**given)
        assert int8 == b""
        assert "| file | content | size |\n" in card
        said = f"the model card lacks speed and mIoU of the files: {reason}\nTo get them, run data_processing"
        assert said in caplog.text
    caplog.clear()
    reduced = replace(DataConfig().reading, longer_side=96).settings
    write_store(tmp_path / "train.arrow", scene_samples, Origin("sample", "", CLASS_NAMES, "f", reduced))
    _, _, int8, *_ = export_with_samples(train=SampleStore(tmp_path / "train.arrow"))
    assert int8 == b""
    assert "train.arrow was packed with" in caplog.text
    monkeypatch.setattr(SampleStore, "origin", Origin("voc2012", "/data/VOC2012/JPEGImages"))
    _, _, int8, *_ = export_with_samples()
    assert int8 == b""
    assert "the model was trained on sample, and the samples of train are of voc2012" in caplog.text


def test_evaluation_and_export_of_one_run_read_the_model_once() -> None:
    """A training that replaces it in between would lead to scores of one model and files of another."""
    both = evaluation_pipeline() + export_pipeline()
    assert [node.name for node in both.nodes if "best_model" in node.inputs] == ["take_model"]


def test_without_the_extra_the_rest_is_written(
    project: Path, exported: Path, run_kedro: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nodes, "missing_packages", lambda: ["onnx", "onnxscript"])
    before = {path.name: path.read_bytes() for path in exported.iterdir() if path.is_file()}
    run_kedro(project, "export")
    assert "No ONNX file is written without onnx, onnxscript. To get them: pip install 'voc_seg[onnx]'" in caplog.text
    assert "No demo page is written: it needs model_masks.onnx. To get both: pip install 'voc_seg[onnx]'" in caplog.text
    assert {path.name for path in exported.iterdir()} == {"model.safetensors", "config.json", "MODEL_CARD.md"}
    assert read_safetensors(exported / "model.safetensors")["epoch"] == 7
    assert "onnx" not in (exported / "MODEL_CARD.md").read_text(encoding="utf-8").lower()
    for name, content in before.items():
        (exported / name).write_bytes(content)


def test_a_model_without_settings_is_refused(project: Path, best_model: dict, run_kedro: Run) -> None:
    path = project / "data/06_models/best_model.pth"
    saved = path.read_bytes()
    torch.save({key: value for key, value in best_model.items() if key != "config"}, path)
    with pytest.raises(ClickException, match=r"did not save its settings\. Train again"):
        run_kedro(project, "export")
    path.write_bytes(saved)


def test_a_model_that_cannot_be_used_is_refused_before_anything_runs(
    project: Path, best_model: dict, run_kedro: Run
) -> None:
    path = project / "data/06_models/best_model.pth"
    saved = path.read_bytes()
    torch.save(best_model | {"image_size": [10**9, 10**9]}, path)
    for pipeline in ("export", "inference"):
        with pytest.raises(ClickException, match=r"(?s)best_model\.pth: image_size is \[1000.*Nothing has run\.$"):
            run_kedro(project, pipeline, inference={"images": str(path)})
    path.write_bytes(saved)


def test_a_model_of_other_classes_is_refused(project: Path, run_kedro: Run) -> None:
    with pytest.raises(ClickException, match="The model was trained for the 21 classes"):
        run_kedro(project, "export", data={"classes": ["background", "thing"]})
