"""Slots: how arrays that no other rank can see pass through shared memory.

The buffer goes segment by segment through slots of the window:

    slot   0: fill 0   combine 0   take 0
           1:          fill 1      combine 1   take 1 ...
           2:                      fill 2      combine 2 ...

A rank begins a column, or tick, when all have ended the one before.  Slots are used in
turn, around a ring.  Whether a short ring, which stays in the cache, or a long one is
faster depends on whether the cores share a cache: writing what lies in another core's
own cache is slow, writing what has left it is not.  So both are tried, now and then.
"""

from typing import Any

import numpy as np

from ..arrays import DType
from ..chunk import Chunk
from ..ops import Accumulator
from .board import LINE

RINGS = ((2 << 20, 1 << 19), (16 << 20, 2 << 20))  # bytes of a ring, of its slots
RING_BYTES = max(ring for ring, _ in RINGS)
TRIALS = 4  # calls of a size that try both rings in turn, to begin with
RETRY = 16  # one call in so many tries the slower one again

COMBINING = ("allreduce", "reduce_scatter", "reduce")


class Rings:
    """The slots of all ranks, in their ``parts`` of the window."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        """Begin at the first slot."""
        self.parts = parts
        self.next = [0] * len(RINGS)  # byte where the next free slot may begin
        self.seen: dict[
            tuple[str, int], list[float]
        ] = {}  # seconds of either ring, and calls
        self.views: dict[np.dtype, list[np.ndarray]] = {}

    def elements(self, storage: np.dtype) -> list[np.ndarray]:
        """Return everybody's slots, one after the other, as elements."""
        if storage not in self.views:
            self.views[storage] = [part.view(storage) for part in self.parts]
        return self.views[storage]

    def choose(self, kind: str, nbytes: int) -> int:
        """Return which ring to take for a call of ``nbytes``."""
        short, long, calls = self.seen.get((kind, nbytes.bit_length()), (0.0, 0.0, 0))
        if calls < TRIALS:
            return int(calls) % 2
        faster = int(long < short)
        return 1 - faster if calls % RETRY == 0 else faster

    def note(self, kind: str, nbytes: int, ring: int, seconds: float) -> None:
        """Remember how long a call took; the memory of earlier ones fades."""
        seen = self.seen.setdefault((kind, nbytes.bit_length()), [0.0, 0.0, 0])
        if seen[2] < TRIALS:
            seen[ring] = seconds
        else:
            seen[ring] += (seconds - seen[ring]) / 2
        seen[2] += 1

    def take(self, ring: int, nbytes: int, segments: int) -> tuple[int, int]:
        """Return the first free slot of ``nbytes``, and after how many it repeats."""
        count = RINGS[ring][0] // nbytes
        first = -(-self.next[ring] // nbytes) % count
        self.next[ring] = (first + segments) % count * nbytes
        return first, count


class Job:
    """A group call on ``count`` elements: what to do, and which piece is whose."""

    def __init__(
        self,
        kind: str,
        count: int,
        dtype: DType,
        combine: Accumulator,
        size: int,
        root: int = 0,
    ) -> None:
        """``size`` ranks take part; ``root`` is one of them."""
        self.kind, self.count, self.dtype, self.root = kind, count, dtype, root
        self.combine = combine
        self.pieces = Chunk(0, count).split(size)
        self.views: dict[Any, Any] = {}  # of registered arrays, by their places


class Passage:
    """One call on its way through the slots, on rank ``me`` of the node."""

    def __init__(
        self, rings: Rings, ring: int, me: int, job: Job, x: Any, out: Any
    ) -> None:
        """Cut the pieces into segments: segment j holds the j-th part of each."""
        self.job, self.me, self.x, self.out = job, me, x, out
        size = len(job.pieces)
        longest = max(1, job.pieces[0].size) * x.itemsize
        self.segments = -(-longest // (RINGS[ring][1] // size // LINE * LINE))
        part = -(-longest // (self.segments * LINE)) * LINE  # bytes in a slot
        self.width = part // x.itemsize
        self.slots = rings.elements(x.dtype)
        self.first, self.count = rings.take(ring, part * size, self.segments)
        ranks, root = list(range(size)), job.root
        others = [rank for rank in ranks if rank != me]
        self.fills, self.takes = others, others
        if job.kind == "allgather":
            self.fills = [me]
        elif job.kind == "broadcast":
            self.fills, self.takes = (ranks, []) if me == root else ([], ranks)
        elif job.kind == "reduce_scatter" or (job.kind == "reduce" and me != root):
            self.takes = []
        self.combines = job.kind in COMBINING
        self.publishes = job.kind in ("allreduce", "reduce")
        self.source = root if job.kind == "broadcast" else None

    def tick(self, t: int) -> None:
        """Fill segment t, combine t - 1, take t - 2."""
        if t < self.segments:
            self.fill(t)
        if self.combines and 0 < t <= self.segments:
            self.combine(t - 1)
        if t > 1:
            self.take(t - 2)

    def part(self, rank: int, j: int) -> tuple[slice, slice]:
        """Return where part j of a rank's piece is: in the array, and in a slot."""
        piece, width = self.job.pieces[rank], self.width
        start = piece.start + j * width
        size = max(0, min(width, piece.stop - start))
        at = ((self.first + j) % self.count * len(self.job.pieces) + rank) * width
        return slice(start, start + size), slice(at, at + size)

    def fill(self, j: int) -> None:
        """Show the others what they own of this rank's elements."""
        mine = self.slots[self.me]
        for rank in self.fills:
            here, there = self.part(rank, j)
            mine[there] = self.x[here]

    def combine(self, j: int) -> None:
        """Combine what all have of this rank's piece."""
        here, there = self.part(self.me, j)
        sources = [slot[there] for slot in self.slots]
        sources[self.me] = self.x[here]
        targets = [self.out[here]]
        if self.publishes:  # first, where the result stays in the cache
            targets.insert(0, self.slots[self.me][there])
        self.job.combine(sources, targets)

    def take(self, j: int) -> None:
        """Copy what the owners of the other pieces show."""
        for rank in self.takes:
            here, there = self.part(rank, j)
            owner = rank if self.source is None else self.source
            self.out[here] = self.slots[owner][there]
