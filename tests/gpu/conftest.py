"""One communicator for all tests that leave it usable."""

import pytest
from lockstep import *  # noqa: F403 - fixtures and hooks


@pytest.fixture(scope="session")
def cp():
    import cupy

    assert cupy.cuda.runtime.getDeviceCount() > 0
    return cupy


@pytest.fixture(scope="session")
def comm(mpi, cp):
    from collectives import Communicator, gpu

    mine = gpu.claim()
    comm = Communicator(timeout_s=60.0)
    gpu.settle(mine, comm, share=True)
    return comm
