"""Evaluation: the error on test pictures, with statistics of the final weights.

Running averages lag behind where an epoch has few updates, which would mix the batch
with their decay.  So the statistics are computed anew, over 64 ghost batches of
training pictures: the mean, and the mean of squares, averaged; the variance from both.
They are the first pictures, whose classes take turns, and at most 2,048 at a time: for
M10, too, whose batches may be larger.
"""

import numpy as np

from . import net
from .glyphs import Glyphs

RECOMPUTE = 2048  # training pictures
CHUNK = 1000  # test pictures at a time
Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


def statistics(weights: net.Views, images: np.ndarray, ghost: int) -> Statistics:
    """Return mean and variance of every normalisation's input."""
    found = {}
    for name, kept in net.forward(weights, images, ghost).normed.items():
        mean = kept.mean.mean(0)
        squares = (kept.var + kept.mean**2).mean(0)
        found[name] = mean, np.maximum(squares - mean**2, 0)
    return found


def scores(weights: net.Views, images: np.ndarray, known: Statistics) -> np.ndarray:
    """Return scores of shape ``(pictures, 20)`` with the statistics given."""

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        mean, var = known[name]
        factor = weights[f"{name}.gamma"] / np.sqrt(var + net.EPS)
        return (x @ weights[name] - mean) * factor + weights[f"{name}.beta"]

    x = np.maximum(layer("stem", images), 0)
    for i in range(net.BLOCKS):
        inner = np.maximum(layer(f"block{i}.a", x), 0)
        x = np.maximum(x + layer(f"block{i}.b", inner), 0)
    return x @ weights["fc"] + weights["fc.bias"]


def error(weights: net.Views, train: Glyphs, test: Glyphs, *, ghost: int) -> float:
    """Return the part of test pictures that is taken for another class, in percent."""
    count = min(RECOMPUTE, len(train.images))
    ghost = min(ghost, count)
    sample = train.images[: count // ghost * ghost]
    known = statistics(weights, sample, ghost)
    wrong = 0
    for start in range(0, len(test.labels), CHUNK):
        part = slice(start, start + CHUNK)
        guess = scores(weights, test.images[part], known).argmax(1)
        wrong += int((guess != test.labels[part]).sum())
    return 100 * wrong / len(test.labels)
