"""Layout: how the ranks of a communicator lie on nodes: as told, pretended or found."""

import os
from typing import Any

from .errors import UnsupportedTopology
from .topology import Topology


def arranged(
    parent: Any, topology: Topology | None, grid: tuple[int, int] | None
) -> Topology:
    """Return the topology asked for, or detected, under its grid.

    Raises:
        UnsupportedTopology: on all ranks, if one rank's does not fit.
    """
    problem = None
    try:
        found = detect(parent) if topology is None else topology
        found = found.with_grid(grid)
        if found.size != parent.size:
            problem = (
                f"topology of {found.size} ranks for a communicator of {parent.size}"
            )
    except UnsupportedTopology as error:
        problem = str(error)
    for rank, text in enumerate(parent.allgather(problem)):
        if text is not None:
            raise UnsupportedTopology(f"{text} (rank {rank})")
    return found


def detect(mpi: Any) -> Topology:
    """Find out which ranks share memory; ``COLLECTIVES_NODES`` overrules.

    Raises:
        UnsupportedTopology: the variable does not fit the number of ranks.
    """
    from mpi4py import MPI

    node = mpi.Split_type(MPI.COMM_TYPE_SHARED)
    leader = node.bcast(mpi.rank, root=0)
    node.Free()
    hosts = [str(rank) for rank in mpi.allgather(leader)]
    pretended = os.environ.get("COLLECTIVES_NODES")  # it may be set on some ranks only
    return (
        Topology.parse(pretended, mpi.size) if pretended else Topology.from_hosts(hosts)
    )
