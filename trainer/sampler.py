"""Which images each rank sees: one permutation per epoch, cut into global batches.

The permutation depends on (seed, epoch) only and is the same on every rank (Goyal et
al., arXiv:1706.02677, remark 4).  A global batch is the next ``batch`` entries of it;
rank r takes the r-th contiguous block of the batch, so that k ranks see what one rank
sees that accumulates k microbatches.  The rest of an epoch that fills no batch is
dropped, as the next epoch's permutation brings other images to its end.

The state is (epoch, samples_seen).  Neither depends on the number of ranks, nor on the
batch, which may change between epochs.
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
        batch = size * per_worker * accumulation
        if batch > count:
            most = count // (size * accumulation)
            cure = f"--batch.per_worker {most} or less, or " if most else ""
            raise InvalidArgument(
                f"batch: {size} ranks * {per_worker} images * {accumulation} "
                f"microbatches = {batch} images an update, but an epoch has "
                f"{count}; use {cure}fewer ranks or microbatches"
            )
        self.count, self.rank, self.size, self.seed = count, rank, size, seed
        self.epoch = self.samples_seen = 0
        self.set_batch(batch, per_worker)

    def set_batch(self, batch: int, per_worker: int) -> None:
        """Have an update see ``batch`` images, from the next `start` on.

        Its microbatches of ``per_worker`` images are shared in order: the first ranks
        have one more where they do not divide evenly, the last ones none if there are
        too few.

        Raises:
            InvalidArgument: the batch is no multiple of the microbatch, or larger than
                an epoch.
        """
        if not 1 <= batch <= self.count or batch % per_worker:
            raise InvalidArgument(
                f"batch: got {batch} images an update in microbatches of {per_worker}; "
                f"expected a multiple of these and at most an epoch's {self.count}"
            )
        self.batch, self.per_worker = batch, per_worker
        each, rest = divmod(batch // per_worker, self.size)
        self.accumulation = each + (self.rank < rest)
        self.offset = (self.rank * each + min(self.rank, rest)) * per_worker

    @property
    def workers(self) -> range:
        """This rank's microbatches of an update, among those of all ranks."""
        first = self.offset // self.per_worker
        return range(first, first + self.accumulation)

    @property
    def usable(self) -> int:
        """Images that a whole epoch sees: what fills global batches."""
        return self.updates(0) * self.batch

    def updates(self, samples_seen: int) -> int:
        """Return the number of updates left in an epoch after so many images."""
        return (self.count - samples_seen) // self.batch

    def start(self, *, epoch: int, samples_seen: int = 0) -> None:
        """Let the next iteration begin at this position."""
        self.epoch, self.samples_seen = epoch, samples_seen

    def __len__(self) -> int:
        """Return the number of microbatches left in the epoch."""
        return self.updates(self.samples_seen) * self.accumulation

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield this rank's microbatches, in order, to the end of the epoch."""
        order = permutation(self.count, seed=self.seed, epoch=self.epoch)
        share = self.per_worker * self.accumulation
        for update in range(self.updates(self.samples_seen)):
            first = self.samples_seen + update * self.batch + self.offset
            for start in range(first, first + share, self.per_worker):
                chosen = order[start : start + self.per_worker]
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
