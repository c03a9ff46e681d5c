"""An exported network with everything around it: an image of any size in, its mask out.

Resizing, normalisation, the mirrored image, several scales, and the class of each pixel at the image's own size become
part of the ONNX graph, so there is nothing left to get wrong. They are those of `voc_seg.engine.inference`,
except that an image is never cut into tiles.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voc_seg.config.model_input import ModelInput

from .onnx_export import INPUT, OPSET, OUTPUT
from .onnx_resize import CONSTANTS, resize

if TYPE_CHECKING:
    import onnx

IMAGE, MASK = "image", "mask"
_STRIP = 2**18
"""Pixels of the image whose class scores exist at once: those of a photograph would take gigabytes."""


@dataclass(frozen=True)
class Processing:
    """What happens to an image before and after the network; see `voc_seg.engine.preprocessing.Preprocessing`.

    | field       | meaning                                                                  |
    |-------------|--------------------------------------------------------------------------|
    | scales      | factors on the size; of several the probabilities are averaged            |
    | flip        | whether logits are averaged with those of the mirrored image              |
    | image_size  | height and width every image is resized to; None keeps its own            |
    | longer_side | larger images are reduced to this                                         |
    """

    scales: Sequence[float]
    flip: bool
    image_size: tuple[int, int] | None
    longer_side: int | None


def to_masks(content: bytes, processing: Processing, model_input: ModelInput, classes: int) -> bytes:
    """The file of :func:`voc_seg.models.onnx_export.to_onnx` with processing.

    Args:
        content: Input ``images``, output ``logits``.
        processing: What to add.
        model_input: Mean and standard deviation of the channels.
        classes: Number of classes, up to 255.

    Returns:
        A file with the input ``image uint8 (height, width, C)``, upright, and the output ``mask uint8 (height,
        width)``. Its metadata is that of ``content``.
    """
    import onnx  # optional

    network = onnx.load_from_string(content)
    count = len(processing.scales)
    lines = [
        f'<ir_version: {network.ir_version}, opset_import: ["" : {OPSET}]>',
        f"masks (uint8[height, width, {model_input.channels}] {IMAGE}) => (uint8[height, width] {MASK}) {{",
        _BEFORE,
        *(_input_of_scale(number, processing, model_input) for number in range(count)),
        *(_scores_of_scale(number, processing) for number in range(count)),
        _strips(count, classes),
        "}",
    ]
    model = onnx.parser.parse_model("\n".join(lines))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        place = node.output[0].startswith(_NETWORK)
        model.graph.node.extend(_network_nodes(network.graph, node.input[0], node.output[0]) if place else [node])
    model.graph.initializer.extend(network.graph.initializer)
    model.metadata_props.extend(network.metadata_props)
    model.producer_name = "voc_seg"
    onnx.checker.check_model(model)
    return model.SerializeToString()


_NETWORK = "network_"
"""Beginning of the name of the logits: where a node has such an output, the network is put in."""


def _network_nodes(graph: "onnx.GraphProto", images: str, logits: str) -> list["onnx.NodeProto"]:
    """The nodes of the network between these two names; several copies share the weights."""
    shared = {one.name for one in graph.initializer}

    def renamed(name: str) -> str:
        return name if name in shared or not name else {INPUT: images, OUTPUT: logits}.get(name, f"{logits}/{name}")

    nodes = []
    for node in graph.node:
        copied = type(node)()
        copied.CopyFrom(node)
        copied.name = f"{logits}/{node.name}"
        copied.input[:] = [renamed(name) for name in node.input]
        copied.output[:] = [renamed(name) for name in node.output]
        nodes.append(copied)
    return nodes


_BEFORE = f"""
  stored_shape = Shape <start = 0, end = 2> ({IMAGE})
  channels_first = Transpose <perm = [2, 0, 1]> ({IMAGE})
  first_axis = Constant <value_ints = [0]> ()
  stored = Unsqueeze (channels_first, first_axis)
  height_width = Cast <to = 11> (stored_shape)
  exact_height, exact_width = Split <axis = 0, num_outputs = 2> (height_width)
  image_height, image_width = Split <axis = 0, num_outputs = 2> (stored_shape)
  half = Constant <value_float = 0.5> ()
  nothing = Constant <value_float = 0.0> ()
{CONSTANTS}
"""


def _input_of_scale(number: int, processing: Processing, model_input: ModelInput) -> str:
    """From the image to the network's input."""
    scale = processing.scales[number]
    if processing.image_size:
        size = "{" + ", ".join(str(max(1, round(length * scale))) for length in processing.image_size) + "}"
        wanted = f"size_{number} = Constant <value = int64[2] {size}> ()"
    else:
        longer = f"{float(processing.longer_side)!r}" if processing.longer_side else "1.0e300"
        wanted = f"""
  limit_{number} = Constant <value = double {{{longer}}}> ()
  longer_{number} = Max (exact_height, exact_width)
  share_{number} = Div (limit_{number}, longer_{number})
  reduction_{number} = Min (one_exact, share_{number})
  scale_{number} = Constant <value = double {{{float(scale)!r}}}> ()
  factor_{number} = Mul (scale_{number}, reduction_{number})
  exact_{number} = Mul (height_width, factor_{number})
  rounded_{number} = Round (exact_{number})
  wanted_{number} = Max (rounded_{number}, one_exact)
  size_{number} = Cast <to = 7> (wanted_{number})"""
    mean, factor = (
        _channels(255 * one for one in model_input.mean),
        _channels(1 / (255 * one) for one in model_input.std),
    )
    mirrored = f"""
  rightmost_{number} = Sub (width_{number}, one_pixel)
  from_{number} = Reshape (rightmost_{number}, scalar)
  minus_one_{number} = Constant <value_int = -1> ()
  mirrored_{number} = Range (from_{number}, minus_one_{number}, minus_one_{number})
  mirror_{number} = Gather <axis = 3> (normal_{number}, mirrored_{number})
  images_{number} = Concat <axis = 0> (normal_{number}, mirror_{number})"""
    return f"""
  {wanted}
  height_{number}, width_{number} = Split <axis = 0, num_outputs = 2> (size_{number})
  {resize(f"resized_{number}", "stored", ("image_height", "image_width"), (f"height_{number}", f"width_{number}"))}
  pixels_{number} = Cast <to = 1> (resized_{number})
  mean_{number} = Constant <value = float[1, {model_input.channels}, 1, 1] {mean}> ()
  factor_of_channel_{number} = Constant <value = float[1, {model_input.channels}, 1, 1] {factor}> ()
  centred_{number} = Sub (pixels_{number}, mean_{number})
  normal_{number} = Mul (centred_{number}, factor_of_channel_{number})
  {mirrored if processing.flip else f"images_{number} = Identity (normal_{number})"}
  {_NETWORK}{number} = Identity (images_{number})"""


