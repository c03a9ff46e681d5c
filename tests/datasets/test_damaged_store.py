"""A damaged packed store either returns the right samples or reports the damage and is repaired."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = """
import os, random, shutil, sys
from pathlib import Path
import numpy as np
import pandas as pd
import voc_seg.system.atomic
from voc_seg.datasets import SampleStoreDataset
from voc_seg.system.errors import VocSegError
from voc_seg.samples.store import Origin, Sample
from voc_seg.voc.index import fingerprint_of

voc_seg.system.atomic.sync_file = lambda path: None  # thousands of files, and no test crashes the machine
base, shard_images = Path(sys.argv[1]), int(sys.argv[2])
numbers = np.random.default_rng(0)
SAMPLES = [  # the first two shards have one size
    Sample(f"s{n}", numbers.integers(0, 255, (3, w, 3), np.uint8), numbers.integers(0, 3, (3, w)).astype(np.uint8))
    for n, w in enumerate((4, 4, 4, 4, 5))
]
index = base.parent / "index.parquet"
rows = pd.DataFrame({"image_id": [s.id for s in SAMPLES], "rejected": "", "fingerprint": list("abcde")})
rows.to_parquet(index)

class Samples(list):
    nbytes = 0

    @property
    def origin(self):
        part = rows[rows["image_id"].isin([sample.id for sample in self])]
        return Origin("own", "/images", ("background", "cat", "dog"), fingerprint_of(part), "data.values={}")

    def split_into_shards(self):
        return [Samples(self[n : n + shard_images]) for n in range(0, len(self), shard_images)]

dataset = SampleStoreDataset(filepath=str(base / "a.arrow"), source="own", index={"filepath": str(index)})
dataset.save(Samples(SAMPLES))

def require_same():
    store = dataset.load()
    assert store.origin == Samples(SAMPLES).origin
    assert store.ids == [sample.id for sample in SAMPLES] and len(store) == len(SAMPLES)
    for read, written in zip(store, SAMPLES):
        assert read.id == written.id
        assert np.array_equal(read.image, written.image) and np.array_equal(read.mask, written.mask)

def restore():
    shutil.rmtree(base)
    for path, content in whole.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

def put(path, content):
    path.write_bytes(content)

def replace(path, make):
    path.unlink()
    make(path)

def swap(path, other):
    path.write_bytes(whole[other])
    other.write_bytes(whole[path])

def flip(content, place, bit):
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]

require_same()
whole = {path: path.read_bytes() for path in base.rglob("*") if path.is_file() and path.suffix != ".lock"}
kinds, anywhere = [], []
for path, content in whole.items():
    kinds += [(replace, path, make) for make in (
        lambda path: None,
        Path.mkdir,
        lambda path: (path.mkdir(), (path / "mine").write_text("")),
        lambda path: path.symlink_to(base / "nowhere" / "file"),
    )]
    kinds += [(put, path, content + extra) for extra in (b"0", bytes(1000), content)]
    kinds += [(replace, path, os.mkfifo)] if hasattr(os, "mkfifo") else []
    kinds += [(swap, path, other) for other in whole if other < path]
    anywhere += [(put, path, flip(content, place, bit)) for place in range(len(content)) for bit in (1, 128, 255)]
    anywhere += [(put, path, content[:place]) for place in range(0, len(content), 8)]
    zeroed = lambda n: content[:n] + bytes(len(content[n : n + 8])) + content[n + 8 :]
    anywhere += [(put, path, zeroed(n)) for n in range(0, len(content), 8)]
if (base / "a.shards").exists():
    kinds.append((lambda path, _: (shutil.rmtree(path), path.write_text("")), base / "a.shards", None))
found = 0
for number, (change, path, argument) in enumerate(kinds + random.Random(0).sample(anywhere, int(sys.argv[3]))):
    restore()
    change(path, argument)
    case = (number, path, str(argument)[:80])
    try:
        require_same()
    except Exception as error:
        assert isinstance(error.__cause__, VocSegError), (case, repr(error))
        text = str(error.__cause__)
        assert str(base) in text and "kedro run --pipelines data_processing" in text, (case, text)
        found += 1
    try:
        dataset.save(Samples(SAMPLES))
        require_same()
    except Exception as error:
        raise SystemExit(f"not repaired: {case} {error!r} {error.__cause__!r}")
assert found > len(kinds) // 2, found
"""


@pytest.mark.parametrize("shard_images", [2, 100])
def test_damage_to_any_file_is_noticed_and_repaired(tmp_path: Path, shard_images: int) -> None:
    command = [sys.executable, "-c", FUZZ, tmp_path / "05_model_input", str(shard_images), "12"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
