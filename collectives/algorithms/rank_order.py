"""Rank order: the deterministic allreduce.

    steps  2 (p + K - 2) for K segments     bytes sent per rank  2 n (ends: n)
    cost   (p + K - 2) (2 (alpha + n / K beta) + n / K gamma)    [seconds]

A chain in rank order: every rank adds its data to the sum of all lower ranks,

    0 -> 1 -> 2 -> 3    then back    3 -> 2 -> 1 -> 0

so each element is ((x0 + x1) + x2) + ..., whatever its place in the buffer, the
topology, and the segments; these only fill the pipeline.

The pipelined chain is described as "pipeline" in  P. Sanders, J. Speck, J. L. Traeff:
Two-tree algorithms for full bandwidth broadcast, reduction and scan.  Parallel
Computing 35(12), 581-594, 2009.  https://doi.org/10.1016/j.parco.2009.09.001
"""

from itertools import pairwise

from ..chunk import Chunk
from ..machine import Machine
from ..step import NOTHING, Exchange, Schedule, receive, send
from ..topology import Topology

SEGMENT = 1 << 16  # elements


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks, in rank order."""
    yield from up(topology, rank, chunk)
    yield from down(topology, rank, chunk)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above, for elements of four bytes."""
    p, link = topology.size, machine.flat(topology, crossing=1)
    if p == 1:
        return 0.0
    k = segments(nbytes // 4, p)
    message = link.alpha + nbytes / k * link.beta
    return (p + k - 2) * (2 * message + nbytes / k * machine.gamma)


def reduce(topology: Topology, rank: int, chunk: Chunk, root: int) -> Schedule:
    """Leave the sum in rank order on ``root``."""
    last = topology.size - 1
    yield from up(topology, rank, chunk)
    if root != last and rank == last:
        yield send(root, chunk)
    if root != last and rank == root:
        yield receive(last, chunk)


def reduce_scatter(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Leave the rank-order sum of piece ``r`` of ``chunk.split(p)`` on rank ``r``."""
    last = topology.size - 1
    pieces = chunk.split(topology.size)
    yield from up(topology, rank, chunk)
    for target, piece in enumerate(pieces[:-1]):
        if rank == last:
            yield send(target, piece)
        elif rank == target:
            yield receive(last, piece)


def up(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Pass the running sum from rank 0 to the last rank."""
    lower = rank - 1 if rank > 0 else None
    upper = rank + 1 if rank + 1 < topology.size else None
    yield from chain(lower, upper, chunk, topology.size, reduce=True)


def down(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Pass the result from the last rank to rank 0."""
    lower = rank - 1 if rank > 0 else None
    upper = rank + 1 if rank + 1 < topology.size else None
    yield from chain(upper, lower, chunk, topology.size, reduce=False)


def chain(
    src: int | None, dst: int | None, chunk: Chunk, p: int, *, reduce: bool
) -> Schedule:
    """Receive segment t while sending segment t - 1."""
    parts = [NOTHING, *chunk.split(segments(chunk.size, p)), NOTHING]
    for previous, part in pairwise(parts):
        yield Exchange(
            dst if previous.size else None,
            previous,
            src if part.size else None,
            part,
            reduce,
        )


def segments(size: int, p: int) -> int:
    """Return how many segments fill a chain of ``p`` ranks."""
    return max(1, min(-(-size // SEGMENT), 4 * p))
