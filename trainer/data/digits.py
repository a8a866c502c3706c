"""Scikit-learn's handwritten digits: 1,797 real images that come with a package.

Grey images of 8x8, enlarged to the recipe's size, repeated in 3 channels, normalised by
the training images' mean and deviation.  Scikit-learn's ``train_test_split``,
stratified and with ``random_state=0``, sets 360 apart for the test and leaves 1,437 for
training.  Training images are moved by up to ``images.shift`` pixels in each direction.
The model keeps its 1000 classes: 990 of them never occur, and what is communicated is
exactly the paper's model.

E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits.  UCI Machine Learning
Repository, 1998.  https://doi.org/10.24432/C50P49
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collectives import InvalidArgument
from trainer import resizing
from trainer.fields import Images
from trainer.sampler import Key, generator

CHANGES = {
    "epochs": 16,
    "images.size": 32,
    "images.resize": 32,
    "images.min_area": 1.0,
    "images.flip": False,
    "images.shift": 2,
    "images.crop": "area",
    "images.ramp": (),
    "images.test_size": 0,
    "images.test_flip": False,
}
NEEDS_ROOT = False
IMAGES = ("size", "shift", "ramp", "test_size", "test_flip")
DIGITS = 10
TEST = 360


def count(root: None = None) -> int:
    """Return the number of training images."""
    return 1437


def load(
    root: None,
    *,
    train: bool,
    images: Images,
    classes: int,
    seed: int,
    sizes: Sequence[int] | None = None,
) -> "Digits":
    """Return the training or the test images.

    Raises:
        InvalidArgument: scikit-learn is missing, or the model has too few classes.
    """
    raw = read()
    if classes < DIGITS:
        raise InvalidArgument(
            f"data digits: 10 classes, but model.classes is {classes}; use at least 10"
        )
    pixels = torch.from_numpy(raw.images.astype(np.float32))[:, None]
    training, test = split(raw.target)
    mean, deviation = pixels[training].mean(), pixels[training].std()
    chosen = torch.from_numpy(training if train else test)
    sizes = resizing.of_part(images, sizes, train=train)
    enlarged = {
        size: functional.interpolate(pixels[chosen], (size, size), mode="bilinear")
        for size in sizes
    }
    return Digits(
        {size: (part - mean) / deviation for size, part in enlarged.items()},
        torch.from_numpy(raw.target)[chosen],
        sizes=sizes,
        background=-float(mean / deviation),
        shift=images.shift if train else 0,
        seed=seed,
    )


def read() -> Any:
    """Return ``images`` (1797, 8, 8), values 0 to 16, and their digits ``target``.

    Raises:
        InvalidArgument: scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InvalidArgument(
            "data digits: scikit-learn is not installed; pip install scikit-learn"
        ) from error
    return load_digits()


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and of the test images, both ascending."""
    from sklearn.model_selection import train_test_split

    training, test = train_test_split(
        np.arange(len(labels)), test_size=TEST, random_state=0, stratify=labels
    )
    return np.sort(training), np.sort(test)


class Digits:
    """Enlarged digits in memory; a training image is a window of its padded self."""

    classes = DIGITS

    def __init__(
        self,
        images: dict[int, Tensor],
        labels: Tensor,
        *,
        sizes: list[int],
        background: float,
        shift: int,
        seed: int,
    ):
        """Pad ``images`` (N, 1, size, size) by ``shift`` pixels of ``background``.

        There are some of each size; ``sizes`` are those of the epochs.
        """
        self.sizes, self.shift, self.seed = sizes, shift, seed
        self.padded = {
            size: functional.pad(part, (shift,) * 4, value=background)
            for size, part in images.items()
        }
        self.labels = labels.tolist()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image (3, size, size) and digit of ``key`` = (epoch, index)."""
        epoch, index = key
        size = resizing.of_epoch(self.sizes, epoch)
        top = left = self.shift
        if self.shift:
            random = generator(self.seed, epoch, index)
            top, left = random.integers(2 * self.shift + 1, size=2)
        window = self.padded[size][index, :, top : top + size, left : left + size]
        return window.expand(3, -1, -1), self.labels[index]
