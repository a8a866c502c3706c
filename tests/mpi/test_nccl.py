"""Device arrays whose group calls NCCL carries out, on stand-ins for GPU and NCCL."""

import sys

import fake_cupy
import fake_nccl
import numpy as np
import pytest
from device_cases import *  # noqa: F403 - the tests, over NCCL
from fake_nccl_files import Library

from collectives import Communicator, Topology
from collectives.transports import registered

pytestmark = pytest.mark.mpi


@pytest.fixture(params=["cupy", "nccl4py"])
def cp(mpi, monkeypatch, tmp_path_factory, request):
    gpu = fake_cupy.Gpu(seed=mpi.COMM_WORLD.rank)
    fake_cupy.install(monkeypatch, gpu)
    folder = mpi.COMM_WORLD.bcast(tmp_path_factory.mktemp("nccl"))
    fake_nccl.install(monkeypatch, gpu, request.param, Library(gpu, folder))
    fake_cupy.Device(mpi.COMM_WORLD.rank).use()
    return sys.modules["cupy"]


@pytest.fixture
def comm(cp):
    with Communicator(timeout_s=20) as comm:
        yield comm


def layouts(p):
    hosts = [[str(r % 2) for r in range(p)], [str(int(r > 0)) for r in range(p)]]
    return {Topology.from_hosts(names): None for names in hosts}


ALGORITHMS = ["hierarchical", "pipelined", "split_rail", "torus2d"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nodes_are_joined_by_nccl_and_messages_go_between(mpi, cp, algorithm):
    for topology in layouts(mpi.COMM_WORLD.size):
        with Communicator(topology=topology, timeout_s=20) as comm:
            for count in (1, 1000, 50_001):
                x = cp.asarray(mine(comm.rank, count))  # noqa: F405
                comm.allreduce(x, out=x, algorithm=algorithm)
                np.testing.assert_array_equal(x.get(), total(comm, count))  # noqa: F405


def test_registered_arrays_are_summed_and_may_meet_others(comm, cp, monkeypatch):
    monkeypatch.setattr(registered, "LEAST", 1)
    for count in (1000, 3):
        x = comm.empty(count, np.float32, device="cuda")
        y = cp.empty(count, np.float32)
        for out in (x, x if comm.rank else y, x):
            out.set(np.full(count, comm.rank + 1))
            comm.allreduce(out, out=out, algorithm="shared")
            np.testing.assert_array_equal(out.get(), sum(range(1, comm.size + 1)))
    assert comm.size == 1 or comm._end.device.engine.ticks > 0
