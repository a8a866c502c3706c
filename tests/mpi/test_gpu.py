"""All ranks learn the same of their GPUs."""

import fake_cupy
import pytest

from collectives import Communicator, InvalidArgument, gpu

pytestmark = pytest.mark.mpi


@pytest.fixture
def comm():
    with Communicator(timeout_s=20) as comm:
        yield comm


@pytest.fixture
def untold(monkeypatch):
    for name in gpu.LOCAL_RANKS:
        monkeypatch.delenv(name, raising=False)


def test_ranks_of_a_node_take_different_gpus(comm, monkeypatch):
    fake_cupy.install(monkeypatch, fake_cupy.Gpu(), devices=comm.size)
    number = gpu.settle(gpu.claim(), comm)
    assert sorted(comm._end.mpi.allgather(number)) == list(range(comm.size))


def test_ranks_choose_again_where_one_was_not_told(comm, monkeypatch, untold):
    fake_cupy.install(monkeypatch, fake_cupy.Gpu(), devices=comm.size)
    if comm.rank:
        monkeypatch.setenv("SLURM_LOCALID", "0")
    assert gpu.settle(gpu.claim(), comm) == comm.rank
    assert fake_cupy.Device().id == comm.rank


def test_more_ranks_than_gpus_are_told_on_all_unless_they_share(comm, monkeypatch):
    fake_cupy.install(monkeypatch, fake_cupy.Gpu(), devices=1)
    mine = gpu.claim()
    if comm.size > 1:
        with pytest.raises(InvalidArgument, match="ranks 0 and 1 would share GPU"):
            gpu.settle(mine, comm)
    assert gpu.settle(mine, comm, share=True) == 0


def test_a_rank_without_gpu_is_told_on_all(comm, monkeypatch):
    last = comm.size - 1
    devices = 0 if comm.rank == last else comm.size
    fake_cupy.install(monkeypatch, fake_cupy.Gpu(), devices)
    with pytest.raises(InvalidArgument, match=f"rank {last} on .* has no GPU to use"):
        gpu.settle(gpu.claim(), comm, share=True)
