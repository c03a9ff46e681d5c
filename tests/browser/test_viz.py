"""Kedro-Viz of a project that has run, in a real browser: every graph is drawn and every node opens."""

import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from voc_seg.pipelines.export import nodes as export
from voc_seg.scenes.sample import write_scenes

PIPELINES = (
    "__default__", "data_processing", "sanity", "lr_finder", "training", "calibration", "evaluation", "label_review",
    "inference", "export", "comparison", "folds", "ensemble",
)  # fmt: skip
LAYERS = ["raw", "intermediate", "model_input", "models", "model_output", "reporting"]
UNSEEN = {
    "evaluation_samples", "scored_model", "sanity_sample", "readable_pictures", "unreadable_pictures",
    "inference_pictures", "readable_videos", "inference_videos",
}  # fmt: skip
"""Data that lives in memory only, or is given on the command line: there is nothing to look at after the run,
which has no video."""


pytestmark = [pytest.mark.usefixtures("narrow_encoder"), pytest.mark.slow]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, make_project: Callable, run_kedro: Callable) -> Path:
    """The output of ``kedro viz build --include-previews`` in a project in which every pipeline has run."""
    project = make_project(tmp_path_factory.mktemp("project"))
    write_scenes(project / "voc", {"train": 6, "val": 3, "test": 2})
    (project / "conf/local/globals.yml").write_text(f"voc_root: {project / 'voc'}")  # kedro viz build takes no --params
    run_kedro(project)
    run_kedro(project, "sanity", sanity={"pass_miou": 0.0, "epochs": 2})
    with pytest.MonkeyPatch.context() as patch:
        # The slow half of it; the files have no preview.
        patch.setattr(export, "_to_onnx", lambda *_: (b"a network", b"a network", {}))
        patch.setattr(export, "_to_int8", lambda *_: (b"a network", {}))
        run_kedro(project, "export")
    images = str(project / "voc/VOCdevkit/VOC2012/JPEGImages")
    run_kedro(project, "inference", inference={"images": images, "label_next": 2, "formats": "labelme coco"})
    run_kedro(project, "label_review")
    for fold in "12":
        on_fold = {"run": f"fold-{fold}", "training": {"fold": f"{fold}/2"}, "evaluation": {"split": "fold"}}
        run_kedro(project, "training", "evaluation", **on_fold)
    run_kedro(project, "folds")
    run_kedro(project, "ensemble", run="ensemble", ensemble={"runs": "fold-*"})
    run_kedro(project, "comparison")
    run_kedro(project, "calibration")
    run_kedro(project, "lr_finder", lr_finder={"steps": 20})
    command = [sys.executable, "-m", "kedro", "viz", "build", "--include-previews"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "could not be previewed" not in done.stdout + done.stderr
    return project / "build"


@pytest.fixture(scope="module")
def address(build: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=build)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def nodes_of(build: Path, pipeline: str) -> dict[str, dict[str, Any]]:
    graph = json.loads((build / "api" / "pipelines" / pipeline).read_text())
    return {node["name"]: node for node in graph["nodes"]}


def metadata(build: Path, node: dict[str, Any]) -> dict[str, Any]:
    return json.loads((build / "api" / "nodes" / node["id"]).read_text())


def test_layers_lead_from_raw_data_to_reports(build: Path) -> None:
    graph = json.loads((build / "api" / "main").read_text())
    assert [layer for layer in LAYERS if layer in graph["layers"]] == graph["layers"]
    assert {pipeline["id"] for pipeline in graph["pipelines"]} == set(PIPELINES)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_everything_on_disk_has_a_preview(build: Path, pipeline: str) -> None:
    for name, node in nodes_of(build, pipeline).items():
        if node["type"] == "data" and name not in UNSEEN:
            assert metadata(build, node)["preview"], name


def test_the_network_is_drawn(build: Path) -> None:
    preview = metadata(build, nodes_of(build, "training")["train"])["preview"]
    assert preview["kind"] == "image"
    assert preview["content"].startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_graphs_are_drawn(build: Path, address: str, page: Page, pipeline: str) -> None:
    page.goto(f"{address}/?pid={pipeline}")
    graph = json.loads((build / "api" / "pipelines" / pipeline).read_text())
    parameters = {node["id"] for node in graph["nodes"] if node["type"] == "parameters"}
    shown = {child["id"] for child in graph["modular_pipelines"]["__root__"]["children"]} - parameters
    expect(page.locator(".pipeline-node")).to_have_count(len(shown), timeout=20_000)


def test_the_default_pipeline_opens_as_three_groups(build: Path, address: str, page: Page) -> None:
    page.goto(f"{address}/?pid=__default__")
    groups = page.locator(".pipeline-node--modularPipeline")
    expect(groups).to_have_count(3, timeout=20_000)
    labels = page.locator(".pipeline-node__text").all_text_contents()
    assert {"data_processing", "training", "evaluation"} <= set(labels)
    assert not {"train", "index_train", "evaluate"} & set(labels)


@pytest.mark.parametrize(
    ("pipeline", "name", "what"),
    [
        ("training", "train", "img[src^='data:image/svg']"),
        ("training", "best_model", "table"),
        ("training", "checkpoints", "table"),
        ("training", "training_curves", "img"),
        ("training", "training_history", "table"),
        ("evaluation", "predictions", "img"),
        ("evaluation", "class_scores", "table"),
        ("evaluation", "report", "img"),
        ("inference", "inference_segmentations", "img"),
        ("inference", "inference_annotations", "table"),
        ("inference", "label_next_page", "img"),
        ("export", "model_card", "iframe, pre"),
        ("data_processing", "train_split", "img"),
        ("data_processing", "train_samples", "img"),
    ],
)
def test_nodes_open_with_their_preview(
    build: Path, address: str, page: Page, pipeline: str, name: str, what: str, tmp_path: Path
) -> None:
    page.goto(f"{address}/?pid={pipeline}&sid={nodes_of(build, pipeline)[name]['id']}")
    panel = page.locator(".pipeline-metadata")
    expect(panel.locator(what).first).to_be_visible(timeout=20_000)
    page.screenshot(path=tmp_path / f"{name}.png")
