"""Shared memory: the whole allreduce of a single node, as one group call.

    steps  1; inside, every rank combines its piece for all, as in a reduce-scatter and
           an allgather, without messages
    bytes sent per rank  none: ranks read and write each other's memory
    cost   that of a group call of the node's engine

Ranks of several nodes use `split_rail` or `pipelined`, whose first and last stages are
the same engine's.  Where no engine serves the node, the call is made of messages.

MPI: A Message-Passing Interface Standard, version 4.1, section 12.2.3: windows of
shared memory.
"""

from ..chunk import Chunk
from ..errors import UnsupportedTopology
from ..machine import Machine
from ..step import GroupCall, Schedule
from ..topology import Topology


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks of the node.

    Raises:
        UnsupportedTopology: there are several nodes.
    """
    check(topology)
    yield GroupCall("allreduce", topology.node(rank), chunk)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the model of `Machine.group_call`.

    Raises:
        UnsupportedTopology: there are several nodes.
    """
    check(topology)
    if topology.size == 1:
        return 0.0
    return machine.group_call("allreduce", topology.size, nbytes, machine.engine)


def check(topology: Topology) -> None:
    """Check that all ranks share memory.

    Raises:
        UnsupportedTopology: they do not.
    """
    if len(topology.nodes) > 1:
        raise UnsupportedTopology(
            f"shared: {topology.describe()}, which share no memory; choose split_rail "
            "or pipelined, which use the memory of each node"
        )
