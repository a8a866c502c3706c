"""Random images of ImageNet's number and size: nothing to learn, nothing to read.

Image and label are a pure function of (seed, index), so any rank makes its own.  For
measuring, and for tests that need many images.
"""

import torch
from torch import Tensor

from trainer.recipe import Images
from trainer.sampler import Key, generator

CHANGES: dict[str, object] = {}
NEEDS_ROOT = False
TRAINING = 1_281_167
TEST = 1_000
TEST_OFFSET = 1 << 32  # test images are no training images


def count(root: None = None) -> int:
    """Return the number of training images."""
    return TRAINING


def load(
    root: None, *, train: bool, images: Images, classes: int, seed: int
) -> "Synthetic":
    """Return the training or the test images."""
    return Synthetic(train=train, size=images.size, classes=classes, seed=seed)


class Synthetic:
    """Standard normal images with uniform labels."""

    def __init__(self, *, train: bool, size: int, classes: int, seed: int):
        """Make images of ``size`` pixels, labels below ``classes``."""
        self.count = TRAINING if train else TEST
        self.offset = 0 if train else TEST_OFFSET
        self.size, self.classes, self.seed = size, classes, seed

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image (3, size, size) and label of ``key`` = (epoch, index)."""
        random = generator(self.seed, 0, self.offset + key[1])
        label = int(random.integers(self.classes))
        image = random.standard_normal((3, self.size, self.size), dtype="float32")
        return torch.from_numpy(image), label
