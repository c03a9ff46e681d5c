"""Take the figures of README and pages afresh, from the last runs of the drawn sample:

    kedro run --params evaluation.pictures=4
    kedro run --pipelines inference --params inference.images=FOLDER
    python docs/screenshots.py

It needs the extra test, and Chromium or Chrome. The report and Kedro-Viz are photographed in the browser, without
Kedro-Viz's hints; the two galleries are those of the runs.
"""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from voc_seg.config import ModelConfig
from voc_seg.reporting.architecture import plot_network
from voc_seg.voc.classes import VOC_CLASSES

ROOT = Path(__file__).parents[1]
REPORTING, DOCS = ROOT / "data/08_reporting", ROOT / "docs"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HINTS = "[class*=feature-hint], [class*=update-reminder] {display: none !important}"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def screenshot_report(page: Page, folder: Path) -> None:
    """The top of the report, and its gallery beside it."""
    page.set_viewport_size({"width": 1040, "height": 780})
    page.goto((REPORTING / "report.html").as_uri())
    page.screenshot(path=folder / "top.png")
    page.evaluate("document.querySelector('#gallery').scrollIntoView()")
    page.wait_for_timeout(2000)  # images are loaded when they come into view
    page.screenshot(path=folder / "gallery.png")
    left, right = (Image.open(folder / name).convert("RGB") for name in ("top.png", "gallery.png"))
    both = Image.new("RGB", (left.width + right.width, left.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    both.resize((1600, 600), Image.Resampling.LANCZOS).save(DOCS / "report.jpg", quality=88)


def screenshot_viz(page: Page, folder: Path, build: Path) -> None:
    """The evaluation pipeline in Kedro-Viz, with the predicted masks opened."""
    graph = json.loads((build / "api/pipelines/evaluation").read_text())
    (node,) = (node["id"] for node in graph["nodes"] if node["name"] == "predictions")
    about = build / "api/nodes" / node
    about.write_text(about.read_text().replace(f"{ROOT.as_posix().lstrip('/')}/", ""))  # the folder of this machine
    handler = functools.partial(Quiet, directory=build)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.set_viewport_size({"width": 1600, "height": 1000})
        page.goto(f"http://127.0.0.1:{server.server_port}/?pid=evaluation&sid={node}")
        page.add_style_tag(content=HINTS)
        page.locator(".pipeline-metadata img").first.wait_for(state="visible", timeout=30_000)
        page.wait_for_timeout(2000)  # the graph moves to the node
        page.screenshot(path=folder / "viz.png")
        server.shutdown()
    shown = Image.open(folder / "viz.png").convert("RGB").resize((1280, 800), Image.Resampling.LANCZOS)
    shown.save(DOCS / "kedro_viz.jpg", quality=88)


def main() -> None:
    plot_network(ModelConfig(), len(VOC_CLASSES)).savefig(DOCS / "network.png", dpi=110)
    for name in ("prediction_gallery", "inference_gallery"):
        Image.open(REPORTING / f"{name}.png").convert("RGB").save(DOCS / f"{name}.jpg", quality=85)
    subprocess.run([sys.executable, "-m", "kedro", "viz", "build", "--include-previews"], cwd=ROOT, check=True)
    executable = next(path for path in map(shutil.which, NAMES) if path)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        screenshot_report(page, Path(folder))
        screenshot_viz(page, Path(folder), ROOT / "build")
        browser.close()


if __name__ == "__main__":
    main()
