"""View: what a network sees of an image, once the random numbers are drawn."""

from collections.abc import Sequence
from dataclasses import fields
from math import inf
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from collectives import InvalidArgument
from trainer import setting
from trainer.fields import Images
from trainer.images import colour, crops
from trainer.images.decode import FACTORS, Encoded

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def check(images: Images, sizes: Sequence[int]) -> None:
    """Refuse settings that make no view.

    ``sizes`` are those of the training views.

    Raises:
        InvalidArgument: naming the flag, what it got and what is valid.
    """
    for entry in fields(images):
        setting.check(f"--images.{entry.name}", getattr(images, entry.name), entry)
    limits = {
        "resize_max": (images.resize_max, images.resize, inf),
        "test_size": (images.test_size or images.size, 1, images.resize),
        "size": (min(sizes), 1, inf),
    }
    if images.crop in crops.FROM_RESIZE:
        limits["size"] = (max(sizes), 1, images.resize)
    for field, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise InvalidArgument(
                f"--images.{field}: got {value:g}, expected {least:g} to {most:g}"
                + f" (crop {images.crop}, resize {images.resize})"
            )


class View(NamedTuple):
    """A box of an image, the size of the square it becomes, and whether mirrored."""

    box: crops.Box
    size: int
    flip: bool = False


def training(
    image: Encoded, size: int, images: Images, random: np.random.Generator
) -> View:
    """Draw a view for training."""
    crop = crops.TRAINING[images.crop]
    box = crop(image.width, image.height, size, images, random)
    return View(box, size, images.flip and random.random() < 0.5)


def test(image: Encoded, images: Images) -> View:
    """Return the view of an evaluation."""
    size = images.test_size or images.size
    crop = crops.TEST[images.test_crop]
    return View(crop(image.width, image.height, size, images), size)


def render(image: Encoded, view: View, filter: str, *, scaled: bool) -> np.ndarray:
    """Return the view as uint8 (size, size, 3).

    ``scaled``: decode at the smallest scale at which the box still has ``size`` pixels.
    """
    smaller = factor(view) if scaled else 1
    pixels = image.pixels(smaller)
    height, width, _ = pixels.shape
    if width == image.width:
        smaller = 1
    left, top, right, bottom = (edge / smaller for edge in view.box)
    # Rounding may take it a little out of the image, which Pillow refuses.
    box = max(0.0, left), max(0.0, top), min(width, right), min(height, bottom)
    whole = Image.fromarray(pixels)
    resized = whole.resize((view.size, view.size), FILTERS[filter], box=box)
    square = np.asarray(resized)
    return square[:, ::-1] if view.flip else square


def factor(view: View) -> int:
    """Return how many times smaller the image may be decoded: 1, 2, 4 or 8."""
    left, top, right, bottom = view.box
    spare = min(right - left, bottom - top) / view.size
    return next((factor for factor in FACTORS if factor <= spare), 1)


def tensor(square: np.ndarray, images: Images, random: np.random.Generator) -> Tensor:
    """Return a training view as float32 (3, size, size), coloured and normalised."""
    if images.jitter or images.lighting:
        square = square.astype(np.float32) / np.float32(255)
    if images.jitter:
        square = colour.jitter(square, images.jitter, random)
    if images.lighting:
        square = colour.light(square, images.lighting, random)
    return colour.normalise(square, images.normalise)
