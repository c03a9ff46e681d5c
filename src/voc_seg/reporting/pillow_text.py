"""Texts in any script on images of Pillow, which draws a text in a single font."""

from functools import cache

from PIL import ImageDraw, ImageFont

from .fonts import default_font, split_by_font
from .style import INK


@cache
def pillow_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of a file for drawing with Pillow, of this height in pixels."""
    return ImageFont.truetype(path, size)


def text_length(text: str, size: int) -> float:
    """Width of a text in pixels."""
    return sum(pillow_font(path, size).getlength(piece) for path, piece in split_by_font(text))


def draw_text(draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str, size: int) -> None:
    """Draw a text whose left edge has its middle at ``position``; each letter in a font that has it."""
    left, middle = position
    ascent, descent = pillow_font(default_font(), size).getmetrics()
    baseline = middle + (ascent - descent) / 2  # the same for all fonts
    for path, piece in split_by_font(text):
        draw.text((left, baseline), piece, INK, pillow_font(path, size), anchor="ls")
        left += pillow_font(path, size).getlength(piece)
