"""The network as a drawing in Mermaid's language, for whoever would rather look than read."""

from collections.abc import Iterator

from torch import nn

from voc_seg.config import ModelConfig

from .encoder import count_parameters
from .registry import bare_model
from .segmentation_net import SegmentationNet


def draw_network(config: ModelConfig, classes: int) -> str:
    """A flowchart of the encoder's stages, the skips and the decoder with channels, strides and parameters.

    Args:
        config: The network.
        classes: Number of classes.

    Returns:
        Text that Mermaid draws.
    """
    model = bare_model(config, classes)
    return "\n".join(["flowchart TB", *_encoder(config, model), *_decoder(config, model)])


def _encoder(config: ModelConfig, model: SegmentationNet) -> Iterator[str]:
    yield _box("picture", "picture", "3 channels, H x W")
    encoder, before = model.encoder, "picture"
    names = ["7x7 convolution", *(f"residual blocks {number}" for number in range(1, 5))]
    yield f'subgraph encoder ["{config.encoder}, {config.weights or "from scratch"}"]'
    for number, modules in enumerate(encoder.stages(), start=1):
        shape = f"{encoder.channels[number - 1]} channels, stride {encoder.strides[number - 1]}"
        yield _box(f"stage{number}", f"stage {number}: {names[number - 1]}", shape, _size(*modules))
        yield f"{before} --> stage{number}"
        before = f"stage{number}"
    yield "end"


def _decoder(config: ModelConfig, model: SegmentationNet) -> Iterator[str]:
    decoder, width = model.decoder, config.width
    context = {"pyramid": "pyramid pooling", "none": "1x1 convolution"}[config.context]
    yield f'subgraph decoder ["decoder, {width} channels wide"]'
    yield _box("context", context, f"{width} channels, stride {decoder.stride}", _size(decoder.context))
    yield "stage5 --> context"
    before, stride = "context", decoder.stride
    if stride in decoder.stage_of:  # output stride 16: the context has a skip beside it
        yield f"stage{decoder.stage_of[stride]} -->|1x1| context"
    for number, upsample in enumerate(decoder.upsample, start=1):
        stride //= 2
        stage = decoder.stage_of.get(stride)
        what = "transposed convolution" if stage is None else "transposed convolution + skip"
        skip = [] if stage is None else [decoder.skips[str(stage)]]
        yield _box(f"up{number}", what, f"{width} channels, stride {stride}", _size(upsample, *skip))
        yield f"{before} --> up{number}"
        if stage is not None:
            yield f"stage{stage} -->|1x1| up{number}"
        before = f"up{number}"
    yield _box("fuse", "3x3 convolution", f"{width // 2} channels, stride {stride}", _size(decoder.fuse))
    yield f"{before} --> fuse"
    yield _box("classify", "1x1 convolution", f"{decoder.classify.out_channels} classes", _size(decoder.classify))
    yield "fuse --> classify"
    yield "end"
    yield _box("scores", "class scores, enlarged", f"{decoder.classify.out_channels} channels, H x W")
    yield "classify --> scores"


def _box(name: str, *lines: str) -> str:
    return f'{name}["{"<br/>".join(line for line in lines if line)}"]'


def _size(*modules: nn.Module) -> str:
    return f"{sum(map(count_parameters, modules)) / 1e6:.2f} M parameters"
