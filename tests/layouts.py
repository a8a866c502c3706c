"""The layouts on which the pure tests run every algorithm."""

from math import lcm

from collectives import Topology

SIZES = [*range(1, 10), 12, 16, 17, 24, 33]


def layouts(size):
    """Yield one node, equal nodes, unequal nodes, and ranks dealt out in turn."""
    yield Topology.uniform(local=size)
    for local in (2, 3):
        if size % local == 0 and size > local:
            yield Topology.uniform(nodes=size // local, local=local)
    if size > 2:
        yield Topology.sized(halving(size))
        yield Topology.from_hosts([f"host{rank % 3}" for rank in range(size)])
    if size > 5:
        yield Topology.sized([1, size - 3, 2])


def halving(size):
    """Return unequal node sizes: 3, 2, 1 for six ranks."""
    sizes = []
    while size:
        sizes.append((size + 1) // 2)
        size -= sizes[-1]
    return sizes


def counts(size):
    """Return the counts at which an algorithm may stumble."""
    return sorted({0, 1, size - 1, size, 3 * size + 1})


def even_bytes(size):
    """Return a length that every algorithm cuts into equal pieces of 4-byte elements.

    Up to 64 ranks it stays one segment in ``pipelined`` and in ``rank_order``.
    """
    return 4 * 4 * lcm(size, 1 << size.bit_length())
