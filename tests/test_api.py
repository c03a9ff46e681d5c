"""``voc_seg.load`` and ``voc_seg.onnx.load``: the masks of the inference pipeline, from images of any kind and size."""

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import voc_seg
from voc_seg.api.model import Model
from voc_seg.api.onnx import load as load_onnx
from voc_seg.api.predictor import Predictor
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig, RuntimeConfig
from voc_seg.engine.failures import INFERENCE_MEMORY_ADVICE
from voc_seg.engine.inference import Segmenter
from voc_seg.models import onnx_export
from voc_seg.pipelines.export.nodes import export_model
from voc_seg.pipelines.inference.nodes import segment
from voc_seg.scenes.sample import draw_scene, plan_split
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import CLASS_NAMES, VOC_CLASSES
from voc_seg.voc.images import decode_image

pytestmark = pytest.mark.usefixtures("narrow_encoder")
needs_onnx = pytest.mark.skipif(
    bool(onnx_export.missing_packages()), reason="the extra onnx is not installed: pip install 'voc_seg[onnx]'"
)
SIZES = (
    (64, 64),
    (375, 500),
    (333, 97),
    (1200, 900),
    pytest.param((2000, 3000), marks=[pytest.mark.slow, pytest.mark.long]),
)
FP32 = RuntimeConfig(device="cpu", precision="fp32")


def save_image(path: Path, height: int, width: int, **options: Any) -> Path:
    scene = Image.fromarray(draw_scene(plan_split("train", 1, 0)[0])[0])
    scene.resize((width, height), Image.Resampling.BICUBIC).save(path, **options)
    return path


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image(tmp_path_factory.mktemp("photo") / "photo.png", 96, 128)


@pytest.fixture(scope="module")
def saved(untrained_model: Callable) -> dict[str, Any]:
    return untrained_model(EvaluationConfig(scale=0.5, flip=True, scales=(0.4, 0.6)))


@pytest.fixture(scope="module")
def files(saved: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    torch.save(saved, folder / "best_model.pth")
    scales = EvaluationConfig(scales=(0.4, 0.6))
    logits, masks, _, weights, *_ = export_model(saved, {}, {}, DataConfig(), scales, InferenceConfig())
    for name, content in (("model.onnx", logits), ("model_masks.onnx", masks), ("model.safetensors", weights)):
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def model(files: Path) -> Predictor:
    return voc_seg.load(files / "best_model.pth", device="cpu", precision="fp32")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_masks_equal_those_of_the_pipeline(
    size: tuple[int, int], precision: str, saved: dict[str, Any], files: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save_image(tmp_path / "photo.jpg", *size[::-1], exif=exif)  # stored lying
    runtime, scales = RuntimeConfig(device="cpu", precision=precision), EvaluationConfig(scales=(0.4, 0.6))
    found, _ = segment({"photo": decode_image(path)}, {}, saved, DataConfig(), scales, InferenceConfig(), runtime)
    expected = np.asarray(found["photo"].mask)
    assert expected.shape == size and len(np.unique(expected)) > 1
    for name in ("best_model.pth", "model.safetensors"):
        mask = voc_seg.load(files / name, device="cpu", precision=precision).predict(path).mask
        assert np.array_equal(mask, expected), name
    if precision == "fp32" and not onnx_export.missing_packages():
        other = load_onnx(files / "model_masks.onnx").predict(path).mask != expected
        assert other.mean() < 0.0001


def _grey(array: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(array).convert("L"))


@pytest.mark.parametrize(
    "given",
    [
        str, lambda path: path, Path.read_bytes, Image.open, lambda path: np.asarray(Image.open(path)),
        lambda path: torch.from_numpy(np.array(Image.open(path))),
        lambda path: np.dstack([np.asarray(Image.open(path)), np.full((96, 128), 255, np.uint8)]),
    ],
    ids=["text", "path", "bytes", "Pillow", "array", "tensor", "with transparency"],
)  # fmt: skip
def test_images_of_any_kind(given: Callable, photo: Path, model: Predictor) -> None:
    found, expected = model.predict(given(photo)), model.predict(photo)
    assert np.array_equal(found.image, expected.image)
    assert np.array_equal(found.mask, expected.mask)


def test_grey_images_become_rgb(photo: Path, model: Predictor) -> None:
    grey = _grey(np.asarray(Image.open(photo)))
    expected = model.predict(np.stack([grey] * 3, axis=-1)).mask
    for given in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(model.predict(given).mask, expected)


def test_images_of_pillow_are_turned_upright(photo: Path, model: Predictor) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.open(photo).save(file, "PNG", exif=exif)
    assert model.predict(Image.open(file)).mask.shape == (128, 96)
    assert model.predict(file.getvalue()).mask.shape == (128, 96)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://example.org/photo.jpg", "is an address. Download the image first"),
        ("nowhere.jpg", "missing image"),
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\), channels first"),
        (np.zeros((40, 50, 3), np.float32), "whose range is not known"),
        (np.zeros((40, 50, 5), np.uint8), "the array has 5 bands, but the model takes images with 3; convert it"),
        (np.zeros((40, 50, 3), np.int32), "unknown range: the array holds int32 values; convert it to uint8, with 0"),
        (Image.new("F", (50, 40)), "unknown range: .* holds float32 values; convert it to uint8, with 0"),
        (np.zeros(7, np.uint8), r"has the shape \(7,\)"),
        (np.zeros((0, 7), np.uint8), r"has the shape \(0, 7\)"),
        (np.array([["a"]]), "the type <U1"),
        (None, "A NoneType is not an image. Give a path"),
        ({"image": 1}, "dict has the shape"),
        (b"", "empty image"),
        (b"<html>", "unreadable image: the given bytes"),
        (".", "folder instead of image: [.]"),
    ],
)
def test_what_is_no_image_is_refused(given: Any, message: str, model: Predictor) -> None:
    with pytest.raises(VocSegError, match=message):
        model.predict(given)


