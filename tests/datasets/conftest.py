"""Fixtures of several dataset tests."""

import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def decoded() -> Callable[[str], Image.Image]:
    """Decode the image of a preview."""

    def decode(preview: str) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(preview)))

    return decode
