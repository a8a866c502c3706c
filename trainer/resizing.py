"""Progressive resizing: the size of the training images, epoch by epoch.

``images.ramp`` = ((epoch, size), ...) in epochs of the recipe's span: before the first
entry its size, after the last entry its size, linear in between and there rounded to
the nearest multiple of 32 between the two, as libffcv/ffcv-imagenet does
(train_imagenet.py at 606c584).  All images of an epoch have one size.
"""

from collections.abc import Sequence
from itertools import pairwise

from trainer import lr
from trainer.fields import Images
from trainer.recipe import Recipe

STEP = 32  # pixels; so many of an image are one of a ResNet's last features


def sizes(values: Recipe) -> list[int]:
    """Return the size of the training images in each epoch of a run, in pixels."""
    images, epochs = values.images, values.epochs
    if not images.ramp:
        return [images.size] * epochs
    return [
        ramped(images.ramp, lr.span_epoch(values, epoch=epoch, epochs=epochs))
        for epoch in range(epochs)
    ]


def ramped(ramp: Sequence[tuple[float, int]], epoch: float) -> int:
    """Return the size at an epoch of the span.

    >>> [ramped(((11.0, 160), (13.0, 224)), epoch) for epoch in (0, 11, 12, 13, 15)]
    [160, 160, 192, 224, 224]
    """
    for (start, before), (stop, after) in pairwise(ramp):
        if epoch <= start:
            return before
        if epoch < stop:
            exact = before + (after - before) * (epoch - start) / (stop - start)
            nearest = STEP * round(exact / STEP)
            return sorted((before, nearest, after))[1]
    return ramp[-1][1]


def of_part(images: Images, sizes: Sequence[int] | None, *, train: bool) -> list[int]:
    """Return the sizes of a data set's training or test images, epoch by epoch.

    ``sizes``: of the training images; None for ``images.size`` in all epochs.
    """
    if train:
        return list(sizes or [images.size])
    return [images.test_size or images.size]


def of_epoch(sizes: Sequence[int], epoch: int) -> int:
    """Return the size in an epoch; the last one stays."""
    return sizes[min(epoch, len(sizes) - 1)]
