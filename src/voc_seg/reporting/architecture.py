"""A diagram of the network: encoder down the left, decoder up the right, skip connections between them."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from voc_seg.config import ModelConfig, ModelInput
from voc_seg.models.encoder import Encoder, count_parameters
from voc_seg.models.segmentation_net import SegmentationNet, bare_model

from .style import BLUE, GREY, HEADROOM, INK, LABEL, MUTED, ORANGE, SMALL, new_figure, set_title

# In inches: size of a box, and distance between the corners of neighbouring boxes.
_WIDE, _TALL = 2.3, 0.62
_ACROSS, _DOWN = 3.15, 0.95


@dataclass(frozen=True)
class Box:
    """One box of the diagram: name, output shape and position (column from the left, row from the top).

    ``sources`` are the keys of the boxes whose output it takes, ``skips`` those of encoder stages that join them.
    """

    name: str
    output: str
    column: int
    row: int
    parameters: int | None = None
    sources: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    training_only: bool = False


def network_boxes(model: SegmentationNet, config: ModelConfig) -> dict[str, Box]:
    """The boxes of a network by key, in the order of the forward pass; encoder stages are the rows."""
    encoder, parts = model.encoder, model.decoder.parts()
    boxes = {"image": Box("image", f"{model.model_input.channels} x H x W", 0, 0)} | _encoder_boxes(encoder, config)
    last = f"stage{encoder.first_stage + len(encoder.strides) - 1}"
    row_of = {stride: boxes[key].row for key, stride in reversed(list(zip(_stage_keys(encoder), encoder.strides)))}
    before = None
    for number, part in enumerate(parts, start=1):
        ends = number == len(parts) > 1
        coarsest = number == 1 and part.stride == encoder.strides[-1] and len(parts) > 1
        row = boxes[last].row if coarsest else row_of[part.stride]
        sources: tuple[str, ...] = (before or last,)
        skips = tuple(f"stage{stage}" for stage in part.stages)
        if last in skips:  # maps of equal standing
            sources, skips = skips, ()
        before = f"decoder{number}"
        output = _shape(part.channels, part.stride)
        boxes[before] = Box(part.name, output, 2 if ends else 1, row, part.parameters, sources, skips)
    classes = model.decoder.classify.out_channels
    column = boxes[before].column if before else 1
    boxes["scores"] = Box("class scores, bilinear", f"{classes} x H x W", column, 0, None, (before or last,))
    if head := model.auxiliary:
        boxes["auxiliary"] = Box(
            "auxiliary, only in training", _shape(classes, head.stride), 1, boxes[last].row + 1, count_parameters(head),
            (f"stage{head.stage}",), training_only=True,
        )  # fmt: skip
    return boxes


def _stage_keys(encoder: Encoder) -> list[str]:
    return [f"stage{encoder.first_stage + index}" for index in range(len(encoder.strides))]


def _encoder_boxes(encoder: Encoder, config: ModelConfig) -> dict[str, Box]:
    """A box for each feature map. Parameters are shown with the maps, or in one box where they cannot be assigned."""
    groups, keys = encoder.stages(), _stage_keys(encoder)
    boxes: dict[str, Box] = {}
    surplus = len(groups) - len(keys)
    sizes: list[int | None] = [None] * len(keys)
    before, row = "image", 1
    if surplus in (0, 1):  # the first map takes the stem as well
        parts = [[module for group in groups[: surplus + 1] for module in group], *groups[surplus + 1 :]]
        sizes = [_size(*modules) for modules in parts]
    else:
        boxes["encoder"] = Box(config.encoder, f"{len(groups)} blocks", 0, 1, count_parameters(encoder), ("image",))
        before, row = "encoder", 2
    for key, channels, stride, size in zip(keys, encoder.channels, encoder.strides, sizes):
        boxes[key] = Box(key.replace("stage", "stage "), _shape(channels, stride), 0, row, size, (before,))
        before, row = key, row + 1
    return boxes


def plot_network(config: ModelConfig, classes: int, channels: int = 3) -> Figure:
    """A diagram of the network of these settings and these numbers of classes and channels.

    Encoder, decoder and classifier are the columns, stages the rows; boxes show output shape and parameter count.
    """
    return draw_network(bare_model(config, classes, ModelInput((0.5,) * channels, (0.5,) * channels)), config)


def draw_network(model: SegmentationNet, config: ModelConfig) -> Figure:
    """A diagram of a network of these settings."""
    boxes = network_boxes(model, config)
    columns, rows = (max(getattr(box, axis) for box in boxes.values()) for axis in ("column", "row"))
    width, height = columns * _ACROSS + _WIDE + 0.3, HEADROOM + rows * _DOWN + _TALL + 0.25
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for box in boxes.values():
        _draw_box(axes, box)
        for source in box.sources:
            _draw_arrow(axes, boxes[source], box)
        for source in box.skips:
            _draw_arrow(axes, boxes[source], box, "1x1")
    decoder = f"{config.decoder} decoder"
    if "width" in model.decoder.settings:
        decoder += f", {config.width} channels wide"
    set_title(
        figure,
        f"SegmentationNet, {count_parameters(model) / 1e6:.1f} M parameters",
        f"{config.encoder} from {Path(config.weights or 'scratch').name}, {decoder}",
    )
    return figure


def _shape(channels: int, stride: int) -> str:
    return f"{channels} x H/{stride} x W/{stride}"


def _size(*modules: nn.Module) -> int:
    return sum(map(count_parameters, modules))


def _readable(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 5000 else f"{count / 1e3:.1f} k"


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
                linestyle="--" if box.training_only else "-",
            )
        )  # fmt: skip
    axes.text(left + 0.12, top + 0.2, box.name, va="center", fontsize=LABEL, color=INK, fontweight="bold")
    size = "" if box.parameters is None else f",  {_readable(box.parameters)}"
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
    axes.annotate(
        "", end, start,
        arrowprops={
            "arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11,
            "linestyle": "--" if target.training_only else "-",
        },
    )  # fmt: skip
    if label:  # above the arrow; beside its start if it falls or rises
        along = 0.5 if start[1] == end[1] else 0.25
        x = start[0] + along * (end[0] - start[0])
        axes.text(x, start[1] - 0.09, label, ha="center", fontsize=SMALL, color=MUTED)
