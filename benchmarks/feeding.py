"""Training samples per second and core: crops out of the packed store against torchvision on JPEG and PNG.

    python benchmarks/feeding.py --voc-root PATH [--rounds 5] [--samples 200] [--device auto] [--options]

One thread, no loader processes, the same images for both: scale 0.9 to 1.1 (for torchvision after fitting into
375 x 500, so that portrait images cost it less), crop of 224, flip. With a GPU, batches are copied there; the packed
ones as uint8, normalised afterwards.

    packed        `voc_seg.samples`: window cut out of the memory-mapped image, resized, stacked, normalised
    with --options, packed also with each option of augmentation that is off by default
    torchvision   torchvision.io decodes JPEG and PNG; v2 transforms: ScaleJitter, RandomCrop, flip, normalise
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import add_device, alternate, describe_machine, print_table, ratio
from PIL import Image
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from voc_seg.config import AugmentationConfig, RuntimeConfig
from voc_seg.config.model_input import MEAN, STD
from voc_seg.engine.runtime import choose_runtime
from voc_seg.samples.batches import normalise, training_batches
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split

CROP, BATCH = 224, 8
OPTIONS: dict[str, dict[str, Any]] = {
    "colour_jitter=0.2": {"colour_jitter": 0.2},
    "strength=light": {"strength": "light"},
    "strength=standard": {"strength": "standard"},
    "strength=strong": {"strength": "strong"},
    "max_class_share=0.75": {"max_class_share": 0.75},
    "rare_crops=0.5": {"rare_crops": 0.5},
    "copy_paste=0.3": {"copy_paste": 0.3},
}


def packed(store: SampleStore, count: int, device: torch.device, options: dict[str, Any]) -> Callable[[], None]:
    config = AugmentationConfig(crop_size=CROP, scale=(0.9, 1.1), **options)
    batches = training_batches(store, config, BATCH, 0, range(10**6))  # counts the classes once, as in training

    def run() -> None:
        for _ in range(count // BATCH):
            batch = next(batches)
            normalise(batch.images.to(device)), batch.targets.to(device)

    return run


def torchvision_v2(split: VOCSplit, count: int, device: torch.device) -> Callable[[], None]:
    fill = {tv_tensors.Image: 124, tv_tensors.Mask: 255}
    transform = v2.Compose([
        v2.ScaleJitter((375, 500), scale_range=(0.9, 1.1), antialias=True),
        v2.RandomCrop(CROP, pad_if_needed=True, fill=fill),
        v2.RandomHorizontalFlip(),
        v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
        v2.Normalize(MEAN, STD),
    ])  # fmt: skip

    def sample(image_id: str) -> tuple[torch.Tensor, torch.Tensor]:
        image = decode_image(str(split.image_path(image_id)), ImageReadMode.RGB)
        # Pillow reads the palette indices, which torchvision would decode to colours.
        mask = v2.functional.pil_to_tensor(_indices(split.mask_path(image_id)))
        return transform(tv_tensors.Image(image), tv_tensors.Mask(mask[0]))

    def run() -> None:
        for start in range(0, count // BATCH * BATCH, BATCH):
            images, masks = zip(*map(sample, split.ids[start : start + BATCH]))
            torch.stack(images).to(device), torch.stack(masks).to(device)

    return run


def _indices(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=200, help="samples per variant and round")
    parser.add_argument("--options", action="store_true", help="measure the options of augmentation, too")
    add_device(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    split = read_split(find_voc_folder(arguments.voc_root, "2012"), "sample", "train")
    count = min(arguments.samples, len(split)) // BATCH * BATCH
    split = replace(split, ids=split.ids[:count])
    describe_machine(arguments.device)
    device = choose_runtime(RuntimeConfig(device=arguments.device)).device
    with tempfile.TemporaryDirectory(prefix="voc_seg_benchmark_") as folder:
        store = Path(folder) / "train.arrow"
        write_store(store, DecodedSamples(split, split.ids))
        sides = {
            "packed": packed(SampleStore(store), count, device, {}),
            **{name: packed(SampleStore(store), count, device, values)
               for name, values in OPTIONS.items() if arguments.options},
            "torchvision": torchvision_v2(split, count, device),
        }  # fmt: skip
        seconds = alternate(sides, arguments.rounds, device)
    rows = [[name, count / sorted(found)[len(found) // 2], ratio(seconds["packed"], found)]
            for name, found in seconds.items()]  # fmt: skip
    print_table("Feeding, one thread", ["side", "samples/s", "packed is quicker by"], rows)


if __name__ == "__main__":
    main()
