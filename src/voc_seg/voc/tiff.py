"""TIFF images of bands or sample formats that Pillow does not read; they need the extra ``tiff``."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from voc_seg.system.errors import VocSegError

from .decode_memory import decode_memory
from .file_checks import short_name
from .mask_modes import raw_mode
from .pixel_format import PixelFormat, require_channels, to_8_bits

_SUBFILE, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA = 254, 258, 262, 274, 277, 338
_CONVERTED = (5, 6, 8)  # CMYK, YCbCr, CIELab: colours in another form, not bands
_NOT_FULL = 0b101  # subfile types: a reduced image, a transparency mask
_ALPHA = (1, 2)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or a BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def band_count(path: Path) -> int:
    """Return the number of bands of a TIFF that has more than RGB and transparency; 3 for other images."""
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            tags = image.tag_v2  # type: ignore[attr-defined]
            samples, extra = tags.get(_SAMPLES, 1), np.ravel(tags.get(_EXTRA, 0))[0]
            is_known = samples <= 3 or tags.get(_PHOTOMETRIC) in _CONVERTED or (samples == 4 and extra in _ALPHA)
            return 3 if is_known else samples
    except Exception:  # Pillow does not open all of them, and reading the image reports what is wrong
        pass
    with suppress(Exception):
        import tifffile

        if is_tiff(path):
            with tifffile.TiffFile(path) as file:
                return max(3, file.pages.first.samplesperpixel)
    return 3


def tiff_bits(path: Path) -> int:
    """Bits per channel of a TIFF that `read_tiff` has read."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return file.pages.first.bitspersample


def pillow_loses_bands(image: ImageFile.ImageFile, pixels: PixelFormat, name: str) -> bool:
    """Whether Pillow would drop bands or bits of an open TIFF that this pixel format needs.

    Raises:
        VocSegError: The number of bands is not ``data.channels``, or the file has several pages.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    samples, deep = tags.get(_SAMPLES, 1), np.max(tags.get(_BITS, 1)) > 8
    if pixels.channels == 3 and not deep and samples <= 3:
        return False
    _require_one_page(_full_pages(image), name)
    if samples == 1 or tags.get(_PHOTOMETRIC) in _CONVERTED:
        return False
    if pixels.channels == 3:
        has_alpha = samples in (2, 4) and np.ravel(tags.get(_EXTRA, 0))[0] in _ALPHA
        if has_alpha and not (deep and pixels.range):
            return False
        require_channels(samples, pixels, name)
        return pixels.range is not None  # without one the high byte is enough, which Pillow reads
    require_channels(samples, pixels, name)
    return deep or raw_mode(image) != image.mode


def _full_pages(image: ImageFile.ImageFile) -> int:
    """Number of pages of an open TIFF, without smaller copies and masks of others."""
    pages = number = 0
    while True:
        try:
            with suppress(SyntaxError):  # Pillow cannot decode this page, but has read its tags
                image.seek(number)
        except EOFError:
            image.seek(0)
            return pages
        pages += not image.tag_v2.get(_SUBFILE, 0) & _NOT_FULL  # type: ignore[attr-defined]
        number += 1


def _require_one_page(pages: int, name: str) -> None:
    if pages > 1:
        raise VocSegError(f"several pages: {name} has {pages}, but an image has one; save one file per page")


def read_tiff(path: Path, pixels: PixelFormat) -> np.ndarray:
    """Read a TIFF of any number of bands and bits, ``uint8 (H, W, C)``, writable.

    Raises:
        VocSegError: The extra is not installed; the file is damaged, has several pages, an orientation or another
            number of bands; or the range of its values is not known.
    """
    name = short_name(path)
    try:
        import tifffile  # optional
    except ImportError:
        raise VocSegError(
            f"unreadable image: {name} is a TIFF that needs the extra tiff: pip install 'voc_seg[tiff]'"
        ) from None
    try:
        with tifffile.TiffFile(path) as file:
            kinds = [page.aspage().subfiletype for page in file.pages]
            _require_one_page(sum(not kind & _NOT_FULL for kind in kinds), name)
            page = file.pages.first
            if (turn := page.tags.valueof(_ORIENTATION, 1)) != 1:
                raise VocSegError(f"orientation: {name} has {turn}, which is not read in such a TIFF; save it upright")
            if page.axes not in ("YX", "YXS", "SYX"):
                raise VocSegError(f"unreadable image: {name} has the axes {page.axes}; save it as height, width, bands")
            size = page.imagelength * page.imagewidth
            if size > 2 * (Image.MAX_IMAGE_PIXELS or size):
                raise VocSegError(f"oversized image: {name} ({size} pixels)")
            require_channels(page.samplesperpixel, pixels, name)
            with decode_memory(size * max(1, page.samplesperpixel * page.bitspersample // 48)):
                stored = page.asarray()
                if page.axes == "YX":
                    stored = stored[..., None]
                bands = np.moveaxis(stored, 0, -1) if page.axes == "SYX" else stored
                return np.array(to_8_bits(bands, pixels, name), order="C")
    except VocSegError:
        raise
    except Exception as error:  # tifffile raises many exception types on malformed files
        if "imagecodecs" in str(error):
            raise VocSegError(f"compressed image: {name} needs the extra tiff: pip install 'voc_seg[tiff]'") from error
        raise VocSegError(f"damaged image: {name} ({error})") from error
