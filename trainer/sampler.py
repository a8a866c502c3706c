"""Which images each rank sees: one permutation per epoch, cut into global batches.

The permutation depends on (seed, epoch) only and is the same on every rank (Goyal et
al., arXiv:1706.02677, remark 4).  A global batch is the next ``batch`` entries of it;
rank r takes the r-th contiguous block of the batch, so that k ranks see what one rank
sees that accumulates k microbatches.  The rest of an epoch that fills no batch is
dropped: the next epoch's permutation brings other images to its end.

The state is (epoch, samples_seen).  Neither depends on the number of ranks.
"""

from collections.abc import Iterator

import numpy as np

from collectives import InvalidArgument

Key = tuple[int, int]  # (epoch, index): what a data set is asked for


def permutation(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of ``count`` images in this epoch, equal on all ranks."""
    generator = np.random.Generator(np.random.Philox(key=(seed, epoch)))
    return generator.permutation(count)


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random numbers that belong to image ``index`` in this epoch.

    They do not depend on the rank, the worker process or the order of loading.  The
    counter's last word keeps them apart from each other and from `permutation`.
    """
    return np.random.Generator(
        np.random.Philox(key=(seed, epoch), counter=(0, 0, 0, index + 1))
    )


class Sampler:
    """The microbatches of one rank, as lists of (epoch, index)."""

    def __init__(
        self,
        count: int,
        *,
        rank: int,
        size: int,
        per_worker: int,
        seed: int,
        accumulation: int = 1,
    ):
        """Cut epochs of ``count`` images for rank ``rank`` of ``size``.

        Raises:
            InvalidArgument: an epoch does not fill one global batch.
        """
        self.count, self.rank, self.seed = count, rank, seed
        self.per_worker, self.accumulation = per_worker, accumulation
        self.batch = size * per_worker * accumulation
        self.epoch = self.samples_seen = 0
        if self.batch > count:
            most = count // (size * accumulation)
            cure = f"--batch.per_worker {most} or less, or " if most else ""
            raise InvalidArgument(
                f"batch: {size} ranks * {per_worker} images * {accumulation} "
                f"microbatches = {self.batch} images an update, but an epoch has "
                f"{count}; use {cure}fewer ranks or microbatches"
            )

    @property
    def usable(self) -> int:
        """Images of an epoch that fill global batches."""
        return self.count // self.batch * self.batch

    def start(self, *, epoch: int, samples_seen: int = 0) -> None:
        """Let the next iteration begin at this position."""
        self.epoch, self.samples_seen = epoch, samples_seen

    def __len__(self) -> int:
        """Return the number of microbatches left in the epoch."""
        return (self.count - self.samples_seen) // self.batch * self.accumulation

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield this rank's microbatches, in order, to the end of the epoch."""
        order = permutation(self.count, seed=self.seed, epoch=self.epoch)
        share = self.per_worker * self.accumulation
        first = self.samples_seen + self.rank * share
        for start in range(
            first, first + len(self) // self.accumulation * self.batch, self.batch
        ):
            for offset in range(start, start + share, self.per_worker):
                chosen = order[offset : offset + self.per_worker]
                yield [(self.epoch, int(index)) for index in chosen]


class TestSampler:
    """The part of a test set that one rank evaluates: every image on one rank."""

    __test__ = False  # not a test class of pytest

    def __init__(self, count: int, *, rank: int, size: int, per_worker: int):
        """Take images rank, rank + size, rank + 2 size ... below ``count``."""
        self.indices = range(rank, count, size)
        self.per_worker = per_worker

    def __len__(self) -> int:
        """Return the number of batches; the last may be smaller."""
        return -(-len(self.indices) // self.per_worker)

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the batches; the epoch of a test image is 0."""
        for start in range(0, len(self.indices), self.per_worker):
            chosen = self.indices[start : start + self.per_worker]
            yield [(0, index) for index in chosen]
