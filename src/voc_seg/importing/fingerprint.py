"""Settings from the fingerprint of the data: its image sizes, object sizes, class names and number of images.

The idea is nnU-Net's (Isensee et al., Nature Methods 2021): simple rules, stated with their reasons, instead of a
search. The rules start from the recipe in ``conf/voc2012``, which fits photographs of 500 pixels: crops of 224 pixels,
batches of 4, learning rate 0.006 with ImageNet weights. Other images are brought to that scale. Training (the geometric
mean of ``augmentation.scale``), validation and inference (``evaluation.scale``, ``inference.longer_side``) then see
objects at the same size. The machine is not looked at, so the same data gets the same settings everywhere. Times are
those of two CPU cores with ResNet-18: 0.27 s for a step of four crops of 224 pixels.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .inspect import PairFacts
from .settings_text import Setting

_LONGER_SIDE = 512
"""Longer side for the network, as VOC's 500, a multiple of the coarsest stride, 32."""
_MAX_LONGER_SIDE = 2048
"""Longer side even for small objects: an image of 2048 x 1536 takes 13 MB packed, one of 12 megapixels 48 MB."""
_MIN_LONGER_SIDE = 240
"""Smaller images are enlarged to this, which has about 8 positions at stride 32."""
_ENLARGED = 1.25
"""Images up to this factor larger than wanted keep their size; random scales vary by as much."""
_OBJECT = 16
"""Pixels across that a typical object of the smallest class should have: two positions at stride 8, four at stride 4,
the finest that the decoder fuses (``model.skips: [2, 3, 4]``)."""
_USUAL_SHARE = 0.01
"""Share of the images that must have a class for its objects to count: a few stray pixels should not."""
_SCRATCH_SCALE = 0.5
"""Without pretrained weights: half the size, as the sample (``conf/base``), for a step costs a quarter."""
_LONGER_SIDE_TO_CROP = 2.25
"""As VOC with crops of 224 pixels."""
_MIN_CROP, _MAX_CROP = 128, {True: 320, False: 224}
"""With pretrained weights or not; a step with 320 pixels takes twice as long as with 224."""
_JITTER = 1.25
"""Random scales go from 1/1.25 to 1.25 of the mean, about as in the sample's settings."""
_STEPS = {True: 200, False: 250}
"""Steps with crops of 224 pixels, by the root of the number of images, with pretrained weights or not; smaller crops
get more of them. With pretrained weights, 24 images get 1,000 steps, 330 images 3,600 (the result in docs/results.md
took 2,310 with ResNet-50), and 10,582 images 20,600."""
_MAX_EPOCHS, _MIN_EPOCHS = 400, 5
_STEP_SECONDS = (0.08, 0.19)
"""Of a step of four crops: a constant part, and one that grows with the area of the crop, here of 224 pixels."""
_IMAGE_SECONDS = 0.12
"""Validation of one image with a longer side of 500 pixels."""
_VALIDATIONS = (3, 10)
_VALIDATION_SHARE = 1 / 3
_PRETRAINED = (
    Setting("training.freeze_batch_norm", True, "with small batches, the statistics of ImageNet are better"),
    Setting("training.optimizer.encoder_factor", 0.1, "the encoder is pretrained, and the decoder is not"),
)
"""With pretrained weights; measured in docs/results.md."""
_SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


def plan_settings(
    facts: Sequence[PairFacts],
    splits: Mapping[str, str],
    class_pixels: Mapping[str, Mapping[str, int]],
    names: Sequence[str],
    *,
    pretrained: bool,
) -> tuple[Setting, ...]:
    """Return the settings for a data set, in the order in which they are written.

    Args:
        facts: The images; those without a split are ignored.
        splits: Split by image id.
        class_pixels: Pixels by class name, by image id.
        names: Class names by index; the first one is the background.
        pretrained: Whether ImageNet weights for ResNet-18 are at hand or can be downloaded.
    """
    data = _Data.of(facts, splits, class_pixels, names)
    return (*_size_settings(data, pretrained), *_training_settings(data, pretrained))


