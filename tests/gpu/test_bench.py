"""The benchmarks on a GPU; ranks may share it."""

import pytest

from bench import device, device_paths
from bench.allreduce import run
from bench.options import Options

pytestmark = [pytest.mark.mpi, pytest.mark.filterwarnings("ignore")]

SMALL = {"sizes": (4, 1 << 20), "iters": 2, "warmup": 1, "share_gpu": True}
NAMES = ("ring", "auto", "native", "gloo", "nccl")


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
def test_all_contenders_are_right(comm, mpi, dtype, registered):
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    options = Options(NAMES, dtype=dtype, device="cuda", registered=registered, **SMALL)
    meta, rows = run(options, mpi.COMM_WORLD)
    present = {row.algorithm for row in rows}
    assert present | set(meta["left_out"]) == set(NAMES)
    assert present >= {"ring", "auto"}
    if dtype in ("float32", "int32"):  # not all MPI libraries have halves
        assert "native" in present
    assert [row for row in rows if row.wrong != 0] == []
    assert all(0 < row.device_us for row in rows)


def test_nccl_takes_part_where_each_rank_has_a_gpu(comm, mpi, cp):
    torch = pytest.importorskip("torch")
    options = Options(("ring", "nccl"), device="cuda", **SMALL)
    meta, rows = run(options, mpi.COMM_WORLD)
    if not (torch.cuda.is_available() and torch.distributed.is_nccl_available()):
        assert "torch" in meta["left_out"]["nccl"]
    elif mpi.COMM_WORLD.size > cp.cuda.runtime.getDeviceCount():
        assert "share" in meta["left_out"]["nccl"]
    else:
        assert "nccl" in {row.algorithm for row in rows}


def test_the_circumstances_name_gpu_and_versions(comm, mpi, cp):
    meta, _ = run(Options(("ring",), device="cuda", **SMALL), mpi.COMM_WORLD)
    assert meta["hardware"]["gpus"] == cp.cuda.runtime.getDeviceCount()
    assert meta["hardware"]["gpu memory"] > 1 << 30
    assert meta["hardware"]["gpu"]
    for name in ("cupy", "cuda driver", "cuda runtime"):
        assert meta["versions"][name]


def test_what_the_gpu_can_do_is_told_alike_on_all_ranks(comm, mpi):
    world = mpi.COMM_WORLD
    options = device.Options((1 << 20,), (1 << 22,), 2, 1, share_gpu=True)
    found = device.run(options, world)
    assert world.allgather(found) == [found] * world.size
    kinds = {(rate.part, rate.what) for rate in found[1]}
    together = {("wire", what) for what in device_paths.WIRES}
    together |= {("staged", what) for what in ("exchange", "allreduce")}
    assert kinds >= {("pcie", what) for what in device_paths.LINKS}
    assert kinds & together == (together if world.size > 1 else set())
    assert all(rate.gbps > 0 for rate in found[1])
