"""Facts about every image and mask, each file read once: sizes, stored values, colours, digests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import printable
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import voc_palette
from voc_seg.voc.decode_memory import allow_large_images, hold_decode_memory
from voc_seg.voc.duplicates import perceptual_hash
from voc_seg.voc.file_checks import read_image_file, short_name
from voc_seg.voc.images import decode_dataset_image, orientation
from voc_seg.voc.mask_colours import pack_rgb, unpack_rgb
from voc_seg.voc.mask_modes import require_lossless, require_opaque, single_channel
from voc_seg.voc.mask_values import count_values
from voc_seg.voc.masks import grey_indices
from voc_seg.voc.pixel_format import RGB, PixelFormat, displayed

from .image_ids import image_ids
from .layout import Colour, Found, LabelledImage
from .traits import Traits, examine

MAX_COLOURS = 256
"""Number of colours of one mask that are counted; more than that is a photograph, or blurred borders."""


@dataclass(frozen=True)
class PairFacts:
    """One image and its mask."""

    image_id: str
    source: LabelledImage  # a drawn mask has its file as `mask` if masks are kept
    problem: str = ""  # why the pair cannot be used; the fields below may then be empty
    size: tuple[int, int] = (0, 0)  # height and width of the image as stored
    mask_size: tuple[int, int] = (0, 0)
    orientation: int = 1  # EXIF orientation of the image, 1 to 8
    mask_mode: str = ""  # Pillow's mode of the mask file; "drawn" for polygons and RLE
    values: Mapping[int, int] = field(default_factory=dict)  # pixels by stored value; empty for masks in colours
    palette: Mapping[int, Colour] = field(default_factory=dict)  # colour by stored value, for palette masks
    colours: Mapping[Colour, int] = field(default_factory=dict)  # pixels by colour, for RGB masks
    image_digest: str = ""  # of the decoded pixels: equal for identical images
    mask_digest: str = ""
    image_hash: int = 0  # perceptual, see `perceptual_hash`; 0 for a flat image
    traits: Traits = field(default_factory=Traits)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width of the image with its EXIF orientation applied."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@dataclass(frozen=True)
class StoredMask:
    """A mask as its file stores it, before values or colours have a meaning."""

    mode: str
    values: np.ndarray | None = None  # ``uint8 (H, W)``; None for colours
    colours: np.ndarray | None = None  # ``uint8 (H, W, 3)``
    palette: Mapping[int, Colour] = field(default_factory=dict)  # by value in use

    @property
    def pixels(self) -> np.ndarray:
        """Values or colours, whichever it holds."""
        pixels = self.values if self.values is not None else self.colours
        assert pixels is not None
        return pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_stored_mask(path: Path) -> StoredMask:
    """Read a mask file without interpreting it.

    Three equal channels count as values. Raises VocSegError as `voc_seg.voc.masks.decode_mask` does for files that
    can hold no labels: JPEG, several pages, transparency, values above 255.
    """
    return read_image_file(path, "mask", partial(_stored, path))


def _stored(path: Path, image: ImageFile.ImageFile) -> StoredMask:
    name = short_name(path)
    require_lossless(image, name)
    if image.mode == "L":
        return StoredMask("L", grey_indices(image))
    if image.mode == "P":
        values = np.array(image)
        listed = image.getpalette("RGB") or []
        palette = [(red, green, blue) for red, green, blue in zip(listed[::3], listed[1::3], listed[2::3])]
        used = np.flatnonzero(count_values(values)).tolist()
        return StoredMask("P", values, palette={one: palette[one] for one in used if one < len(palette)})
    if image.mode in ("RGB", "RGBA"):
        require_opaque(image, name)
        colours = np.array(image.convert("RGB"))
        if (colours == colours[..., :1]).all():
            return StoredMask(image.mode, colours[..., 0])
        return StoredMask(image.mode, colours=colours)
    if (found := single_channel(image, name)) is not None:
        return StoredMask(image.mode, found[0])
    raise VocSegError(f"mask mode: {name} is {image.mode}, not palette (P), 8-bit grey (L) or RGB")


def inspect_pairs(
    found: Found, masks: Path | None = None, kept: Path | None = None, pixels: PixelFormat = RGB
) -> tuple[PairFacts, ...]:
    """Read every image and mask.

    Args:
        found: The images.
        masks: Folder to which drawn masks are written as palette PNGs named by image id; None does not keep them.
        kept: Folder in which these masks will be found, if not ``masks``.
        pixels: Channels of the images and range of their values.
    """
    ids = image_ids([one.name or str(one.image) for one in found.images])
    read = partial(_inspect, found, masks, kept or masks, pixels)
    with allow_large_images(), progress_bar("reading images and masks", len(ids)) as advance:
        facts = []
        for one in parallel_map(read, zip(ids, found.images)):
            facts.append(one)
            advance(1)
    return tuple(facts)


@hold_decode_memory()
def _inspect(
    found: Found, masks: Path | None, kept: Path | None, pixels: PixelFormat, item: tuple[str, LabelledImage]
) -> PairFacts:
    image_id, source = item
    facts = PairFacts(image_id, source)
    try:
        if not is_utf8(source):
            raise VocSegError(f"name that is not UTF-8: {source.image} or its mask; rename it, also its folders")
        image = decode_dataset_image(source.image, pixels)
        facts = replace(facts, size=image.shape[:2], orientation=orientation(source.image), image_digest=_digest(image))
        shown = displayed(image)
        facts = replace(facts, image_hash=perceptual_hash(shown))
        if source.mask is not None:
            mask = read_stored_mask(source.mask)
        else:
            assert found.draw is not None
            drawn = found.draw(source)
            mask = StoredMask("drawn", drawn)
            if masks is not None:
                assert kept is not None
                _write_mask(masks / f"{image_id}.png", drawn)
                facts = replace(facts, source=replace(source, mask=kept / f"{image_id}.png"))
        traits = examine(source.image, shown, facts.orientation, mask.pixels)
        facts = replace(facts, mask_size=mask.size, mask_mode=mask.mode, palette=mask.palette, traits=traits)
        return _count(facts, mask)
    except VocSegError as error:
        return replace(facts, problem=printable(str(error)))
    except Exception as error:  # one damaged file must not stop the others
        return replace(facts, problem=printable(f"unreadable: {short_name(source.image)} or its mask ({error!r})"))


def is_utf8(source: LabelledImage) -> bool:
    """Return whether tables can hold the paths of an image and its mask; names in old archives are not UTF-8."""
    try:
        return all(str(path).encode() for path in (source.image, source.mask))
    except UnicodeEncodeError:
        return False


def _count(facts: PairFacts, mask: StoredMask) -> PairFacts:
    if mask.values is not None:
        counts = count_values(mask.values)
        used = np.flatnonzero(counts).tolist()
        return replace(facts, values={one: int(counts[one]) for one in used}, mask_digest=_digest(mask.values))
    assert mask.colours is not None
    codes, counts = np.unique(pack_rgb(mask.colours), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_COLOURS]
    shown = {unpack_rgb(code): int(n) for code, n in zip(codes[order], counts[order])}
    problem = ""
    if len(codes) > MAX_COLOURS:
        problem = (
            f"mask of {len(codes)} colours: {short_name(facts.source.mask or facts.source.image)} looks like a "
            "photograph, or has blurred borders; save masks without anti-aliasing and lossy compression"
        )
    return replace(facts, colours=shown, mask_digest=_digest(mask.colours), problem=problem)


def _write_mask(path: Path, indices: np.ndarray) -> None:
    image = Image.fromarray(indices)
    image.putpalette(voc_palette().tobytes())
    image.save(path)


def _digest(pixels: np.ndarray) -> str:
    return hashlib.blake2b(pixels.tobytes(), digest_size=12, key=repr(pixels.shape).encode()).hexdigest()
