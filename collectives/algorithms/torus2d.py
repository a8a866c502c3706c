"""2D torus: reduce-scatter along the row, allreduce along the column, allgather back.

    steps  2 (X - 1) + 2 (Y - 1)   bytes sent per rank  2 n (p - 1) / p, of which
                                   2 (n / X) (Y - 1) / Y along the column
    cost   2 (X - 1) (alpha + n / X beta) + (X - 1) n / X gamma            [seconds]
         + 2 (Y - 1) (alpha + n / p beta) + (Y - 1) n / p gamma

The grid of six ranks, X = 3 side by side (the fast links), Y = 2 above each other:

    0 - 1 - 2      row reduce-scatter: rank 1 owns the row's sum of piece 1,
    |   |   |      column allreduce:   ranks 1 and 4 sum piece 1 over all rows,
    3 - 4 - 5      row allgather:      everybody has everything

Rows need not be equally long: where two rows cut the buffer differently, each range
between neighbouring cuts is summed by the ranks that own it.

H. Mikami et al.: Massively distributed SGD: ImageNet/ResNet-50 training in a flash.
https://arxiv.org/abs/1811.05233
(It prints 2 (X - 1) steps; the column's are missing there.)
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..chunk import Chunk
from ..machine import Link, Machine
from ..step import Schedule, Step
from ..topology import Topology
from . import ring


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    row = row_of(topology.rows, rank)
    pieces = chunk.split(len(row))
    yield from ring.scatter_steps(row, rank, pieces)
    yield from wire(topology, rank, chunk)
    yield from ring.gather_steps(row, rank, pieces)


def wire(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum over the rows what ``rank`` owns of its row's ``chunk``."""
    for steps in rounds(topology.rows, rank, chunk):
        yield from steps


def rounds(
    rows: Sequence[Sequence[int]], rank: int, chunk: Chunk
) -> Iterator[tuple[Step, ...]]:
    """Return the steps of `wire`, those that belong together in one tuple.

    In turn, not one after the other: a ring waits for those of its neighbours.
    """
    rings = [
        ring.allreduce(column, rank, piece)
        for column, piece in columns(rows, rank, chunk)
    ]
    return zip(*rings, strict=True)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above.

    With unequal rows, an estimate: the steps of the longest row, the pieces of the
    shortest, and a column message for each cut of two different rows in them.
    """
    return sum(stages(topology, nbytes, machine))


def stages(
    topology: Topology, nbytes: float, machine: Machine, engine: Link | None = None
) -> tuple[float, float, float]:
    """Return seconds along the row, along the column, and along the row again.

    ``engine`` is the link of a row that is a node, if not that of its messages.
    """
    rows, wide = topology.rows, max(map(len, topology.rows))
    within = all(len({topology.node_of[r] for r in row}) == 1 for row in rows)
    fast = machine.intra if within else machine.flat(topology, crossing=1)
    if engine is not None and set(rows) <= {*topology.nodes, topology.order}:
        fast = engine
    slow = machine.flat(topology)
    narrow = min(map(len, rows))
    alpha = slow.alpha * (1 if wide == narrow else -(-wide // narrow) + 1)
    return (
        machine.group_call("reduce_scatter", wide, nbytes, fast),
        ring.allreduce_cost(
            len(rows), nbytes / narrow, alpha, slow.beta, machine.gamma
        ),
        machine.group_call("allgather", wide, nbytes, fast),
    )


def row_of(rows: Sequence[tuple[int, ...]], rank: int) -> tuple[int, ...]:
    """Return the row that ``rank`` is in."""
    return next(row for row in rows if rank in row)


def columns(
    rows: Sequence[Sequence[int]], rank: int, chunk: Chunk
) -> list[tuple[list[int], Chunk]]:
    """Return the columns that ``rank`` is part of, each with the range it sums.

    Row ``i`` owns ``chunk.split(len(rows[i]))``.  All cuts of all rows together bound
    the ranges; equal rows give one column and the rank's own piece.

    >>> columns([(0, 1), (2, 3, 4)], 2, Chunk(0, 6))
    [([0, 2], Chunk(start=0, stop=2))]
    >>> columns([(0, 1), (2, 3, 4)], 3, Chunk(0, 6))
    [([0, 3], Chunk(start=2, stop=3)), ([1, 3], Chunk(start=3, stop=4))]
    """
    starts = {
        length: [piece.start for piece in chunk.split(length)]
        for length in {len(row) for row in rows}
    }
    row = next(row for row in rows if rank in row)
    own = chunk.split(len(row))[row.index(rank)]
    inside = {
        cut for cuts in starts.values() for cut in cuts if own.start < cut < own.stop
    }
    bounds = [own.start, *sorted(inside), own.stop]
    ranges = [Chunk(a, b) for a, b in pairwise(bounds) if a < b]
    return [
        ([r[bisect_right(starts[len(r)], piece.start) - 1] for r in rows], piece)
        for piece in ranges
    ]