def test_a_list_gives_a_list_in_its_order(photo: Path, model: Predictor, tmp_path: Path) -> None:
    upright = save_image(tmp_path / "upright.png", 128, 96)
    image = np.asarray(Image.open(photo))
    given = [photo, upright, image[::-1].copy(), upright, image[:, ::-1].copy(), photo]
    found = model.predict(given)
    assert [one.mask.shape for one in found] == [(96, 128), (128, 96), (96, 128), (128, 96), (96, 128), (96, 128)]
    for one, alone in zip(found, map(model.predict, given)):
        assert (one.mask == alone.mask).mean() > 0.999
    assert model.predict([]) == []


def test_what_a_result_offers(photo: Path, model: Predictor, tmp_path: Path) -> None:
    result, sure = model.predict(photo), model.predict(photo, confidence=True)
    assert result.confidence.dtype == np.uint8 and result.confidence.shape == result.mask.shape
    assert np.array_equal(result.confidence, sure.confidence)
    assert sum(result.shares.values()) == pytest.approx(1)
    assert list(result.shares.values()) == sorted(result.shares.values(), reverse=True)
    assert result.shares.keys() == {CLASS_NAMES[value] for value in np.unique(result.mask)}
    height, width = result.mask.shape
    assert repr(result).startswith(f"Result({height} x {width}: {next(iter(result.shares))} ")
    assert result.overlay().width >= 128
    result.save(tmp_path / "new/mask.png")
    result.save(tmp_path / "overlay.jpg")
    mask = Image.open(tmp_path / "new/mask.png")
    assert mask.mode == "P" and np.array_equal(np.asarray(mask), result.mask)
    assert Image.open(tmp_path / "overlay.jpg").mode == "RGB"
    with pytest.raises(VocSegError, match=r"The extension of .*mask does not say what to save"):
        result.save(tmp_path / "mask")


