"""Communicators of the tests that run under mpirun."""

import pytest
from lockstep import *  # noqa: F403 - fixtures and hooks


@pytest.fixture(scope="session")
def comm(mpi):
    """One communicator for all tests that leave it usable."""
    from collectives import Communicator

    return Communicator(timeout_s=30.0)


@pytest.fixture(scope="session")
def layouts(mpi):
    """One communicator for each of many ways to lay the ranks on nodes."""
    from collectives import Communicator, Topology

    p = mpi.COMM_WORLD.size
    hosts = [[str(r) for r in range(p)], ["a"] * p, [str(r % 2) for r in range(p)]]
    hosts += [[str(int(r >= n)) for r in range(p)] for n in (1, p - 1, (p + 1) // 2)]
    hosts += [[str(min(r // 2, 2)) for r in range(p)]]
    found = {Topology.from_hosts(names): None for names in hosts}
    return {t.nodes: Communicator(topology=t, timeout_s=30.0) for t in found}
