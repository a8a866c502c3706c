"""Pipelined split rail: the node works on one segment while the wire works on another.

    steps  those of split_rail for each of K segments
    bytes sent per rank  those of split_rail
    cost   about  reduce_scatter + wire + allgather of one segment,    [seconds]
           and  K - 1  times the slower of the node's two and the wire

    node   RS 0  RS 1  RS 2  AG 0  RS 3  AG 1  ...
    wire         wire 0      wire 1      wire 2  ...

Pipelining is only an order of issue: the reduce-scatter of segment i + 1 and the
allgather of segment i - 1 are started before the exchange of segment i, and touch other
elements than it does.

After the four-stage pipeline of Open MPI's HAN (ompi/mca/coll/han), X. Luo et al.:
HAN: a hierarchical autotuned collective communication framework.  IEEE CLUSTER 2020.
https://doi.org/10.1109/CLUSTER49012.2020.00013
"""

from collections.abc import Callable
from functools import partial

from ..chunk import Chunk
from ..machine import Machine
from ..step import GroupCall, Schedule
from ..topology import Topology
from . import split_rail

SEGMENT = 1 << 20  # elements
MAX_SEGMENTS = 16
OVERLAP = True  # independent steps are meant to be in flight together


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    wire = partial(split_rail.wire, topology, rank)
    yield from overlapped(topology.node(rank), chunk, wire)


def overlapped(
    group: tuple[int, ...], chunk: Chunk, wire: Callable[[Chunk], Schedule]
) -> Schedule:
    """Sum over groups whose ranks ``wire`` connects to those of the other groups."""
    parts = chunk.split(segments(chunk.size))
    yield GroupCall("reduce_scatter", group, parts[0])
    for i, part in enumerate(parts):
        if i + 1 < len(parts):
            yield GroupCall("reduce_scatter", group, parts[i + 1])
        if i > 0:
            yield GroupCall("allgather", group, parts[i - 1])
        yield from wire(part)
    yield GroupCall("allgather", group, parts[-1])


def segments(size: int) -> int:
    """Return how many segments a buffer of ``size`` elements is cut into."""
    return max(1, min(-(-size // SEGMENT), MAX_SEGMENTS))


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by following the pipeline, for elements of four bytes."""
    k = segments(nbytes // 4)
    return followed(k, *split_rail.stages(topology, nbytes / k, machine))


def followed(k: int, scatter: float, wire: float, gather: float) -> float:
    """Return when the last of ``k`` segments is gathered; stages in seconds."""
    node = ready = scatter  # when the node's engine is free, and segment i scattered
    exchanged = 0.0
    for i in range(k):
        if i + 1 < k:
            node += scatter
        upcoming = node
        if i > 0:
            node = max(node, exchanged) + gather
        exchanged = max(ready, exchanged) + wire
        ready = upcoming
    return max(node, exchanged) + gather
