"""Order: which pictures an update sees, by one shuffle or by one for each worker.

One permutation of an epoch, cut into batches, is what the recipes do
(`trainer.sampler`); the rest that fills no batch is dropped.  With independent shuffles
each virtual worker goes through a permutation of its own of all pictures: some are seen
twice in an epoch, some never (Goyal et al., arXiv:1706.02677, remark 4).
"""

import numpy as np

from trainer.sampler import generator, permutation

from .arms import GHOST


def batches(
    count: int, batch: int, *, seed: int, epoch: int, independent: bool
) -> np.ndarray:
    """Return the epoch's picture numbers, of shape ``(updates, batch)``."""
    updates = count // batch
    if not independent:
        order = permutation(count, seed=seed, epoch=epoch)
        return order[: updates * batch].reshape(updates, batch)
    own = [
        generator(seed, epoch, 1 + worker)
        .choice(count, updates * GHOST, replace=False)
        .reshape(updates, GHOST)
        for worker in range(batch // GHOST)
    ]
    return np.concatenate(own, axis=1)
