"""Crops: which part of an image is seen, as a box that is resized to a square.

A crop takes the image's width and height, the square's size, the recipe's settings and
random numbers, and returns the box in pixels of the image.  A resized image that is cut
is here a box that is resized: the same pixels, but those outside are never made.
"""

from collections.abc import Callable

import numpy as np

from trainer.fields import Images

Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels
ATTEMPTS = 10
ASPECT = 4 / 3  # width / height of an area's box, at most; 3 / 4 at least


def area(
    width: int, height: int, size: int, images: Images, random: np.random.Generator
) -> Box:
    """Cut ``min_area`` to all of the image, of aspect 3/4 to 4/3, either way up.

    RandomSizedCrop of fb.resnet.torch: both uniform, sides swapped with probability
    1/2, ten attempts, then the centre (facebookarchive/fb.resnet.torch 985e569,
    datasets/transforms.lua).
    """

    def draw() -> float:
        aspect = random.uniform(1 / ASPECT, ASPECT)
        return 1 / aspect if random.random() < 0.5 else aspect

    return area_box(width, height, images.min_area, draw, random)


def area_log(
    width: int, height: int, size: int, images: Images, random: np.random.Generator
) -> Box:
    """Cut as `area`, but with the logarithm of the aspect uniform, as torchvision."""

    def draw() -> float:
        return float(np.exp(random.uniform(-np.log(ASPECT), np.log(ASPECT))))

    return area_box(width, height, images.min_area, draw, random)


def area_box(
    width: int,
    height: int,
    min_area: float,
    draw_aspect: Callable[[], float],
    random: np.random.Generator,
) -> Box:
    """Return a box of random area, aspect and place, or the centre."""
    for _ in range(ATTEMPTS):
        pixels = random.uniform(min_area, 1.0) * width * height
        aspect = draw_aspect()
        wide, high = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
        if 0 < wide <= width and 0 < high <= height:
            left = int(random.integers(width - wide + 1))
            top = int(random.integers(height - high + 1))
            return left, top, left + wide, top + high
    return centre(width, height, min(width, height))


def short_side(
    width: int, height: int, size: int, images: Images, random: np.random.Generator
) -> Box:
    """Cut from the image whose short side is ``resize`` to ``resize_max`` pixels."""
    short = int(random.integers(images.resize, images.resize_max + 1))
    wide, high = resized(width, height, short)
    return cut_from(width, height, wide, high, size, random)


def fixed(
    width: int, height: int, size: int, images: Images, random: np.random.Generator
) -> Box:
    """Cut from the image squeezed to a square of ``resize`` pixels."""
    return cut_from(width, height, images.resize, images.resize, size, random)


def none(
    width: int, height: int, size: int, images: Images, random: np.random.Generator
) -> Box:
    """Cut the centre, as in an evaluation."""
    return short_side_centre(width, height, size, images)


def cut_from(
    width: int,
    height: int,
    wide: int,
    high: int,
    size: int,
    random: np.random.Generator,
) -> Box:
    """Return a random square of the image resized to ``wide`` x ``high`` pixels."""
    left = int(random.integers(wide - size + 1))
    top = int(random.integers(high - size + 1))
    return back(left, top, size, width / wide, height / high)


def short_side_centre(width: int, height: int, size: int, images: Images) -> Box:
    """Cut the centre of the image whose short side is ``resize`` pixels."""
    wide, high = resized(width, height, images.resize)
    left, top = (wide - size) // 2, (high - size) // 2
    return back(left, top, size, width / wide, height / high)


def fraction_centre(width: int, height: int, size: int, images: Images) -> Box:
    """Cut the part ``size / resize`` of the short side from the image's centre."""
    return centre(width, height, round(min(width, height) * size / images.resize))


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """Return width and height of the image whose short side has ``short`` pixels."""
    scale = short / min(width, height)
    return round(width * scale), round(height * scale)


def back(left: int, top: int, size: int, across: float, down: float) -> Box:
    """Return a square of the resized image in pixels of the image itself."""
    return left * across, top * down, (left + size) * across, (top + size) * down


def centre(width: int, height: int, side: int) -> Box:
    """Return the square of ``side`` pixels in the middle."""
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


TRAINING: dict[str, Callable[..., Box]] = {
    crop.__name__: crop for crop in (area, area_log, short_side, fixed, none)
}
FROM_RESIZE = ("short_side", "fixed", "none")  # cut from what has ``resize`` pixels
TEST: dict[str, Callable[..., Box]] = {
    "short_side": short_side_centre,
    "fraction": fraction_centre,
}
