"""Minutes of training until val mIoU reaches a target: this project's network against smp's DeepLabV3Plus and Unet.

    python benchmarks/time_to_quality.py --voc-root PATH --weights resnet50.safetensors \
        [--networks ours deeplabv3plus unet] [--target 0.40] [--epochs 8] [--minutes 60] [--threads N] [--out FILE] \
        [--device auto]
    python benchmarks/time_to_quality.py --voc-root PATH --weights lite0.safetensors --encoder lite0 --budget 10

With ``--budget`` each network is trained for these minutes (``training.minutes``, which fits the schedule to its speed)
and scored once, at the end. ``--encoder lite0`` trains all of them with the settings of ``conf/voc2012_fast``; the
encoder of the peers is then timm's tf_efficientnet_lite0, too.

Everything except the network is the same: `voc_seg.engine.training.fit` with the settings below, ImageNet weights,
data, crops and their order, precision (auto), and validation on the whole val split, without ``--budget`` after every
epoch. The peers are those of segmentation_models_pytorch with default decoders; only the strides of a ResNet are placed
where its weights were trained (``stride_in_1x1``).

Time includes validation; reading its score waits for the device. CPU time is also given: with one thread it hardly
depends on other work on the machine.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from measuring import add_device, console, describe_machine, print_table, read_recipe
from torch import Tensor, nn
from torch.nn import functional

from voc_seg.config import ModelConfig, ModelInput, Parameters
from voc_seg.config.model_input import RGB_INPUT
from voc_seg.engine import run
from voc_seg.engine.training import fit
from voc_seg.models.encoder import RGB_CHANNELS, Encoder, ResNetEncoder, count_parameters
from voc_seg.models.encoders import build_encoder
from voc_seg.models.initial_weights import load_initial_weights
from voc_seg.models.registry import build_model
from voc_seg.samples.decoded import DecodedSamples
from voc_seg.samples.store import SampleStore, write_store
from voc_seg.voc.classes import CLASS_NAMES
from voc_seg.voc.splits import find_voc_folder, read_split

RECIPE = {
    "augmentation": {"crop_size": 160, "scale": [0.35, 0.75], "colour_jitter": 0.2},
    "training": {
        "batch_size": 4,
        "frozen_stages": 2,
        "freeze_batch_norm": True,
        "optimizer": {"learning_rate": 0.01, "encoder_factor": 0.05},
    },
    "evaluation": {"scale": 0.5},
}

LITE0 = read_recipe("voc2012_fast")


class Peer(nn.Module):
    """A network of segmentation_models_pytorch that `fit` can train: any image size, stages that can be frozen."""

    def __init__(self, network: nn.Module, config: ModelConfig, model_input: ModelInput) -> None:
        super().__init__()
        self.model_input = model_input
        # This project's encoder with its weights instead of smp's; both are torchvision's ResNet, or timm's network.
        self.encoder: Encoder = (
            build_encoder(config.model_copy(update={"output_stride": network.encoder.output_stride}), RGB_CHANNELS)
            if config.timm_name
            else _SharedEncoder(network.encoder, config)
        )
        load_initial_weights(self, config)
        network.encoder = None
        self.decoder = nn.ModuleDict({"decoder": network.decoder, "head": network.segmentation_head})

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % 32, 0, -height % 32))
        maps = self.decoder["decoder"]([padded, *self.encoder(padded)])
        return self.decoder["head"](maps)[..., :height, :width]


class _SharedEncoder(ResNetEncoder):
    def __init__(self, peer: nn.Module, config: ModelConfig) -> None:
        super().__init__(config.encoder, stride_in_1x1=config.stride_in_1x1)
        if peer.output_stride == 16:  # as in smp: strides and dilations of every convolution of the stage
            for module in self.layer4.modules():
                if isinstance(module, nn.Conv2d):
                    module.stride = (1, 1)
                    kernel = module.kernel_size[0]
                    module.dilation, module.padding = (2, 2), ((kernel // 2) * 2,) * 2


def build_peer(name: str, config: ModelConfig, model_input: ModelInput = RGB_INPUT) -> nn.Module:
    import segmentation_models_pytorch as smp

    encoder = f"tu-{config.timm_name}" if config.timm_name else config.encoder
    network = {"deeplabv3plus": smp.DeepLabV3Plus, "unet": smp.Unet}[name](
        encoder, encoder_weights=None, classes=len(CLASS_NAMES)
    )
    return Peer(network, config, model_input).to(memory_format=torch.channels_last)


def race(
    name: str, train: SampleStore, val: SampleStore, parameters: Parameters, target: float, minutes: float
) -> list[list[object]]:
    """Yield epoch, val mIoU, wall and CPU minutes until the target or the time limit is reached."""

    def build(config: ModelConfig, classes: int, model_input: ModelInput, *given: Any) -> nn.Module:
        ours = name == "ours"
        model = build_model(config, classes, model_input, *given) if ours else build_peer(name, config, model_input)
        console.print(f"{name}: {count_parameters(model) / 1e6:.1f} M parameters", highlight=False)
        return model

    run.build_model = build
    rows, started, cpu = [], time.perf_counter(), time.process_time()
    for report in fit(train, val, CLASS_NAMES, parameters):
        if len(report.history) == len(rows):
            continue  # a checkpoint within an epoch
        row = report.history[-1]
        wall = (time.perf_counter() - started) / 60
        rows.append([name, row["epoch"], row["val_miou"], wall, (time.process_time() - cpu) / 60, row["train_loss"]])
        console.print(*(f"{value:.3f}" if isinstance(value, float) else value for value in rows[-1]), highlight=False)
        if row["val_miou"] is not None and (row["val_miou"] >= target or wall > minutes):
            break
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=["ours", "deeplabv3plus", "unet"])
    parser.add_argument("--target", type=float, default=0.40)
    parser.add_argument("--epochs", type=int, default=8, help="length of the schedule; training stops at the target")
    parser.add_argument("--minutes", type=float, default=60, help="time limit for each network")
    parser.add_argument("--budget", type=float, help="train for these minutes, and score once at the end")
    parser.add_argument("--encoder", choices=["resnet50", "lite0"], default="resnet50")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packed", type=Path, default=Path("data/05_model_input"))
    parser.add_argument("--out", type=Path, help="file for a table of all epochs")
    add_device(parser)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder = find_voc_folder(arguments.voc_root, "2012")
    stores = []
    for name in ("train", "val"):
        path = arguments.packed / f"quality_{'_'.join(arguments.networks)}_{name}.arrow"
        split = read_split(folder, "sample", name)
        write_store(path, DecodedSamples(split, split.ids))
        stores.append(SampleStore(path))
    # Width and skips of ours were chosen on a fifth of train (benchmarks/README.md).
    model = {"encoder": "resnet50", "stride_in_1x1": True, "width": 256, "skips": [3, 4]}
    chosen = RECIPE | {"model": model} if arguments.encoder == "resnet50" else LITE0
    length = {"epochs": arguments.epochs, "validate_every": 1}
    if arguments.budget:
        length = {"minutes": arguments.budget, "validate_every": 10_000}
    recipe = chosen | {
        "seed": arguments.seed,
        "runtime": {"device": arguments.device},
        "training": chosen["training"] | length,
        "model": chosen["model"] | {"weights": str(arguments.weights)},
    }
    describe_machine(arguments.device)
    parameters = Parameters.model_validate(recipe)
    columns = ["network", "epoch", "val mIoU", "minutes", "CPU minutes", "train loss"]
    rows, last = [], []
    for name in arguments.networks:
        target, minutes = (2.0, math.inf) if arguments.budget else (arguments.target, arguments.minutes)
        found = race(name, *stores, parameters, target, minutes)
        rows, last = rows + found, last + [found[-1]]
    until = f"after {arguments.budget} minutes" if arguments.budget else f"until val mIoU {arguments.target}"
    print_table(until, columns, last)
    if arguments.out:
        pd.DataFrame(rows, columns=columns).to_csv(arguments.out, index=False)
    for store in stores:
        store.path.unlink()


if __name__ == "__main__":
    main()