@dataclass(frozen=True)
class _Data:
    """The fingerprint."""

    sizes: np.ndarray  # ``int (N, 2)``: shorter and longer side
    train: int
    val: int
    objects: Mapping[str, float]  # by class but the background: see `_object_sizes`
    names: Sequence[str]

    @classmethod
    def of(
        cls,
        facts: Sequence[PairFacts],
        splits: Mapping[str, str],
        class_pixels: Mapping[str, Mapping[str, int]],
        names: Sequence[str],
    ) -> "_Data":
        used = [one for one in facts if one.image_id in splits and not one.problem]
        counts = [splits[one.image_id] for one in used]
        return cls(
            np.array([sorted(one.size) for one in used]), counts.count("train"), counts.count("val"),
            _object_sizes(used, class_pixels, names), names,
        )  # fmt: skip

    @cached_property
    def longer(self) -> int:
        """Median of the longer sides."""
        return int(np.median(self.sizes[:, 1]))

    @cached_property
    def shorter(self) -> int:
        """Median of the shorter sides."""
        return int(np.median(self.sizes[:, 0]))

    @cached_property
    def smallest(self) -> tuple[str, float]:
        """The class with the smallest objects, and their size by the longer side; infinite without any."""
        return min(self.objects.items(), key=lambda pair: pair[1], default=("", math.inf))

    def for_objects(self, wanted: float) -> float:
        """The longer side, at least ``wanted``, at which the smallest objects are large enough."""
        return max(wanted, min(self.longer, _OBJECT / self.smallest[1]))

    def objects_at(self, side: float) -> str:
        name, size = self.smallest
        return f"{name} is then {size * side:.0f} px across"


def _object_sizes(
    used: Sequence[PairFacts], class_pixels: Mapping[str, Mapping[str, int]], names: Sequence[str]
) -> dict[str, float]:
    """The size of a class in an image, by class: the root of its pixels by the longer side, median over images.

    That is the size of an object where an image has one, and too large where it has several.
    """
    found: dict[str, list[float]] = {}
    for one in used:
        for name, pixels in class_pixels.get(one.image_id, {}).items():
            if pixels and name in names[1:]:
                found.setdefault(name, []).append(math.sqrt(pixels) / max(one.size))
    usual = {name: sizes for name, sizes in found.items() if len(sizes) >= max(2, _USUAL_SHARE * len(used))}
    return {name: float(np.median(sizes)) for name, sizes in sorted((usual or found).items())}


@dataclass(frozen=True)
class _Sizes:
    """How large images are when packed and in the network."""

    stored: int | None  # data.longer_side
    side: int  # longer side of a typical packed image
    scale: float  # evaluation.scale
    crop: int

    @classmethod
    def of(cls, data: _Data, pretrained: bool) -> "_Sizes":
        limit = _multiple(min(_MAX_LONGER_SIDE, data.for_objects(_LONGER_SIDE)))
        stored = limit if np.percentile(data.sizes[:, 1], 90) > _ENLARGED * limit else None
        side = min(data.longer, stored) if stored else data.longer
        wanted = side * (1 if pretrained else _SCRATCH_SCALE)
        wanted = max(min(data.for_objects(wanted), side), _MIN_LONGER_SIDE)
        scale = round(min(4.0, wanted / side), 2)
        shorter = max(64, 32 * math.ceil(scale * side * data.shorter / data.longer / 32))
        crop = min(max(_multiple(scale * side / _LONGER_SIDE_TO_CROP), _MIN_CROP), _MAX_CROP[pretrained], shorter)
        return cls(stored, side, scale, crop)


def _multiple(side: float) -> int:
    return max(64, 32 * round(side / 32))


