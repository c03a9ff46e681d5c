"""Images per second and latency of ``voc-seg serve`` with many clients, against the bare model in a loop.

    python benchmarks/serve.py [--model PATH] [--clients 16] [--images 128] [--rounds 5] [--batch 8] [--format mask]

server  clients in a process of their own; each sends the next image, as a JPEG, when it has got the last answer
bare    ``Predictor.predict`` in this process for lists of as many of the same JPEG files as there are clients

Without ``--model`` it is an untrained ResNet-18, as fast as a trained one. Latency is that of a client, from the
start of a request to the end of its answer. CPU time and memory (after the first and the last
round) are those of the server. OpenMP's threads wait for each other in the same way in both processes.
"""

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, count, repeat
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is imported; the server inherits it

import numpy as np
from measuring import add_device, alternate, console, describe_machine, print_table, ratio
from PIL import Image

import voc_seg
from voc_seg.scenes.sample import draw_scene, plan_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--images", type=int, default=128, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8, help="as for voc-seg serve")
    parser.add_argument("--format", default="mask", choices=("mask", "overlay", "json"))
    parser.add_argument("--load", help=argparse.SUPPRESS)  # the process of the clients
    add_device(parser)
    arguments = parser.parse_args()
    if arguments.load:
        send_images(arguments.load, arguments.clients, arguments.format)
        return
    describe_machine(arguments.device)
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as name:
        folder = Path(name)
        files = [save_scene(folder / f"{number}.jpg", number, arguments.images) for number in range(arguments.images)]
        path = arguments.model or save_untrained(folder / "best_model.pth")
        measure(path, [file.read_bytes() for file in files], folder, arguments)


def measure(path: Path, images: list[bytes], folder: Path, arguments: argparse.Namespace) -> None:
    model = voc_seg.load(path, arguments.device)

    processor: dict[str, list[float]] = {"bare": [], "server": []}

    def bare() -> None:
        started = time.process_time()
        for start in range(0, len(images), arguments.clients):
            model.predict(tuple(images[start : start + arguments.clients]))
        processor["bare"].append(time.process_time() - started)

    command = [sys.executable, __file__, "--load", "{}", "--clients", str(arguments.clients)]
    command += ["--format", arguments.format]
    options = ["--device", arguments.device, "--batch", str(arguments.batch), "--queue", str(2 * arguments.clients)]
    latencies: list[float] = []
    memory: list[float] = []
    with running(path, options) as address:
        command[command.index("{}")] = f"{address} {folder}"
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdin and clients.stdout

            def server() -> float:
                assert clients.stdin and clients.stdout
                started = read_metric(address, "process_cpu_seconds_total")
                print("round", file=clients.stdin, flush=True)
                seconds, *found = json.loads(clients.stdout.readline())
                processor["server"].append(read_metric(address, "process_cpu_seconds_total") - started)
                latencies.extend(found)
                memory.append(read_metric(address, "process_resident_memory_bytes"))
                return seconds

            seconds = alternate({"bare": bare, "server": server}, arguments.rounds)
            clients.stdin.close()
        batch = read_metric(address, "voc_seg_batch_size_sum") / read_metric(address, "voc_seg_batch_size_count")
    rate = {name: len(images) / float(np.median(found)) for name, found in seconds.items()}
    timed = latencies[len(images) :]  # without the first round
    work = {name: 1000 * float(np.median(found[1:])) / len(images) for name, found in processor.items()}
    half, most = np.percentile(timed, (50, 95)) * 1000
    print_table(
        f"{arguments.clients} clients, {len(images)} images a round, {arguments.rounds} rounds, {arguments.format}",
        ["side", "images/s", "of bare", "CPU ms/image", "p50, ms", "p95, ms", "mean batch", "memory, MB"],
        [
            ["bare", rate["bare"], 1.0, work["bare"], "", "", "", ""],
            ["server", rate["server"], ratio(seconds["server"], seconds["bare"]), work["server"], half, most, batch,
             f"{memory[0] / 1e6:.0f}, {memory[-1] / 1e6:.0f}"],
        ],
    )  # fmt: skip


@contextmanager
def running(path: Path, options: list[str]) -> Iterator[str]:
    """A server in a process of its own; its address."""
    command = [sys.executable, "-m", "voc_seg", "serve", "--model", str(path), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        address = next((found[1] for line in process.stderr if (found := re.search(r"http://(\S+)", line))), None)
        assert address, "the server has not started"
        yield address
        process.terminate()
        console.print(process.stderr.read().strip().splitlines()[-1], highlight=False)


def read_metric(address: str, name: str) -> float:
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def send_images(where: str, clients: int, kind: str) -> None:
    """Send all images once for each line of the input; print the seconds of the round and of each request."""
    address, folder = where.split(" ", 1)
    bodies = [multipart(path.read_bytes()) for path in sorted(Path(folder).glob("*.jpg"))]
    connections = [http.client.HTTPConnection(address) for _ in range(clients)]

    def send(connection: http.client.HTTPConnection, numbers: Iterator[int]) -> list[float]:
        seconds = []
        while (number := next(numbers)) < len(bodies):
            started = time.perf_counter()
            headers = {"Content-Type": "multipart/form-data; boundary=voc_seg"}
            connection.request("POST", f"/predict?format={kind}", bodies[number], headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            seconds.append(time.perf_counter() - started)
        return seconds

    with ThreadPoolExecutor(clients) as threads:
        for _ in sys.stdin:
            started = time.perf_counter()
            found = list(threads.map(send, connections, repeat(count())))
            seconds = time.perf_counter() - started
            sys.stdout.write(json.dumps([seconds, *chain.from_iterable(found)]) + "\n")
            sys.stdout.flush()


def multipart(content: bytes) -> bytes:
    head = b'--voc_seg\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\n\r\n'
    return head + content + b"\r\n--voc_seg--\r\n"


def save_scene(path: Path, number: int, images: int) -> Path:
    buffer = io.BytesIO()
    Image.fromarray(draw_scene(plan_split("train", images, 0)[number])[0]).save(buffer, "JPEG", quality=90)
    path.write_bytes(buffer.getvalue())
    return path


def save_untrained(path: Path) -> Path:
    import torch

    from voc_seg.config import EvaluationConfig, InferenceConfig, Parameters
    from voc_seg.engine.checkpoint import export_best_model
    from voc_seg.engine.preprocessing import settings_record
    from voc_seg.engine.resuming import run_fingerprint
    from voc_seg.models.registry import build_model
    from voc_seg.voc.classes import CLASS_NAMES, VOC_CLASSES

    parameters = Parameters()
    model = build_model(parameters.model, len(CLASS_NAMES))
    data = {"source": "sample", "images": 64, "val_images": 32, "ids": "", "val_ids": ""}
    best = export_best_model(model, run_fingerprint(CLASS_NAMES, parameters, data), 1, 0.0)
    torch.save(best | settings_record(InferenceConfig(), EvaluationConfig(), VOC_CLASSES), path)
    return path


if __name__ == "__main__":
    main()