def test_results_go_to_other_processes_without_the_model(photo: Path, model: Predictor) -> None:
    for duplicate in (lambda result: pickle.loads(pickle.dumps(result)), copy.copy, copy.deepcopy):
        plain, sure = (duplicate(model.predict(photo, confidence=wanted)) for wanted in (False, True))
        assert np.array_equal(plain.mask, sure.mask) and plain.shares == sure.shares
        assert np.array_equal(sure.confidence, model.predict(photo).confidence)
        with pytest.raises(VocSegError, match="This result is a copy, without the model"):
            plain.confidence  # noqa: B018


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiffs_of_pillow_are_those_of_their_path(mode: str, orientation: int, model: Predictor, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "photo.tif"
    noise = np.random.default_rng(0).integers(0, 256, (80, 120, 4), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, exif=exif)
    with Image.open(path) as image:
        found = model.predict(image)
    assert np.array_equal(found.image, model.predict(path).image)


def test_an_unreadable_image_of_a_list_is_named_by_its_number(photo: Path, model: Predictor) -> None:
    with pytest.raises(VocSegError, match=r"^Image 2 of the list \(the first is 0\): "):
        model.predict([photo, photo, b"no image"])


def test_pixels_below_min_confidence_are_void(photo: Path, files: Path) -> None:
    confidence = voc_seg.load(files / "best_model.pth", device="cpu").predict(photo).confidence
    middle = float(np.median(confidence) / 255)
    result = voc_seg.load(files / "best_model.pth", device="cpu", min_confidence=middle).predict(photo)
    assert np.array_equal(result.confidence, confidence)
    assert (result.mask[confidence < 255 * middle - 1] == 255).all()
    assert (result.mask[confidence > 255 * middle + 1] != 255).all()


def test_the_settings_of_the_model_are_used_unless_others_are_given(saved: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "best_model.pth"
    torch.save(saved | {"inference": {"longer_side": 321, "tile": 256, "scales": [0.5]}}, path)
    own, other = voc_seg.load(path), voc_seg.load(path, longer_side=None, scales=None)
    assert isinstance(own, Model) and isinstance(other, Model)
    of_own, of_other = own._segmenter.preprocessing, other._segmenter.preprocessing
    assert (of_own.longer_side, of_own.tile, of_own.scales) == (321, 256, (0.5,))
    assert (of_other.longer_side, of_other.tile, of_other.scales) == (None, 256, (0.5,))
    earlier = {key: value for key, value in saved.items() if key not in ("inference", "class_colours")}
    torch.save(earlier, path)
    assert voc_seg.load(path).classes == VOC_CLASSES or voc_seg.load(path).classes.colours == VOC_CLASSES.colours


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nothing.pth", {}, "There is no file .*nothing.pth. Give the path"),
        ("best_model.pth", {"images": "x"}, "load has no setting images. There are: longer_side, tile"),
        ("best_model.pth", {"tile": 3}, "tile = 3: Input should be greater than or equal to 128"),
        ("best_model.pth", {"scales": [0]}, "scales.0 = 0: Input should be greater than 0"),
        ("best_model.pth", {"device": "gpu"}, "device = 'gpu'"),
        ("best_model.pth", {"device": "cuda:99"}, "^device is cuda:99, but torch .* Use device=auto or cpu"),
        ("model_masks.onnx", {"tile": 200}, "is an ONNX file: settings and precision were fixed"),
        ("model.onnx", {}, "Load model_masks.onnx, which kedro run --pipelines export writes beside it"),
    ],
)
def test_what_cannot_be_loaded_is_refused(name: str, settings: dict[str, Any], message: str, files: Path) -> None:
    with pytest.raises(VocSegError, match=message):
        voc_seg.load(files / name, **settings)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("https://x/best_model.pth", "is an address. Download the model first"),
        (b"best_model.pth", "from the path of its file or folder, not from b'best"),
        (None, "not from None"),
        ("", "not from ''"),
    ],
)
def test_what_is_no_path_of_a_model_is_refused(path: Any, message: str) -> None:
    for load in (voc_seg.load, voc_seg.onnx.load):
        with pytest.raises(VocSegError, match=message):
            load(path)


@needs_onnx
def test_folders_are_the_model_in_them(files: Path, tmp_path: Path) -> None:
    (tmp_path / "best_model.pth").write_bytes((files / "best_model.pth").read_bytes())
    assert len(voc_seg.load(tmp_path, device="cpu").classes) == len(voc_seg.onnx.load(files).classes) == 21
    with pytest.raises(VocSegError, match=r"For hf://user/name, use voc_seg\.load"):
        voc_seg.onnx.load("hf://user/name")