def _size_settings(data: _Data, pretrained: bool) -> tuple[Setting, ...]:
    sizes = _Sizes.of(data, pretrained)
    settings = []
    if sizes.stored:
        why = f"images have {data.longer} x {data.shorter} px (median); "
        why += f"{data.objects_at(sizes.side)}" if sizes.stored > _LONGER_SIDE else "about VOC's size"
        settings.append(Setting("data.longer_side", sizes.stored, why))
    low, high = sizes.scale / _JITTER, sizes.scale * _JITTER
    low, high = (float(f"{one:.3g}") for one in (low, high))
    part = min(1.0, sizes.crop / sizes.scale / sizes.side) * min(
        1.0, sizes.crop / sizes.scale / (sizes.side * data.shorter / data.longer)
    )
    settings += [
        Setting("augmentation.crop_size", sizes.crop, f"shows {100 * part:.0f} % of an image at scale {sizes.scale:g}"),
        Setting("augmentation.scale", [low, high], f"a quarter more or less than evaluation.scale {sizes.scale:g}"),
        _flip(data),
        Setting("evaluation.scale", sizes.scale, _scale_reason(data, sizes, pretrained)),
    ]
    inference = sizes.stored or int(data.sizes[:, 1].max())
    why = "as data.longer_side, so that objects are as large as in training" if sizes.stored else (
        "the largest of these images: objects are as large as in training")  # fmt: skip
    return (*settings, Setting("inference.longer_side", max(32, inference), why))


def _scale_reason(data: _Data, sizes: _Sizes, pretrained: bool) -> str:
    side = round(sizes.scale * sizes.side)
    if sizes.scale > 1:
        return f"images are small: enlarged to {side} px"
    objects = f"; {data.objects_at(side)}" if data.smallest[0] else ""
    if sizes.scale == 1:
        return f"the packed size, {sizes.side} px{objects}"
    return f"{side} px: smaller and more steps from scratch{objects}"


def _flip(data: _Data) -> Setting:
    if sides := [name for name in data.names if _SIDES.search(name.replace("_", " "))]:
        return Setting("augmentation.flip", 0.0, f"a mirrored image would show {sides[0]} on the other side")
    return Setting("augmentation.flip", 0.5, "no class is named left or right, so images may be mirrored")


def _training_settings(data: _Data, pretrained: bool) -> tuple[Setting, ...]:
    sizes = _Sizes.of(data, pretrained)
    batch = min(4, max(1, data.train))
    per_epoch = math.ceil(data.train / batch)
    wanted = _STEPS[pretrained] * math.sqrt(data.train) * 224 / sizes.crop
    epochs = min(max(round(wanted / per_epoch), _MIN_EPOCHS), _MAX_EPOCHS)
    constant, area = _STEP_SECONDS
    step = constant + area * batch / 4 * (sizes.crop / 224) ** 2
    seconds = epochs * per_epoch * step
    validation = max(1, data.val) * _IMAGE_SECONDS * (sizes.scale * sizes.side / 500) ** 2
    low, high = _VALIDATIONS
    validations = int(min(max(_VALIDATION_SHARE * seconds / validation, low), high))
    every = max(1, round(epochs / validations))
    saved = min(max(1, round(60 / (per_epoch * step))), max(1, epochs // 4))
    rate = 0.006 if pretrained else 0.03
    return (
        Setting("model.weights", "imagenet" if pretrained else None, "pretrained weights from pytorch.org, 45 MB"
                if pretrained else "random, as imagenet could not be downloaded: online, delete this file and import"),
        Setting("training.batch_size", batch, "as in conf/voc2012" if batch == 4 else f"training images: {data.train}"),
        Setting("training.epochs", epochs, f"{epochs * per_epoch:,} steps for {data.train} training images, "
                f"{_duration(seconds)} on two cores"),
        Setting("training.validate_every", every, f"validations: {math.ceil(epochs / every)}, images: {data.val}"),
        Setting("training.optimizer.learning_rate", rate,
                "with ImageNet weights, as in conf/voc2012" if pretrained else "from scratch, as in conf/base"),
        *(_PRETRAINED if pretrained else ()),
        Setting("training.checkpoint.every_epochs", saved, f"every {_duration(saved * per_epoch * step)} on two cores"),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
