"""Models in folders and on the Hugging Face Hub, which is a server on loopback here."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import numpy as np
import pytest

import voc_seg
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig
from voc_seg.models.exchange import read_safetensors
from voc_seg.pipelines.export import nodes
from voc_seg.system.errors import VocSegError

hub = pytest.importorskip("huggingface_hub", reason="it comes with the extra timm")
constants = pytest.importorskip("huggingface_hub.constants")
pytestmark = pytest.mark.usefixtures("narrow_encoder")
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
REVISIONS = {"main": "a" * 40, "v1": "b" * 40, "refs/pr/1": "c" * 40, "with/slash": "d" * 40}


@pytest.fixture(scope="module")
def exported(untrained_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export without ONNX files."""
    folder = tmp_path_factory.mktemp("export")
    model = untrained_model(EvaluationConfig())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "missing_packages", lambda: ["onnx"])
        *_, weights, config, card = nodes.export_model(
            model, {}, {}, DataConfig(), EvaluationConfig(), InferenceConfig()
        )
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_bytes(config)
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return folder


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for ``trees/roofs``, which is in a folder."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        start, _, rest = self.path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        revision = unquote(revision)
        file = self.folder / name
        if start != "/trees/roofs" or revision not in REVISIONS or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if start == "/trees/roofs" else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", REVISIONS[revision])
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def loopback_hub(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub on loopback with ``trees/roofs``, uploaded as docs/export.md says; yields the cache."""
    uploaded = tmp_path / "uploaded"
    uploaded.mkdir()
    for path in exported.iterdir():
        if fnmatchcase(path.name, "model*") or path.name == "config.json":
            shutil.copy(path, uploaded)
    shutil.copy(exported / "MODEL_CARD.md", uploaded / "README.md")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, uploaded))
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", address := f"http://127.0.0.1:{server.server_port}")
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_is_the_exported_model_in_it(exported: Path) -> None:
    expected = voc_seg.load(exported / "model.safetensors", device="cpu").predict(IMAGE).mask
    for folder in (exported, str(exported)):
        assert np.array_equal(voc_seg.load(folder, device="cpu").predict(IMAGE).mask, expected)
    assert len(np.unique(expected)) > 1


def test_the_configuration_is_that_of_the_model(exported: Path) -> None:
    found = json.loads((exported / "config.json").read_text())
    saved = read_safetensors(exported / "model.safetensors")
    assert found.pop("library_name") == "voc_seg" and found.pop("architectures") == ["SegmentationNet"]
    assert found["model_config"]["encoder"] == "resnet18"
    assert found == {key: value for key, value in saved.items() if key != "model"}


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match=r"model\.safetensors"):
        voc_seg.load(tmp_path)


@pytest.mark.parametrize(
    ("address", "revision"),
    [
        ("hf://trees/roofs", "main"),
        (Path("hf://trees/roofs"), "main"),
        ("hf://trees/roofs/model.safetensors", "main"),
        ("hf://trees/roofs@v1", "v1"),
        ("hf://trees/roofs@refs/pr/1", "refs/pr/1"),
        ("hf://trees/roofs@refs/pr/1/model.safetensors", "refs/pr/1"),
        ("hf://trees/roofs@with%2Fslash", "with/slash"),
    ],
)
def test_a_model_of_the_hub_gives_the_same_masks(
    address: Path | str, revision: str, exported: Path, loopback_hub: Path
) -> None:
    found = voc_seg.load(address, device="cpu", precision="fp32", longer_side=200).predict(IMAGE).mask
    local = voc_seg.load(exported, device="cpu", precision="fp32", longer_side=200).predict(IMAGE).mask
    assert np.array_equal(found, local)
    assert (loopback_hub / "models--trees--roofs/snapshots" / REVISIONS[revision]).is_dir()


def test_the_card_of_the_hub_is_that_of_the_export(exported: Path, loopback_hub: Path) -> None:
    card = hub.ModelCard.load(Path(hub.hf_hub_download("trees/roofs", "README.md")))
    assert card.data.library_name == "voc_seg"
    assert card.text.lstrip().startswith("# ResNet-18, 21 classes, trained on sample")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://trees", "not the address of a model"),
        ("hf://trees/roofs@v1@v2", "not the address of a model"),
        ("hf://trees/other", "cannot be loaded .*Check the name and the network"),
        ("hf://trees/roofs/missing.bin", "cannot be loaded .*Check the name and the network"),
        ("hf://trees/roofs/README.md", r"README\.md"),
        ("hf://-/..", "cannot be loaded"),
    ],
)
def test_addresses_without_a_model_are_refused(address: str, message: str, loopback_hub: Path) -> None:
    with pytest.raises(VocSegError, match=message):
        voc_seg.load(address)


def test_without_the_library_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(VocSegError, match="pip install huggingface_hub"):
        voc_seg.load("hf://trees/roofs")
