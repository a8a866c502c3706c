"""Ping-pong: how long a message takes between two ranks, half a round trip.

All pairs play at once, as they do in a ring.  The median over turns of the slowest pair
is what counts; a turn is several round trips, since ranks do not leave a barrier at the
same time.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .topology import Topology

LONG = 1 << 16  # bytes
WARMUP = 3
TURNS, TRIPS = 30, 20  # of short messages
TURNS_LONG, TRIPS_LONG = 10, 3
IDLE_S = 1e-4  # a rank that does not play leaves its core to the others


def inside(topology: Topology) -> list[tuple[int, int]]:
    """Return pairs of ranks that share a node."""
    return [pair for node in topology.nodes for pair in neighbours(node)]


def across(topology: Topology) -> list[tuple[int, int]]:
    """Return pairs of ranks on different nodes, one rank of each."""
    return neighbours([node[0] for node in topology.nodes])


def neighbours(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of ranks; the last of an odd number stays alone.

    >>> neighbours([0, 1, 2])
    [(0, 1)]
    """
    return list(zip(ranks[::2], ranks[1::2], strict=False))


def half_round_trip(mpi: Any, pairs: list[tuple[int, int]], nbytes: int) -> float:
    """Return the median over turns of the slowest pair's seconds, on all ranks."""
    from mpi4py import MPI

    partner = {a: b for pair in pairs for a, b in (pair, pair[::-1])}.get(mpi.rank)
    first = any(mpi.rank == a for a, _ in pairs)
    data = np.zeros(nbytes, np.uint8)
    calls = [partial(mpi.Send, data, partner), partial(mpi.Recv, data, partner)]
    turns, trips = (TURNS_LONG, TRIPS_LONG) if nbytes > LONG else (TURNS, TRIPS)
    order = (calls if first else calls[::-1]) * trips
    seconds = np.zeros(turns)
    for i in range(-WARMUP, turns):
        together = mpi.Ibarrier()
        while not together.Test():
            time.sleep(0 if partner is not None else IDLE_S)
        if partner is None:
            continue
        before = time.perf_counter()
        for call in order:
            call()
        if i >= 0 and first:  # the other's time includes its waiting for this one
            seconds[i] = (time.perf_counter() - before) / 2 / trips
    mpi.Allreduce(MPI.IN_PLACE, seconds, MPI.MAX)
    return float(np.median(seconds))
