"""A small directory of real images: scikit-learn's handwritten digits as JPEGs.

1,437 images in ``train`` and 360 in ``val``, split as the data set ``digits`` splits
them, in ten classes.  The same files each time, with the same version of Pillow.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from collectives import InvalidArgument
from trainer.data import digits

QUALITY = 95
LEAST = 8  # pixels of scikit-learn's images


def write(directory: str, size: int) -> str:
    """Write the images, enlarged to ``size`` pixels; say what was written.

    Raises:
        InvalidArgument: scikit-learn is missing, the size is too small, or the
            directory has something in it already or cannot be written.
    """
    if size < LEAST:
        raise InvalidArgument(f"--size: got {size}, expected at least {LEAST}")
    root = Path(directory)
    raw = digits.read()
    names = [f"{number:05}.jpg" for number in range(len(raw.target))]
    parts = dict(zip(("train", "val"), digits.split(raw.target), strict=True))
    try:
        if root.exists() and any(root.iterdir()):
            raise InvalidArgument(f"{root} is not empty; give a new directory")
        for part, chosen in parts.items():
            for label in range(digits.DIGITS):
                (root / part / str(label)).mkdir(parents=True)
            for number in chosen:
                path = root / part / str(raw.target[number]) / names[number]
                enlarged(raw.images[number], size).save(path, quality=QUALITY)
    except OSError as error:
        raise InvalidArgument(f"{root} cannot be written: {error}") from error
    counts = ", ".join(f"{len(chosen)} in {part}" for part, chosen in parts.items())
    return f"{root}: {counts}; {digits.DIGITS} classes, {size}x{size} pixels"


def enlarged(pixels: np.ndarray, size: int) -> Image.Image:
    """Return a digit of values 0 to 16 as a grey image."""
    image = Image.fromarray((pixels * (255 / 16)).round().astype(np.uint8))
    return image.resize((size, size), Image.Resampling.BICUBIC)
