"""POST /predict: formats, masks equal to those of ``voc_seg.load``, and uploads that are refused."""

import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from voc_seg.api.predictor import Predictor
from voc_seg.serving.answers import choose_format
from voc_seg.voc.classes import CLASS_NAMES

MAX_BYTES = 2_000_000


@pytest.fixture(scope="module")
def server(start: Callable[..., Any], model: Predictor) -> Any:
    return start(model, max_bytes=MAX_BYTES, max_pixels=1_500_000)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size, with few bytes of pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def png(scene: Image.Image) -> bytes:
    return encoded(scene.resize((128, 96)))


def test_masks_are_those_of_the_model_to_the_pixel(
    server: Any, model: Predictor, scene: Image.Image, tmp_path: Path
) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    files = {
        "a.jpg": encoded(scene.resize((128, 96)), "JPEG", exif=turned),
        "b.png": encoded(scene.resize((64, 64)).convert("RGBA")),
        "c.webp": encoded(scene.resize((500, 375)), "WEBP"),
        "d.tif": encoded(scene.resize((97, 333)).convert("L"), "TIFF"),
        "e.png": encoded(scene.resize((900, 1200))),
        "f.png": encoded(scene.resize((1, 1))),
        "g.bmp": encoded(scene.resize((120, 90)), "BMP"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    repeated = [*files] * 4
    with ThreadPoolExecutor(8) as threads:  # so that images of one size are in one batch
        answers = list(threads.map(lambda name: server.predict(files[name]), repeated))
    for name, answer in zip(repeated, answers):
        expected = model.predict(tmp_path / name)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
        mask = Image.open(io.BytesIO(answer.content))
        assert mask.mode == "P"
        assert mask.getpalette() == expected.classes.palette().ravel().tolist()
        assert np.array_equal(np.asarray(mask), expected.mask), name
    assert len(np.unique(model.predict(tmp_path / "c.webp").mask)) > 1


def test_an_overlay_is_that_of_the_model(server: Any, model: Predictor, png: bytes) -> None:
    answer = server.predict(png, headers={"Accept": "image/jpeg"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == encoded(model.predict(png).overlay(), "JPEG", quality=90, subsampling=0)
    assert server.predict(png, params={"format": "overlay"}).content == answer.content


def test_json_has_the_shares_and_polygons_that_draw_the_mask(server: Any, model: Predictor, png: bytes) -> None:
    answer = server.predict(png, params={"format": "json"}, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "application/json"
    found, expected = answer.json(), model.predict(png)
    assert (found["width"], found["height"], found["classes"]) == (128, 96, list(CLASS_NAMES))
    assert found["shares"] == expected.shares
    assert found["polygons"]
    drawn = Image.new("L", (128, 96))
    for polygon in found["polygons"]:
        value = 0 if polygon["label"] == "_background_" else CLASS_NAMES.index(polygon["label"])
        ImageDraw.Draw(drawn).polygon([tuple(point) for point in np.array(polygon["points"]) - 0.5], value, value)
    assert (np.asarray(drawn) == expected.mask).mean() > 0.9


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "mask"),
        ("*/*", "mask"),
        ("image/*", "mask"),
        ("image/jpeg", "overlay"),
        ("application/json, text/plain, */*", "json"),
        ("text/html, image/jpeg;q=0.8, application/*;q=0.9", "json"),
        ("image/png;q=0, image/jpeg;q=0.1", "overlay"),
        ("image/jpeg;q=nothing", None),
        ("text/html", None),
    ],
)
def test_the_header_accept_chooses_the_format(accept: str, expected: str | None) -> None:
    assert choose_format(accept) == expected


def refused(answer: Any) -> str:
    """The message of an error, which must say nothing about the server."""
    text = answer.text
    assert "Traceback" not in text and "/tmp" not in text and "voc_seg_" not in text, text
    message = json.loads(text)["detail"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(
    ("damage", "status", "message"),
    [
        (lambda png: b"", 400, "empty image: the upload (0 bytes)"),
        (lambda png: b"no image", 415, "unreadable image: the upload (not JPEG, PNG, TIFF, BMP or WEBP)"),
        (lambda png: b"GIF89a" + bytes(100), 415, "unreadable image: the upload (a GIF, not JPEG"),
        (lambda png: png[: len(png) // 2], 400, "truncated image: the upload"),
        (lambda png: png[:500] + b"damage" + png[506:], 400, "damaged image: the upload"),
        (lambda png: b"II*\0" + bytes(100), 400, ": the upload"),
        (lambda png: png_header(2000, 2000), 413, "The image has more than 1500000 pixels"),
        (lambda png: png_header(60_000, 60_000), 413, "The image has more than 1500000 pixels"),
        (lambda png: bytes(MAX_BYTES + 1), 413, "The request is larger than 2000000 bytes"),
    ],
    ids=["empty", "text", "gif", "truncated", "damaged", "tiff", "large", "bomb", "bytes"],
)  # fmt: skip
def test_broken_uploads_are_refused(
    damage: Callable[[bytes], bytes], status: int, message: str, server: Any, png: bytes
) -> None:
    answer = server.predict(damage(png))
    assert message in refused(answer)
    assert answer.status_code == status
    assert server.predict(png).status_code == 200


def test_a_bomb_of_other_bands_is_refused_by_its_header(server: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((1300, 1200, 5), np.uint8), compression="zlib", planarconfig="contig")
    assert len(buffer.getvalue()) < 100_000
    answer = server.predict(buffer.getvalue())
    assert (answer.status_code, refused(answer)) == (413, "The image has more than 1500000 pixels. Send a smaller one.")


def test_other_bands_are_refused(server: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((20, 30, 5), np.uint8), planarconfig="contig")
    answer = server.predict(buffer.getvalue())
    assert answer.status_code == 400
    assert refused(answer).startswith(
        "other bands: the upload has 5 bands, but the model takes images with 3; convert it"
    )


ONE_IMAGE = "Send one image as multipart form data, in the field image."


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"files": {"image": b"a"}, "params": {"format": "jpg"}}, 422, "format = 'jpg': Input should be 'mask',"),
        ({"content": b"image"}, 415, "Send the image as multipart/form-data, in the field image."),
        ({"files": {"photo": b"image"}}, 400, "The request has no complete file in the field image."),
        (
            {"data": {"image": "text"}, "files": {"photo": b""}},
            400,
            "The request has no complete file in the field image.",
        ),
        ({"files": [("image", b"a"), ("image", b"b")]}, 400, f"{ONE_IMAGE} Too many files."),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400, f"{ONE_IMAGE} Missing boundary"),
        ({"content": b"damaged", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, ""),
        ({"files": {"image": b"a"}, "headers": {"Accept": "text/html"}}, 406, "Accept one of image/png"),
    ],
)
def test_wrong_requests_are_refused(options: dict[str, Any], status: int, message: str, server: Any) -> None:
    answer = server.client.post("/predict", **options)
    assert answer.status_code == status, answer.text
    assert refused(answer).startswith(message)


def test_a_gigabyte_is_refused_while_it_is_read(server: Any, png: bytes) -> None:
    sent = 0
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while sent < 2**30:
            yield bytes(2**16)
            sent += 2**16

    server.predict(png)
    before = server.metric("process_resident_memory_bytes")
    answer = server.client.post("/predict", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert sent < 50 * MAX_BYTES  # the buffers of the sockets
    assert server.metric("process_resident_memory_bytes") - before < 100e6


def test_the_description_and_the_probes(server: Any) -> None:
    assert server.client.get("/").headers["location"] == "docs"
    described = server.client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    schema = described["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["image"]["format"] == "binary"
    assert {"200", "400", "413", "415", "429", "504"} <= described["responses"].keys()
    assert {"image/png", "image/jpeg", "application/json"} <= described["responses"]["200"]["content"].keys()
    page = server.client.get("/docs").text
    parts = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert len(parts) == 3 and all(part.startswith("/") for part in parts), "nothing of other servers"
    assert all(server.client.get(part).status_code == 200 for part in parts)
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert server.client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/png;q=0, image/*", "overlay"),
        ("image/png;q=0, */*", "overlay"),
        ("image/png;q=0.1, */*;q=0.5", "overlay"),
        ("image/*;q=0, */*", "json"),
        ("*/*;q=0", None),
    ],
)
def test_the_most_specific_media_range_decides(accept: str, expected: str | None) -> None:
    assert choose_format(accept) == expected
