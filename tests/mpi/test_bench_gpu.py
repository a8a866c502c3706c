"""The benchmark with --device cuda, on a stand-in for a GPU."""

import sys

import pytest

from bench import allreduce, device, device_paths, meta
from bench.allreduce import run
from bench.options import Options
from collectives import InvalidArgument, algorithms

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("gpu")]

SMALL = {"sizes": (4, 4000), "iters": 2, "warmup": 1, "device": "cuda"}


def test_all_contenders_are_right_on_a_shared_gpu(mpi):
    options = Options(
        ("ring", "auto", "native", "gloo", "nccl"), share_gpu=True, **SMALL
    )
    found, rows = run(options, mpi.COMM_WORLD)
    assert {row.algorithm for row in rows} == {"ring", "auto", "native"}
    assert [row for row in rows if row.wrong != 0] == []
    assert all(0 < row.device_us for row in rows)
    assert all("GPU" in found["left_out"][name] for name in ("gloo", "nccl"))
    assert found["hardware"]["gpu"] == "stand-in"
    assert found["versions"]["cuda runtime"] == "13.0"
    assert found["buffers"] == "ordinary, on GPUs"
    assert "bench.device" in found["roof"]
    assert "copy in ordinary host memory" in found["native"]
    assert all(row.ratio == 1.0 for row in rows if row.algorithm == "native")


@pytest.mark.parametrize("op", ["mean", "max"])
def test_every_algorithm_of_ours_is_right(mpi, op):
    names = tuple(name for name in algorithms.names() if name != "native")
    found, rows = run(Options(names, op=op, share_gpu=True, **SMALL), mpi.COMM_WORLD)
    assert {row.algorithm for row in rows} | set(found["left_out"]) == set(names)
    assert [row for row in rows if row.wrong != 0] == []


def test_registered_buffers_lie_on_the_gpu(mpi):
    options = Options(("ring",), registered=True, share_gpu=True, **SMALL)
    found, rows = run(options, mpi.COMM_WORLD)
    assert found["buffers"] == "registered, by Communicator.empty, on GPUs"
    assert {row.wrong for row in rows} == {0}


def test_ranks_share_a_gpu_only_where_they_may(mpi):
    if mpi.COMM_WORLD.size == 1:
        pytest.skip("one rank shares with nobody")
    with pytest.raises(InvalidArgument, match="--share-gpu"):
        run(Options(("ring",), **SMALL), mpi.COMM_WORLD)
    with pytest.raises(InvalidArgument, match="--share-gpu"):
        device.run(device.Options(), mpi.COMM_WORLD)


def test_the_command_without_cupy_tells_the_cure_once(mpi, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert allreduce.main(["--device", "cuda", "--algorithms", "ring"]) == 2
    error = capsys.readouterr().err
    assert error.count("cuda12") == (mpi.COMM_WORLD.rank == 0)


def test_on_the_host_nothing_is_said_of_gpus(mpi):
    found = meta.describe(Options(("ring",)), "", {}, [])
    assert "gpu" not in found["hardware"] and "cupy" not in found["versions"]


def test_what_a_gpu_can_do_is_told_alike_on_all_ranks(mpi):
    world, shown = mpi.COMM_WORLD, []
    options = device.Options((4096,), (4096, 1 << 21), 2, 0, share_gpu=True)
    found = device.run(options, world, show=shown.append)
    assert world.allgather(found) == [found] * world.size
    about, rates = found
    assert about["hardware"]["gpus"] == 1
    assert all(rate.gbps > 0 for rate in rates)
    kinds = {(rate.part, rate.what) for rate in rates}
    assert kinds >= {("memory", what) for what in ("copy", "add", "scale")}
    assert kinds >= {("pcie", what) for what in device_paths.LINKS}
    together = {("wire", what) for what in device_paths.WIRES}
    together |= {("staged", what) for what in ("exchange", "allreduce")}
    assert kinds & together == (together if world.size > 1 else set())
    for rate in rates:
        assert (rate.limit is None) == (rate.ratio is None)
        assert rate.goal is None or rate.limit is not None
    assert "bfloat16" in "".join(shown)


def test_the_exchange_brings_what_the_neighbour_sent(mpi):
    import numpy as np

    world = mpi.COMM_WORLD
    for segment in (1000, 100, 7):
        send, receive = np.full(1000, world.rank, np.uint8), np.zeros(1000, np.uint8)
        device_paths.exchange(world, send, receive, segment)
        assert set(receive.tolist()) == {(world.rank - 1) % world.size}
