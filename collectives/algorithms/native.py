"""The MPI library's own allreduce, as one group call.

    steps  1, whatever the library does inside
    cost   that of the better of recursive doubling and halving and doubling

It is the choice where the library is fastest, and the baseline of the benchmark.  The
library adds: so it takes only the types and operations that MPI has.

MPI: A Message-Passing Interface Standard, version 4.1, section 6.9.6.
"""

from ..chunk import Chunk
from ..machine import Machine
from ..step import GroupCall, Schedule
from ..topology import Topology


def schedule(topology: Topology, rank: int, chunk: Chunk) -> Schedule:
    """Sum ``chunk`` over all ranks by ``MPI_Allreduce``."""
    yield GroupCall("allreduce", topology.order, chunk)


def cost(topology: Topology, nbytes: int, machine: Machine) -> float:
    """Predict seconds by the model of `Machine.group_call`."""
    if topology.size == 1:
        return 0.0
    link = machine.flat(topology, crossing=1)
    return machine.group_call("allreduce", topology.size, nbytes, link)
