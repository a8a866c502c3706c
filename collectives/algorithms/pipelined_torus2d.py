"""Pipelined 2D torus: rows work on one segment while columns work on another.

    steps  those of torus2d for each of K segments
    bytes sent per rank  those of torus2d
    cost   about  row + column + row  of one segment, and  K - 1  times     [seconds]
           the slower of the row's two and the column's

    row     RS 0  RS 1  RS 2  AG 0  RS 3  AG 1  ...
    column        ring 0      ring 1      ring 2  ...

Rows and columns use different links, so both are busy at once.  A row that is a node is
served by the node's engine.

After H. Mikami et al.'s 2D torus (`torus2d`), in the order of issue of `pipelined`.
https://arxiv.org/abs/1811.05233
"""

from functools import partial

from ..chunk import Chunk
from ..machine import Machine
from ..step import Schedule
from ..topology import Topology
from . import pipelined, torus2d

OVERLAP = True  # independent steps are meant to be in flight together


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    wire = partial(torus2d.wire, topology, rank)
    yield from pipelined.overlapped(torus2d.row_of(topology.rows, rank), chunk, wire)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by following the pipeline, for elements of four bytes.

    Where rows are no nodes, all is done by messages, one segment after the other.
    """
    k = pipelined.segments(nbytes // 4)
    stages = torus2d.stages(topology, nbytes / k, machine, machine.engine)
    if set(topology.rows) <= {*topology.nodes, topology.order}:
        return pipelined.followed(k, *stages)
    return k * sum(stages)