def _channels(values: Iterable[float]) -> str:
    return "{" + ", ".join(f"{value:.9g}" for value in values) + "}"


def _scores_of_scale(number: int, processing: Processing) -> str:
    """The logits of one input ``(1, classes, h, w)``, averaged with those of the mirrored image."""
    if not processing.flip:
        return f"  scores_{number} = Identity ({_NETWORK}{number})"
    return f"""
  plain_{number}, turned_{number} = Split <axis = 0, num_outputs = 2> ({_NETWORK}{number})
  back_{number} = Gather <axis = 3> (turned_{number}, mirrored_{number})
  summed_{number} = Add (plain_{number}, back_{number})
  scores_{number} = Mul (summed_{number}, half)"""


def _strips(count: int, classes: int) -> str:
    """The mask, in strips of rows: logits between two of the network's rows, then between its columns, then argmax."""
    softmax = count > 1
    parts = []
    for number in range(count):
        parts.append(f"""
    size_of_scores_{number} = Shape <start = 2, end = 3> (scores_{number})
    rows_{number} = Cast <to = 1> (size_of_scores_{number})
    step_{number} = Div (rows_{number}, float_height)
    scaled_{number} = Mul (middle, step_{number})
    shifted_{number} = Sub (scaled_{number}, half)
    last_row_{number} = Sub (rows_{number}, float_one)
    within_{number} = Max (shifted_{number}, nothing)
    position_{number} = Min (within_{number}, last_row_{number})
    above_row_{number} = Floor (position_{number})
    next_row_{number} = Add (above_row_{number}, float_one)
    below_row_{number} = Min (next_row_{number}, last_row_{number})
    share_of_below_{number} = Sub (position_{number}, above_row_{number})
    weights_{number} = Unsqueeze (share_of_below_{number}, column_axis)
    above_index_{number} = Cast <to = 7> (above_row_{number})
    below_index_{number} = Cast <to = 7> (below_row_{number})
    above_{number} = Gather <axis = 2> (scores_{number}, above_index_{number})
    below_{number} = Gather <axis = 2> (scores_{number}, below_index_{number})
    difference_{number} = Sub (below_{number}, above_{number})
    weighted_{number} = Mul (difference_{number}, weights_{number})
    between_{number} = Add (above_{number}, weighted_{number})
    enlarged_{number} = Resize <mode = "linear"> (between_{number}, , , strip_shape)
    {"part" if softmax else "raw"}_{number} = {"Softmax <axis = 1>" if softmax else "Identity"} (enlarged_{number})""")
    total = (
        f"total = Sum ({', '.join(f'part_{number}' for number in range(count))})"
        if softmax
        else "total = Identity (raw_0)"
    )
    return f"""
  strip_pixels = Constant <value_ints = [{max(1, int(_STRIP / max(1.0, classes / 21)))}]> ()
  whole_one = Constant <value_ints = [1]> ()
  some_rows = Div (strip_pixels, image_width)
  at_least_one = Max (some_rows, whole_one)
  strip_rows = Min (at_least_one, image_height)
  almost = Add (image_height, strip_rows)
  before_last = Sub (almost, whole_one)
  strip_count = Div (before_last, strip_rows)
  float_height = Cast <to = 1> (image_height)
  float_one = Constant <value_float = 1.0> ()
  column_axis = Constant <value_ints = [1]> ()
  classes_of_strip = Constant <value_ints = [1, {classes}]> ()
  strip_shape = Concat <axis = 0> (classes_of_strip, strip_rows, image_width)
  trips = Reshape (strip_count, scalar)
  rows_of_strip = Reshape (strip_rows, scalar)
  offsets = Range (no_pixel, rows_of_strip, one_pixel)
  last_row = Sub (image_height, whole_one)
  strips = Loop (trips, keep_going) <body =
  strip (int64 index, bool so_far) => (bool further, uint8[rows, columns] strip_mask) {{
    further = Identity (so_far)
    first_row = Mul (index, rows_of_strip)
    unlimited = Add (offsets, first_row)
    image_rows = Min (unlimited, last_row)
    float_rows = Cast <to = 1> (image_rows)
    middle = Add (float_rows, half)
    {"".join(parts)}
    {total}
    best = ArgMax <axis = 1, keepdims = 0> (total)
    first = Squeeze (best, first_axis)
    strip_mask = Cast <to = 2> (first)
  }}>
  any_rows = Constant <value_ints = [-1]> ()
  flat_shape = Concat <axis = 0> (any_rows, image_width)
  flat = Reshape (strips, flat_shape)
  {MASK} = Slice (flat, first_axis, image_height, first_axis)"""
