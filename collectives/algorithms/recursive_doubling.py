"""Recursive doubling: fewest messages, for short buffers.

    steps  k = log2 p            bytes sent per rank  k n
    cost   k (alpha + n beta + n gamma)                  [seconds]
    other p, with k = log2 of the largest power of two below:
           (k + 2) (alpha + n beta) + (k + 1) n gamma

Everybody exchanges everything with the partner at distance 1, 2, 4, ...:

    0 <-> 1   2 <-> 3      then      0 <-> 2   1 <-> 3

For other p the first ranks fold: 0 into 1, 2 into 3, ..., and get the result back.

R. Thakur, R. Rabenseifner, W. Gropp: Optimization of collective communication
operations in MPICH.  Int. J. High Perform. Comput. Appl. 19(1), 49-66, 2005.
https://doi.org/10.1177/1094342005051521
"""

from ..chunk import Chunk
from ..machine import Machine
from ..step import Exchange, Schedule, receive, send
from ..topology import Topology


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    group = topology.order
    p, i = len(group), group.index(rank)
    power = 1 << p.bit_length() - 1
    rest = p - power  # so many pairs fold at the front
    if i < 2 * rest and i % 2 == 0:
        yield send(group[i + 1], chunk)
        yield receive(group[i + 1], chunk)
        return
    if i < 2 * rest:
        yield receive(group[i - 1], chunk, reduce=True)
    virtual = i // 2 if i < 2 * rest else i - rest
    for mask in powers(power):
        v = virtual ^ mask
        partner = group[2 * v + 1 if v < rest else v + rest]
        yield Exchange(partner, chunk, partner, chunk, reduce=True)
    if i < 2 * rest:
        yield send(group[i - 1], chunk)


def powers(power: int) -> list[int]:
    """Return 1, 2, 4, ... below a power of two."""
    return [1 << bit for bit in range(power.bit_length() - 1)]


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above; all ranks cross the wire together."""
    p, link = topology.size, machine.flat(topology)
    steps = p.bit_length() - 1
    fold = 0 if p == 1 << steps else 1
    message, adding = link.alpha + nbytes * link.beta, nbytes * machine.gamma
    return (steps + 2 * fold) * message + (steps + fold) * adding
