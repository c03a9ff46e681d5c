"""What is in the folder of the demo page; tests/browser/test_demo.py opens it."""

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from voc_seg.reporting import demo
from voc_seg.reporting.demo import demo_files, why_no_demo
from voc_seg.voc.classes import VOC_CLASSES, name_classes

RUNTIME = Path(demo.__file__).with_name("onnxruntime_web")


def saved(**data: Any) -> dict[str, Any]:
    return {
        "model_config": {"encoder": "resnet18"},
        "model_digest": "0123456789abcdef",
        "config": {"data": {"source": "own", "name": "trees & </title> co"} | data},
    }


def test_the_runtime_is_the_one_of_its_readme() -> None:
    readme = (RUNTIME / "README.md").read_text(encoding="utf-8")
    digests = dict(re.findall(r"^\| `([\w.-]+)` \|.*`([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    assert len(digests) == 2
    for name, digest in digests.items():
        content = (RUNTIME / name).read_bytes()
        content = gzip.decompress(content) if name.endswith(".gz") else content
        assert hashlib.sha256(content).hexdigest() == digest
    (version,) = re.findall(r"`onnxruntime-web` ([\d.]+)", readme)
    assert f"ONNX Runtime Web v{version}\n" in (RUNTIME / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8")
    assert "MIT License" in (RUNTIME / "LICENSE").read_text(encoding="utf-8")


def test_scripts_hold_model_and_runtime() -> None:
    written = demo_files(b"\x00\xffmodel", "# card ü", saved(), VOC_CLASSES)
    (model,) = re.fullmatch(rb'globalThis\.MODEL="(.*)";\n', written["model.js"]).groups()  # type: ignore[union-attr]
    assert base64.b64decode(model) == b"\x00\xffmodel"
    runtime = json.loads(written["onnxruntime.js"].removeprefix(b"globalThis.RUNTIME=").removesuffix(b";\n"))
    assert gzip.decompress(base64.b64decode(runtime["wasm"])).startswith(b"\x00asm")
    assert runtime["module"].encode() == (RUNTIME / "ort.wasm.bundle.min.mjs").read_bytes()
    assert written["MODEL_CARD.md"].decode() == "# card ü"


def test_names_cannot_become_markup() -> None:
    page = demo_files(b"", "", saved(), name_classes(["background", "</script><i>"]))["index.html"].decode()
    assert "<title>Demo: ResNet-18, trained on trees &amp; &lt;/title&gt; co</title>" in page
    assert page.count("</script>") == 2
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(content)["classes"][1]["name"] == "</script><i>"
    assert not re.search(r"__[A-Z]+__", page)


@pytest.mark.parametrize(
    ("masks", "data", "reason"),
    [
        (b"onnx", {}, ""),
        (b"onnx", {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3, "range": None}, ""),
        (b"", {}, "it needs model_masks.onnx"),
        (b"onnx", {"channels": 1, "mean": [0.5], "std": [0.5], "range": None}, "browsers read RGB images only"),
        (b"onnx", {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3, "range": [0, 4095]}, "RGB images only"),
        (b"model too large", {}, "browsers cannot hold a model of"),
    ],
)
def test_models_that_have_no_page(
    masks: bytes, data: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MAX_BYTES", 10)
    found = why_no_demo(saved(**data), masks)
    assert reason in found
    assert bool(found) == bool(reason)
