"""Colour: random brightness, contrast, saturation and lighting; normalisation.

All as in fb.resnet.torch (facebookarchive/fb.resnet.torch 985e569, datasets/
transforms.lua and imagenet.lua), for pixels between 0 and 1.
"""

import numpy as np
import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
GREY = np.array((0.299, 0.587, 0.114), np.float32)
# Principal components of the colours of ImageNet's pixels, a column each.
EIGENVALUES = np.array((0.2175, 0.0188, 0.0045))
EIGENVECTORS = np.array(
    (
        (-0.5675, 0.7192, 0.4009),
        (-0.5808, -0.0045, -0.8140),
        (-0.5836, -0.6948, 0.4203),
    )
)
# Subtracted from pixels between 0 and 1, and then divided by, for each colour.  That
# Caffe's (104, 117, 123) begin with blue is our reading.
CONSTANTS = {
    "deviation": (MEAN, DEVIATION),
    "mean": (MEAN, (1 / 255,) * 3),  # subtraction only, of pixels from 0 to 255
    "caffe": ((123 / 255, 117 / 255, 104 / 255), (128 / 255,) * 3),
    "half": ((0.5,) * 3, (1.0,) * 3),
}


def jitter(
    pixels: np.ndarray, strength: float, random: np.random.Generator
) -> np.ndarray:
    """Change brightness, contrast and saturation, in random order.

    Each by a factor of 1 - ``strength`` to 1 + ``strength``; pixels (h, w, 3).
    """
    for kind in random.permutation(3):
        factor = np.float32(random.uniform(1 - strength, 1 + strength))
        if kind == 0:
            other = np.float32(0)
        elif kind == 1:
            other = grey(pixels).mean()
        else:
            other = grey(pixels)[:, :, None]
        pixels = pixels * factor + other * (1 - factor)
    return pixels


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return the brightness (h, w) of pixels; ``@`` may round by number of threads."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    result: np.ndarray = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    return result


def light(
    pixels: np.ndarray, deviation: float, random: np.random.Generator
) -> np.ndarray:
    """Add each principal component, a normal random number times its eigenvalue."""
    amounts = random.normal(0, deviation, 3) * EIGENVALUES
    lit: np.ndarray = pixels + (EIGENVECTORS @ amounts).astype(np.float32)
    return lit


def normalise(pixels: np.ndarray, constants: str) -> Tensor:
    """Return (h, w, 3), uint8 or between 0 and 1, as float32 (3, h, w), normalised."""
    mean, deviation = (np.array(part) for part in CONSTANTS[constants])
    unit = 255 if pixels.dtype == np.uint8 else 1
    factor = (1 / (unit * deviation)).astype(np.float32)
    offset = (-mean / deviation).astype(np.float32)
    result = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        np.multiply(pixels[:, :, channel], factor[channel], out=result[channel])
        result[channel] += offset[channel]
    return torch.from_numpy(result)
