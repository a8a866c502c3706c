"""Numbers that show whether they are rounded once: near the middle of two halves."""

import numpy as np

from collectives.ops import widen


def halfway(dtype):
    """Return float64 numbers, and the stored halves next to them.

    All middles of two neighbours, up to infinity, and the float64 numbers beside them:
    too near for float32 to tell them apart.
    """
    infinity = {"float16": 0x7C00, "bfloat16": 0x7F80}[dtype.name]
    words = np.arange(infinity + 1, dtype=np.uint16)
    values = widen(dtype, words.view(dtype.storage)).astype(np.float64)
    values[-1] = 2 * values[-2] - values[-3]  # where the next number would be
    middle = (values[:-1] + values[1:]) / 2
    below, above = np.nextafter(middle, 0), np.nextafter(middle, np.inf)
    even = words[:-1] + (words[:-1] & 1)
    numbers = np.concatenate([below, middle, above])
    nearest = np.concatenate([words[:-1], even, words[1:]])
    both = np.concatenate([nearest, nearest | 0x8000]).astype(np.uint16)
    return np.concatenate([numbers, -numbers]), both.view(dtype.storage)
