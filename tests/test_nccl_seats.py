"""Which ranks NCCL can join, and which package calls it."""

import sys

import fake_libnccl
import fake_nccl
import pytest

from collectives import UnsupportedArray
from collectives.topology import Topology
from collectives.transports import bindings, seats
from collectives.transports.seats import Seat

NODE = Topology.sized([3])
A, B = Seat("a", 22809, ""), Seat("b", 22809, "")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([A, B, A._replace(gpu="c")], None),
        ([A, B, Seat("c", None, "no CuPy")], "rank 2: no CuPy"),
        ([A, B, Seat("c", 23004, "")], "NCCL is 2.28.9 on rank 0, 2.30.4 on rank 2"),
        ([A, B, A], "ranks 0 and 2 share a GPU: start all with NCCL_MULTI_RANK_GPU_EN"),
        ([A._replace(host=h) for h in "xyz"], None),
        ([A._replace(host=h) for h in "xyx"], "ranks 0 and 2 share"),
        ([A._replace(host=h) for h in ("x", "y", "")], "ranks 0 and 2 share"),
        ([A._replace(shares=True)] * 3, "ranks 0 and 1 share"),
        ([A._replace(shares=True, version=23004)] * 3, None),
        ([Seat("a", 23004, "", s) for s in (True, False, True)], "ranks 0 and 1"),
    ],
)
def test_ranks_share_a_gpu_only_if_all_say_so(found, reason):
    told = seats.unusable(found, NODE)
    assert told is None if reason is None else reason in told


def test_ranks_of_different_nodes_may_have_gpus_of_one_address():
    assert seats.unusable([A, B] * 2, Topology.sized([2, 2])) is None
    assert "nothing to join" in seats.unusable([A, A], Topology.sized([1, 1]))


def test_a_seat_tells_what_the_environment_says(gpu, library, monkeypatch):
    monkeypatch.setenv("NCCL_HOSTID", "rank-7")
    monkeypatch.setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1")
    found = seats.seat(3)
    assert found == Seat("0000:03:00.0", fake_libnccl.VERSION, "", True, "rank-7")


def test_the_binding_that_is_installed_is_found(gpu, monkeypatch):
    fake_nccl.install(monkeypatch, gpu, "cupy")
    monkeypatch.delenv(bindings.VARIABLE)
    monkeypatch.setitem(sys.modules, "nccl", None)
    assert bindings.find().name == "cupy"
    fake_nccl.install(monkeypatch, gpu, "nccl4py")
    monkeypatch.delenv(bindings.VARIABLE)
    assert bindings.find().name == "nccl4py"


def test_what_keeps_a_binding_from_being_used_is_told(gpu, monkeypatch):
    fake_nccl.install(monkeypatch, gpu, "cupy")
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "13.6.0")
    with pytest.raises(UnsupportedArray, match=r"CuPy 13\.6\.0 is too old.*pip inst"):
        bindings.find()
    monkeypatch.setattr(sys.modules["cupy"], "__version__", "14.0.0")
    monkeypatch.setattr(sys.modules["cupy.cuda.nccl"], "available", False)
    with pytest.raises(UnsupportedArray, match=r"finds no libnccl.*pip install"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "nccl4py")
    monkeypatch.setitem(sys.modules, "nccl", None)
    with pytest.raises(UnsupportedArray, match=r"nccl4py cannot be used.*pip install"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "cupy")
    monkeypatch.setattr(sys.modules["cupy.cuda.nccl"], "available", True)
    monkeypatch.delattr(sys.modules["cupy.cuda.nccl"], "get_version")
    with pytest.raises(UnsupportedArray, match="cupy: AttributeError"):
        bindings.find()
    monkeypatch.setenv(bindings.VARIABLE, "rccl")
    with pytest.raises(UnsupportedArray, match="choose from nccl4py, cupy"):
        bindings.find()
