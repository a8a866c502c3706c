"""Binomial tree: reduce to one rank, then broadcast; for short buffers.

    steps  2 k, k = ceil(log2 p)     bytes sent per rank  up to k n (the root)
    cost   k (alpha + n beta + n gamma) + k (alpha + n beta)    [seconds]

The tree of eight ranks; a reduction climbs it, a broadcast descends:

    0 --+-- 4 --+-- 6 -- 7
        +-- 2 -- 3
        +-- 1   +-- 5

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication
operations in MPICH.  Int. J. High Perform. Comput. Appl. 19(1), 49-66, 2005.
https://doi.org/10.1177/1094342005051521
"""

from collections.abc import Sequence

from ..chunk import Chunk
from ..machine import Machine
from ..step import Schedule, receive, send
from ..topology import Topology


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    yield from reduce(topology, rank, chunk, topology.order[0])
    yield from broadcast(topology, rank, chunk, topology.order[0])


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above."""
    p, link = topology.size, machine.flat(topology, crossing=1)
    climb = machine.group_call("reduce", p, nbytes, link)
    return climb + machine.group_call("broadcast", p, nbytes, link)


def reduce(topology: Topology, rank: int, chunk: Chunk, root: int) -> Schedule:
    """Leave the sum of ``chunk`` on ``root``; the others keep partial sums."""
    return reduce_steps(topology.order, rank, chunk, root)


def broadcast(topology: Topology, rank: int, chunk: Chunk, root: int) -> Schedule:
    """Copy ``root``'s chunk to all ranks."""
    return broadcast_steps(topology.order, rank, chunk, root)


def reduce_steps(group: Sequence[int], rank: int, chunk: Chunk, root: int) -> Schedule:
    """Sum ``chunk`` over ``group`` into ``root``."""
    parent, children = family(group, rank, root)
    for child in reversed(children):
        yield receive(child, chunk, reduce=True)
    if parent is not None:
        yield send(parent, chunk)


def broadcast_steps(
    group: Sequence[int], rank: int, chunk: Chunk, root: int
) -> Schedule:
    """Copy ``root``'s chunk to all of ``group``."""
    parent, children = family(group, rank, root)
    if parent is not None:
        yield receive(parent, chunk)
    for child in children:
        yield send(child, chunk)


def family(group: Sequence[int], rank: int, root: int) -> tuple[int | None, list[int]]:
    """Return the parent of a rank and its children, the largest subtree first.

    >>> family(range(8), 0, 0), family(range(8), 6, 0)
    ((None, [4, 2, 1]), (4, [7]))
    """
    p, shift = len(group), group.index(root)
    v = (group.index(rank) - shift) % p
    lowest = v & -v if v else 1 << (p - 1).bit_length()
    masks = [1 << bit for bit in reversed(range(lowest.bit_length() - 1))]
    children = [group[(v + m + shift) % p] for m in masks if v + m < p]
    return (group[(v - lowest + shift) % p] if v else None), children
