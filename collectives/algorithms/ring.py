"""Ring allreduce: bandwidth-optimal for any number of ranks.

    steps  2 (p - 1)        bytes sent per rank  2 n (p - 1) / p
    cost   2 (p - 1) (alpha + n / p beta) + (p - 1) n / p gamma    [seconds]

Everybody sends to the right and receives from the left.  Piece 2 of four ranks, once
around to be summed, once more to be handed out:

    rank 3 -> rank 0 -> rank 1 -> rank 2    (reduce-scatter: 2 owns the sum of piece 2)
    rank 2 -> rank 3 -> rank 0 -> rank 1    (allgather)

P. Patarasuk, X. Yuan: Bandwidth optimal all-reduce algorithms for clusters of
workstations.  J. Parallel Distrib. Comput. 69(2), 117-124, 2009.
https://doi.org/10.1016/j.jpdc.2008.09.002
"""

from collections.abc import Sequence

from ..chunk import Chunk
from ..machine import Machine
from ..step import Exchange, Schedule
from ..topology import Topology


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    return allreduce(topology.order, rank, chunk)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above; the slowest link paces the ring."""
    link = machine.flat(topology, crossing=1)
    return allreduce_cost(topology.size, nbytes, link.alpha, link.beta, machine.gamma)


def reduce_scatter(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Leave the sum of piece ``r`` of ``chunk.split(p)`` on rank ``r``."""
    return scatter_steps(topology.order, rank, ranked(topology, chunk))


def allgather(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Give all ranks all pieces; rank ``r`` has piece ``r`` of ``chunk.split(p)``."""
    return gather_steps(topology.order, rank, ranked(topology, chunk))


def ranked(topology: Topology, chunk: Chunk) -> list[Chunk]:
    """Return the piece that belongs to each place of the ring."""
    pieces = chunk.split(topology.size)
    return [pieces[rank] for rank in topology.order]


def allreduce(group: Sequence[int], rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over the ranks of ``group``."""
    pieces = chunk.split(len(group))
    yield from scatter_steps(group, rank, pieces)
    yield from gather_steps(group, rank, pieces)


def allreduce_cost(
    p: int, nbytes: float, alpha: float, beta: float, gamma: float
) -> float:
    """Return seconds for ``p`` ranks on one kind of link."""
    piece = nbytes / p
    return 2 * (p - 1) * (alpha + piece * beta) + (p - 1) * piece * gamma


def scatter_steps(group: Sequence[int], rank: int, pieces: Sequence[Chunk]) -> Schedule:
    """Reduce-scatter: ``group[i]`` ends with the sum of ``pieces[i]``."""
    p, i = len(group), group.index(rank)
    left, right = group[i - 1], group[(i + 1) % p]
    for k in range(1, p):
        yield Exchange(right, pieces[i - k], left, pieces[i - k - 1], reduce=True)


def gather_steps(group: Sequence[int], rank: int, pieces: Sequence[Chunk]) -> Schedule:
    """Allgather: all end with all pieces, ``group[i]`` began with ``pieces[i]``."""
    p, i = len(group), group.index(rank)
    left, right = group[i - 1], group[(i + 1) % p]
    for k in range(p - 1):
        yield Exchange(right, pieces[i - k], left, pieces[i - k - 1])
