"""The masks that a model predicts for images of any kind; needs neither torch nor Kedro."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from voc_seg.config.model_input import ModelInput
from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.voc.any_image import AnyImage, image_pixels, is_address
from voc_seg.voc.classes import Classes, name_classes
from voc_seg.voc.masks import palette_image
from voc_seg.voc.pixel_format import PixelFormat, displayed

_READ_AHEAD = 64
"""Images of a list that are in memory at once, to find some of one size."""
_SAVED_AS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True, eq=False)
class Result:
    """The mask of an image.

    | field   | shape     | dtype | meaning                                                             |
    |---------|-----------|-------|---------------------------------------------------------------------|
    | image   | (H, W, C) | uint8 | as the model took it: upright, RGB unless the model is for bands    |
    | mask    | (H, W)    | uint8 | class index; 255 where the model is less sure than min_confidence   |
    | classes |           |       | ``classes.names`` and ``classes.colours`` by class index            |
    """

    image: np.ndarray
    mask: np.ndarray
    classes: Classes
    _confidence: Callable[[], np.ndarray]

    def __repr__(self) -> str:
        height, width = self.mask.shape
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"Result({height} x {width}: {shares or 'void only'})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which stays in its process; a confidence that was computed is kept."""
        return self.__dict__ | {"_confidence": _no_model}

    @cached_property
    def confidence(self) -> np.ndarray:
        """255 times the largest class probability, ``uint8 (H, W)``.

        Without ``confidence=True`` in ``predict``, the image goes through the network once more, so a result that is
        copied, or comes from another process, needs it.

        Raises:
            VocSegError: The model is an ONNX file, which returns masks only; or this is a copy.
        """
        return self._confidence()

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the pixels of each class that occurs, 0 to 1, the largest first."""
        counts = Image.fromarray(self.mask).histogram()  # NumPy's bincount needs 8 bytes a pixel
        order = sorted(range(len(self.classes)), key=lambda index: -counts[index])
        return {self.classes.names[index]: counts[index] / self.mask.size for index in order if counts[index]}

    def mask_image(self) -> Image.Image:
        """The mask with the colours of the classes, an image of mode P."""
        return palette_image(self.mask, self.classes)

    def overlay(self) -> Image.Image:
        """The image tinted by class above a legend with the share of each, as `kedro run --pipelines inference` draws.

        Images with a side of more than 1600 pixels are reduced.

        Raises:
            VocSegError: matplotlib is not installed, which is possible beside ``voc_seg.onnx``.
        """
        try:
            from voc_seg.reporting.inference import labelled_overlay
        except ImportError as error:
            raise VocSegError(f"Overlays need matplotlib: pip install matplotlib ({error})") from error
        return labelled_overlay(displayed(self.image), self.mask, self.classes)

    def save(self, path: Path | str) -> None:
        """Write the mask as a PNG or TIFF with the colours of the classes, or the overlay as a JPEG or WebP.

        Raises:
            VocSegError: The ending of the path is none of these, or it cannot be written.
        """
        path = Path(path)
        if (kind := _SAVED_AS.get(path.suffix.lower())) is None:
            raise VocSegError(
                f"The extension of {path} does not say what to save. Use .png or .tif for the mask, .jpg or .webp for "
                "the overlay."
            )
        is_mask = kind in ("PNG", "TIFF")
        image = self.mask_image() if is_mask else self.overlay()
        with atomic_write(path) as file:
            if kind == "TIFF":  # Pillow 13 refuses a quality with this compression
                image.save(file, kind, compression="tiff_lzw")
            else:  # colours keep their edges; PNG and WebP ignore what they do not know
                image.save(file, kind, quality=90, subsampling=0)


def _no_model() -> np.ndarray:
    raise VocSegError(
        "This result is a copy, without the model. Before it is copied, call predict(..., confidence=True)."
    )


def require_path(path: Path | str) -> None:
    """Refuse what is no path of a model.

    Raises:
        VocSegError: It has another type, or is an address that is not on the hub.
    """
    if not isinstance(path, (str, PathLike)) or not str(path):
        raise VocSegError(f"A model is loaded from the path of its file or folder, not from {path!r:.80}.")
    if is_address(path) and not str(path).startswith("hf:"):
        raise VocSegError(f"{path} is an address. Download the model first, and give its path, or hf://USER/NAME.")


class Predictor(ABC):
    """A model that is ready to predict masks. Several threads may use it at once.

    | field   | meaning                                                    |
    |---------|------------------------------------------------------------|
    | classes | ``classes.names`` and ``classes.colours`` by class index   |
    | pixels  | the channels of images, and their range of values           |
    """

    classes: Classes
    pixels: PixelFormat

    def __init__(self, about: Mapping[str, Any]) -> None:
        """Read classes and channels from the content of ``best_model.pth``, or from the metadata of an export."""
        colours = [tuple(colour) for colour in about.get("class_colours", ())]
        self.classes = name_classes(about["class_names"], colours)
        self.pixels = replace(ModelInput.of(about).pixels, of_model=True)

    @overload
    def predict(self, image: AnyImage, *, confidence: bool = False) -> Result: ...

    @overload
    def predict(self, image: list[Any] | tuple[AnyImage, ...], *, confidence: bool = False) -> list[Result]: ...

    def predict(
        self, image: AnyImage | list[Any] | tuple[AnyImage, ...], *, confidence: bool = False
    ) -> Result | list[Result]:
        """The mask of an image, or of each image of a list, at its own size.

        Images of a list that have one size go through the network together.

        Args:
            image: A path, an image of Pillow, an array ``uint8 (H, W, 3)`` or ``(H, W)``, the bytes of an image file;
                or a list or tuple of these. Files and images of Pillow are turned upright as their EXIF tags say.
            confidence: Compute ``result.confidence`` at once, instead of when it is first asked for.

        Raises:
            VocSegError: An image cannot be read, or memory ran out.
        """
        if not isinstance(image, (list, tuple)):
            return self._predict_decoded([image_pixels(image, self.pixels)], confidence)[0]
        found: list[Result] = []
        for start in range(0, len(image), _READ_AHEAD):
            decoded = []
            for number, one in enumerate(image[start : start + _READ_AHEAD], start):
                try:
                    decoded.append(image_pixels(one, self.pixels))
                except VocSegError as error:
                    raise VocSegError(f"Image {number} of the list (the first is 0): {error}") from error
            found += self._predict_decoded(decoded, confidence)
        return found

    @abstractmethod
    def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Mask and, if asked for, confidence of images of one size, all ``uint8``."""

    def images_together(self, height: int, width: int) -> int:
        """How many images of this size go through the network together."""
        return 1

    def _predict_decoded(self, images: Sequence[np.ndarray], confidence: bool) -> list[Result]:
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, one in enumerate(images):
            by_size.setdefault(one.shape[:2], []).append(number)
        found: dict[int, Result] = {}
        for size, numbers in by_size.items():
            together = self.images_together(*size)
            for start in range(0, len(numbers), together):
                group = numbers[start : start + together]
                segmented = self._segment([images[number] for number in group], confidence)
                found |= {number: self._result(images[number], *one) for number, one in zip(group, segmented)}
        return [found[number] for number in range(len(images))]

    def _result(self, image: np.ndarray, mask: np.ndarray, confidence: np.ndarray | None) -> Result:
        def compute() -> np.ndarray:
            again = self._segment([image], True)[0][1]
            assert again is not None, "asked for"
            return again

        result = Result(image, mask, self.classes, compute)
        if confidence is not None:
            result.__dict__["confidence"] = confidence  # the cached property, which copies and pickles keep
        return result
