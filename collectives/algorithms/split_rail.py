"""Split rail: every rank of a node carries its share of the wire.

    steps  2 (L - 1) in the node of L ranks, 2 sum (f - 1) over the factors of M nodes
    bytes sent per rank  2 n (L - 1) / L in the node, 2 (n / L) (M - 1) / M on the wire
    cost   reduce_scatter(L, n) + mixed_radix(M, n / L) + allgather(L, n)    [seconds]

    node 0:  0   1      the node reduce-scatters; ranks 0 and 2 sum the first half
             |   |      over the nodes, ranks 1 and 3 the second: these are the rails;
    node 1:  2   3      the node gathers

As many network cards as ranks can work at once.  Unequal nodes cut the buffer
differently; see `torus2d.columns`.

The same idea as UCC's split-rail allreduce: https://github.com/openucx/ucc
"""

from ..chunk import Chunk
from ..machine import Machine
from ..step import GroupCall, Schedule
from ..topology import Topology
from . import mixed_radix
from .torus2d import columns


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    node = topology.node(rank)
    yield GroupCall("reduce_scatter", node, chunk)
    yield from wire(topology, rank, chunk)
    yield GroupCall("allgather", node, chunk)


def wire(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum over the nodes what ``rank`` owns of its node's ``chunk``."""
    exchanges = [
        mixed_radix.allreduce(rail, rank, piece, direct=2)
        for rail, piece in columns(topology.nodes, rank, chunk)
    ]
    for steps in zip(*exchanges, strict=True):
        yield from steps


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above."""
    return sum(stages(topology, nbytes, machine))


def stages(
    topology: Topology, nbytes: float, machine: Machine
) -> tuple[float, float, float]:
    """Return seconds of reduce-scatter, wire and allgather.

    With unequal nodes: the steps of the largest node, the wire share of the smallest.
    """
    sizes = [len(node) for node in topology.nodes]
    local, share = max(sizes), nbytes / min(sizes)
    exchange = mixed_radix.allreduce_cost(
        len(sizes), share, machine.wire(local), machine.gamma
    )
    return (
        machine.group_call("reduce_scatter", local, nbytes, machine.engine),
        exchange,
        machine.group_call("allgather", local, nbytes, machine.engine),
    )
