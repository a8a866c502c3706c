"""Random images of ImageNet's number and size: nothing to learn, nothing to read.

There are ``POOL`` different ones for training and as many for the test; image i is
image i mod ``POOL`` of them.  They are made once, on every rank alike, from the seed,
and stay on the device: what is measured with them is the training, not its input.  The
loss does fall, as the network learns the few images by heart.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer import resizing
from trainer.fields import Images
from trainer.sampler import Key, generator

CHANGES: dict[str, object] = {}
NEEDS_ROOT = False
IMAGES = ("size", "ramp", "test_size", "test_flip")
TRAINING = 1_281_167
TEST = 1_000
POOL = 512


def count(root: None = None) -> int:
    """Return the number of training images."""
    return TRAINING


def load(
    root: None,
    *,
    train: bool,
    images: Images,
    classes: int,
    seed: int,
    sizes: Sequence[int] | None = None,
) -> "Synthetic":
    """Return the training or the test images."""
    sizes = resizing.of_part(images, sizes, train=train)
    return Synthetic(train=train, sizes=sizes, classes=classes, seed=seed)


class Synthetic:
    """Standard normal images with uniform labels; small ones are corners of these."""

    def __init__(self, *, train: bool, sizes: list[int], classes: int, seed: int):
        """Make images of the largest of ``sizes`` pixels, labels below ``classes``."""
        self.count, self.classes = TRAINING if train else TEST, classes
        self.sizes, size = sizes, max(sizes)
        random = generator(seed, 0, 0 if train else 1)
        images = random.standard_normal((POOL, 3, size, size), dtype="float32")
        labels = random.integers(classes, size=POOL)
        self.pool = torch.from_numpy(images), torch.from_numpy(labels)

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        """Return image (3, size, size) and label of ``key`` = (epoch, index)."""
        (images, labels), size = self.pool, self.size(key[0])
        return images[key[1] % POOL, :, :size, :size], int(labels[key[1] % POOL])

    def size(self, epoch: int) -> int:
        """Return the size of the images in an epoch."""
        return resizing.of_epoch(self.sizes, epoch)
