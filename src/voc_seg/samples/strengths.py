"""What each value of ``augmentation.strength`` does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Strength:
    """Probabilities, 0 to 1, and amounts of the changes to a crop."""

    colours: float  # probability of other colours
    amount: float  # largest relative change of brightness, contrast and saturation
    hue: float = 0.0  # largest turn of the hue, degrees
    grey: float = 0.0  # probability of a grey image
    blur: float = 0.0  # probability of a blurred image
    blur_passes: int = 1  # strongest blur, see voc_seg.samples.colours.blur
    rotation: float = 0.0  # probability of a rotation
    degrees: float = 0.0  # largest angle
    cutout: float = 0.0  # probability of holes
    holes: int = 1  # largest number of holes
    hole_side: float = 0.0  # largest height and width of a hole, as a fraction of the crop


STRENGTHS = {
    "light": Strength(colours=0.3, amount=0.15, blur=0.05),
    "standard": Strength(
        colours=0.5, amount=0.25, hue=10, grey=0.05, blur=0.1, blur_passes=2, rotation=0.25, degrees=10
    ),
    "strong": Strength(
        colours=0.8, amount=0.4, hue=20, grey=0.1, blur=0.2, blur_passes=4, rotation=0.5, degrees=20,
        cutout=0.3, holes=3, hole_side=0.3,
    ),
}  # fmt: skip
"""By value of ``augmentation.strength``; "none" is not in the table."""
