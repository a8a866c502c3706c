"""Hierarchical, with leaders: reduce in the node, allreduce of leaders, broadcast.

    steps  2 ceil(log2 L) in the node of L ranks, and those of halving and doubling
           between the leaders of the M nodes
    bytes sent per rank  a leader: 2 n (M - 1) / M on the wire; all of n in the node
    cost   reduce(L, n) + halving_doubling(M, n) + broadcast(L, n)    [seconds]

One rank a node uses the wire: little traffic, but only one core or GPU works on it.
Nodes may be of any size.

X. Jia et al.: Highly scalable deep learning training system with mixed-precision:
training ImageNet in four minutes.  https://arxiv.org/abs/1807.11205
"""

from ..chunk import Chunk
from ..machine import Machine
from ..step import GroupCall, Schedule
from ..topology import Topology
from . import halving_doubling


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks."""
    node, leaders = topology.node(rank), [node[0] for node in topology.nodes]
    yield GroupCall("reduce", node, chunk, root=node[0])
    if rank == node[0]:
        yield from halving_doubling.allreduce(leaders, rank, chunk)
    yield GroupCall("broadcast", node, chunk, root=node[0])


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the formula above, for the largest node."""
    local, wire = max(map(len, topology.nodes)), machine.wire(1)
    node = machine.group_call("reduce", local, nbytes, machine.engine)
    node += machine.group_call("broadcast", local, nbytes, machine.engine)
    return node + halving_doubling.allreduce_cost(
        len(topology.nodes), nbytes, wire, machine.gamma
    )