def test_messages_name_the_arguments_of_load(model: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> None:
        raise VocSegError(f"Memory ran out. {INFERENCE_MEMORY_ADVICE}")

    monkeypatch.setattr(Segmenter, "predict_same_size", no_memory)
    with pytest.raises(VocSegError, match=r"Lower tile or longer_side, or segment on the CPU: device=cpu\."):
        model.predict(np.zeros((40, 50, 3), np.uint8))


def test_a_damaged_onnx_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model_masks.onnx"
    path.write_bytes(b"\x08\x0a no model")
    with pytest.raises(VocSegError, match="cannot be read as an ONNX model of this project"):
        voc_seg.load(path)


@needs_onnx
def test_an_onnx_file_with_other_bytes_is_refused(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "model_masks.onnx"
    content = bytearray((files / path.name).read_bytes())
    content[len(content) // 2] ^= 1  # in the weights
    path.write_bytes(content)
    with pytest.raises(VocSegError, match=r"model_masks\.onnx is damaged: its bytes have changed"):
        voc_seg.load(path)


@needs_onnx
@pytest.mark.parametrize(
    ("device", "message"),
    [("gpu", "device = 'gpu' is not known here"), ("cuda:1", "device is cuda:1, but this ONNX Runtime has no CUDA")],
)
def test_onnx_runtime_has_these_devices(device: str, message: str, files: Path) -> None:
    if device != "gpu" and "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("it has CUDA here")
    with pytest.raises(VocSegError, match=message):
        voc_seg.load(files / "model_masks.onnx", device=device)


@needs_onnx
def test_a_device_that_onnx_runtime_cannot_use_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with onnxruntime-gpu and without cuDNN: CUDA is listed, and the session falls back to the CPU."""
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("it has CUDA here")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.warns(UserWarning, match="not in available"), pytest.raises(VocSegError, match="could not use it"):
        voc_seg.load(files / "model_masks.onnx", device="cuda:1")
    with pytest.warns(UserWarning, match="not in available"):
        assert "CPUExecutionProvider" in repr(voc_seg.load(files / "model_masks.onnx"))


@needs_onnx
@pytest.mark.parametrize("names", ["7", "null", '{"0": "cat"}', '[["cat"]]', '"cat"', "[1, 2]"])
def test_an_onnx_file_of_another_program_is_refused(names: str, files: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(files / "model_masks.onnx")
    del model.metadata_props[:]
    model.metadata_props.add(key="class_names", value=names)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(VocSegError, match=r"other\.onnx does not describe its classes as this project does"):
        voc_seg.load(tmp_path / "other.onnx")


def test_safetensors_are_known_from_onnx_by_content(files: Path, tmp_path: Path) -> None:
    # Both formats may begin with the byte 8: safetensors with the length of a header.
    content = (files / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].ljust(length + (8 - length) % 256)
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert path.read_bytes()[:1] == b"\x08"
    assert voc_seg.load(path, device="cpu").classes == voc_seg.load(files / "model.safetensors", device="cpu").classes


@needs_onnx
@pytest.mark.parametrize("name", ["best_model.pth", "model.safetensors"])
def test_onnx_runtime_is_given_onnx_files_only(name: str, files: Path) -> None:
    with pytest.raises(VocSegError, match=f"{name} is not an ONNX file. Give model_masks.onnx, or use voc_seg.load"):
        voc_seg.onnx.load(files / name)


def test_several_threads_get_the_masks_of_one(model: Predictor, photo: Path) -> None:
    image = np.asarray(Image.open(photo))
    given = [np.roll(image, shift, axis=1) for shift in range(12)]
    expected = [model.predict(one).mask for one in given]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: model.predict(one).mask, given))
    assert all(map(np.array_equal, found, expected))


def test_completion_offers_what_is_imported_late() -> None:
    assert {"load", "onnx"} <= set(dir(voc_seg))


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_imported_without_anything_slow() -> None:
    heavy = ("torch", "numpy", "pandas", "kedro", "matplotlib", "PIL", "pydantic")
    assert _run(f"import sys, voc_seg; print([name for name in {heavy} if name in sys.modules])") == "[]\n"


@needs_onnx
def test_onnx_files_need_no_torch(files: Path, photo: Path, model: Predictor) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
import voc_seg.onnx
result = voc_seg.onnx.load({str(files / "model_masks.onnx")!r}).predict({str(photo)!r})
print(result.mask.shape, result.shares, result.overlay().width)
try:
    voc_seg.load
except ImportError as error:
    print(error)
"""
    said = _run(code)
    assert said.startswith(f"(96, 128) {str(model.predict(photo).shares)[:20]}")
    assert "Without it, load model_masks.onnx with voc_seg.onnx.load." in said
