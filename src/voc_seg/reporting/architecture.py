"""A diagram of the network: encoder down the left, decoder up the right, skip connections between them."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from voc_seg.config import ModelConfig, ModelInput
from voc_seg.models.encoder import count_parameters
from voc_seg.models.segmentation_net import SegmentationNet, bare_model

from .style import BLUE, GREY, HEADROOM, INK, LABEL, MUTED, ORANGE, SMALL, new_figure, set_title

# In inches: size of a box, and distance between the corners of neighbouring boxes.
_WIDE, _TALL = 2.15, 0.62
_ACROSS, _DOWN = 3.0, 0.95


@dataclass(frozen=True)
class Box:
    """One box of the diagram: name, output shape and position (column from the left, row from the top)."""

    name: str
    output: str
    column: int
    row: int
    parameters: int | None = None


def network_boxes(model: SegmentationNet, config: ModelConfig) -> dict[str, Box]:
    """The boxes of a network in the order of the forward pass; each row below the image has one stride, from 2."""
    encoder = model.encoder
    decoder: Any = model.decoder
    boxes = {"image": Box("image", f"{model.model_input.channels} x H x W", 0, 0)}
    for number, modules in enumerate(encoder.stages(), start=1):
        what = "7x7 convolution" if number == 1 else f"residual blocks {number - 1}"
        output = _shape(encoder.channels[number - 1], encoder.strides[number - 1])
        boxes[f"stage{number}"] = Box(f"{number}: {what}", output, 0, number, _size(*modules))
    context = {"pyramid": "pyramid pooling", "none": "1x1 convolution"}[config.context]
    skips = {stride: decoder.skips[str(stage)] for stride, stage in decoder.stage_of.items()}
    skip = [skips[decoder.stride]] if decoder.stride in skips else []
    boxes["context"] = Box(context, _shape(config.width, decoder.stride), 1, 5, _size(decoder.context, *skip))
    row, stride = encoder.strides.index(decoder.stride) + 1, decoder.stride
    for number, upsample in enumerate(decoder.upsample, start=1):
        row, stride = row - 1, stride // 2
        what = "transposed conv. + skip" if stride in skips else "transposed convolution"
        skip = [skips[stride]] if stride in skips else []
        boxes[f"up{number}"] = Box(what, _shape(config.width, stride), 1, row, _size(upsample, *skip))
    classes = decoder.classify.out_channels
    boxes["classify"] = Box(
        f"3x3 to {config.width // 2}, 1x1 to {classes}", _shape(classes, stride), 2, row,
        _size(decoder.fuse, decoder.classify),
    )  # fmt: skip
    boxes["scores"] = Box("class scores, bilinear", f"{classes} x H x W", 2, 0)
    return boxes


def plot_network(config: ModelConfig, classes: int, channels: int = 3) -> Figure:
    """A diagram of the network of these settings and these numbers of classes and channels.

    Encoder, decoder and classifier are the columns, strides the rows; boxes show output shape and parameter count.
    """
    model = bare_model(config, classes, ModelInput((0.5,) * channels, (0.5,) * channels))
    boxes = network_boxes(model, config)
    width, height = 2 * _ACROSS + _WIDE + 0.3, HEADROOM + 5 * _DOWN + _TALL + 0.25
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for box in boxes.values():
        _draw_box(axes, box)
    names = list(boxes)
    for before, after in pairwise(names):
        _draw_arrow(axes, boxes[before], boxes[after])
    for stage in config.skips:
        stride = model.encoder.strides[stage - 1]
        target = next(box for box in boxes.values() if box.column == 1 and box.output.endswith(f"/{stride}"))
        _draw_arrow(axes, boxes[f"stage{stage}"], target, "1x1")
    set_title(
        figure,
        f"SegmentationNet, {count_parameters(model) / 1e6:.1f} M parameters",
        f"{config.encoder} from {Path(config.weights or 'scratch').name}, decoder {config.width} channels wide",
    )
    return figure


def _shape(channels: int, stride: int) -> str:
    return f"{channels} x H/{stride} x W/{stride}"


def _size(*modules: nn.Module) -> int:
    return sum(map(count_parameters, modules))


def _corner(box: Box) -> tuple[float, float]:
    return 0.15 + box.column * _ACROSS, HEADROOM + 0.1 + box.row * _DOWN


def _draw_box(axes: Axes, box: Box) -> None:
    left, top = _corner(box)
    colour = {0: BLUE, 1: ORANGE, 2: ORANGE}[box.column] if box.parameters is not None else GREY
    for face, alpha in ((colour, 0.12), ("none", 1.0)):
        axes.add_patch(
            FancyBboxPatch(
                (left, top), _WIDE, _TALL, boxstyle="round,pad=0,rounding_size=0.07", facecolor=face,
                edgecolor="none" if alpha < 1 else colour, alpha=alpha, linewidth=1.2,
            )
        )  # fmt: skip
    axes.text(left + 0.12, top + 0.2, box.name, va="center", fontsize=LABEL, color=INK, fontweight="bold")
    size = "" if box.parameters is None else f",  {box.parameters / 1e6:.2f} M"
    axes.text(left + 0.12, top + 0.44, box.output + size, va="center", fontsize=SMALL, color=MUTED)


def _draw_arrow(axes: Axes, source: Box, target: Box, label: str = "") -> None:
    """Draw an arrow: vertical within a column, from right edge to left edge between two."""
    (left, top), (other_left, other_top) = _corner(source), _corner(target)
    if source.column == target.column:
        down = target.row > source.row
        start = (left + _WIDE / 2, top + _TALL if down else top)
        end = (other_left + _WIDE / 2, other_top if down else other_top + _TALL)
    else:
        start, end = (left + _WIDE, top + _TALL / 2), (other_left, other_top + _TALL / 2)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2, "shrinkA": 0,
                                              "shrinkB": 0, "mutation_scale": 11})  # fmt: skip
    if label:
        axes.text(
            (start[0] + end[0]) / 2, min(start[1], end[1]) - 0.09, label, ha="center", fontsize=SMALL, color=MUTED
        )
