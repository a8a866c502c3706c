"""Ping-pong: how long a message takes between two ranks, and what clocks differ by.

*Time*, half a round trip: all pairs play at once, as they do in a ring.  The median
over turns of the slowest pair is what counts; a turn is several round trips, since
ranks do not leave a barrier at the same time.

*Clocks*: rank 0 asks each rank in turn what time it is.  The answer was given at some
moment of the round trip, so the shortest one says most.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .topology import Topology

LONG = 1 << 16  # bytes
WARMUP = 3
TURNS, TRIPS = 30, 20  # of short messages
TURNS_LONG, TRIPS_LONG = 10, 3
QUESTIONS = 16  # to each rank about its clock
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


def clock_offset(
    mpi: Any, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Return by how many seconds this rank's clock is ahead of rank 0's, and the error.

        rank 0    asked |------------------------| answered
        rank r                 `-> its time -'

    The answer is taken to be given in the middle: that is wrong by half of the round
    trip at most.  All ranks call this together; on rank 0 both numbers are 0.
    """
    found = np.zeros(2)
    time_there = np.zeros(1)
    for rank in range(1, mpi.size):
        if mpi.rank == 0:
            found[1] = np.inf
            for _ in range(QUESTIONS):
                asked = clock()
                mpi.Send(time_there, rank)
                mpi.Recv(time_there, rank)
                answered = clock()
                error = (answered - asked) / 2
                if error < found[1]:
                    found[:] = time_there[0] - (asked + answered) / 2, error
            mpi.Send(found, rank)
            found[:] = 0
        elif mpi.rank == rank:
            for _ in range(QUESTIONS):
                mpi.Recv(time_there, 0)
                time_there[0] = clock()
                mpi.Send(time_there, 0)
            mpi.Recv(found, 0)
    return float(found[0]), float(found[1])
