"""Recursive halving and doubling (Rabenseifner): bandwidth-optimal in log p steps.

    steps  2 k, k = log2 p       bytes sent per rank  2 n (p - 1) / p
    cost   2 k alpha + (p - 1) / p n (2 beta + gamma)    [seconds]
    other p, with q = 2^k the largest power of two below:
           (2 k + 3) alpha + (q - 1) / q n (2 beta + gamma) + n (2 beta + gamma / 2)

Partners at distance 1, 2, 4, ... exchange halves of what they still hold, so the
nearest neighbours move the most; the way back doubles.  Rank 0 of four, eighths of n:

    reduce-scatter  [0 1 2 3|4 5 6 7] <-> 1,  [0 1|2 3] <-> 2     allgather: reversed

For other p the first ranks fold in pairs that exchange halves, so both add: the even
one stays, the odd one gets the result in the end.

R. Rabenseifner: Optimization of collective reduction operations.  ICCS 2004, LNCS 3036,
1-9.  https://doi.org/10.1007/978-3-540-24685-5_1
"""

from collections.abc import Sequence

from ..chunk import Chunk
from ..machine import Link, Machine
from ..step import Exchange, Schedule, receive, send
from ..topology import Topology
from .recursive_doubling import powers


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    return allreduce(topology.order, rank, chunk)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above.

    On the wire between nodes the halves that are left are 1 / local of the buffer and
    all ranks of the node share it: it is as fast as one rank alone with everything.
    """
    link = machine.flat(topology, crossing=1)
    return allreduce_cost(topology.size, nbytes, link, machine.gamma)


def allreduce(group: Sequence[int], rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over the ranks of ``group``."""
    p, i = len(group), group.index(rank)
    power = 1 << p.bit_length() - 1
    rest = p - power  # so many pairs fold at the front
    left, right = chunk.split(2)
    if i < 2 * rest and i % 2:
        even = group[i - 1]
        yield Exchange(even, left, even, right, reduce=True)
        yield send(even, right)
        yield receive(even, chunk)
        return
    if i < 2 * rest:
        odd = group[i + 1]
        yield Exchange(odd, right, odd, left, reduce=True)
        yield receive(odd, right)
    active = [group[2 * v if v < rest else v + rest] for v in range(power)]
    yield from power_of_two(active, rank, chunk)
    if i < 2 * rest:
        yield send(group[i + 1], chunk)


def power_of_two(group: Sequence[int], rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over a group of 2^k ranks."""
    p, v = len(group), group.index(rank)
    windows, masks = [(0, p)], powers(p)
    for mask in masks:
        partner = group[v ^ mask]
        keep, give = halves(windows[-1], upper=bool(v & mask))
        out, back = chunk.pieces(*give, p), chunk.pieces(*keep, p)
        yield Exchange(partner, out, partner, back, reduce=True)
        windows.append(keep)
    for mask, window in zip(reversed(masks), reversed(windows[:-1]), strict=True):
        partner = group[v ^ mask]
        have, miss = halves(window, upper=bool(v & mask))
        out, back = chunk.pieces(*have, p), chunk.pieces(*miss, p)
        yield Exchange(partner, out, partner, back)


def halves(
    window: tuple[int, int], *, upper: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the half of a window that is kept, upper or lower, and the other."""
    start, stop = window
    low, high = (start, (start + stop) // 2), ((start + stop) // 2, stop)
    return (high, low) if upper else (low, high)


def allreduce_cost(p: int, nbytes: float, link: Link, gamma: float) -> float:
    """Return seconds for ``p`` ranks on one kind of link."""
    steps = p.bit_length() - 1
    q = 1 << steps
    share = (q - 1) / q * nbytes
    seconds = 2 * steps * link.alpha + share * (2 * link.beta + gamma)
    if p > q:
        seconds += 3 * link.alpha + nbytes * (2 * link.beta + gamma / 2)
    return seconds
