"""Device arrays through the communicator, on a GPU; ranks may share it."""

import numpy as np
import pytest
from device_cases import *  # noqa: F403 - the tests
from halfway import halfway

from collectives import kernels
from collectives.arrays import DTYPES
from collectives.ops import (
    OPS,
    combine,
    combine_wire,
    convert,
    round_both,
    scale,
    scaled,
)
from collectives.scratch import Scratch

pytestmark = [pytest.mark.mpi, pytest.mark.filterwarnings("ignore")]

FLOATS = ("float16", "bfloat16", "float32", "float64")


def bits(dtype, size, seed):
    """Ordinary numbers and every kind of extraordinary one, as storage."""
    data = np.random.default_rng(seed).integers(0, 1 << 16, size, np.uint16)
    if dtype.itemsize == 2:
        return data.view(dtype.storage)
    return (data.astype(np.float64) / 7 - 4000).astype(dtype.storage)


def same(dtype, host, found):
    """Compare bits; one NaN is as good as another."""
    wide = found.get()
    if dtype.name == "bfloat16":
        nan = (host & 0x7FFF) > 0x7F80, (wide & 0x7FFF) > 0x7F80
    else:
        nan = np.isnan(host), np.isnan(wide)
    np.testing.assert_array_equal(*nan)
    np.testing.assert_array_equal(host[~nan[0]], wide[~nan[0]])


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", [op for op in OPS if op != "mean"])
def test_kernels_combine_as_the_host_does(cp, name, op):
    dtype = DTYPES[name]
    a, b = bits(dtype, 100_000, 1), bits(dtype, 100_000, 2)
    x, y = cp.asarray(a), cp.asarray(b)
    with np.errstate(all="ignore"):
        combine(op, dtype, a, b)
    combine(op, dtype, x, y)
    same(dtype, a, x)


@pytest.mark.parametrize("name", FLOATS)
def test_kernels_scale_as_the_host_does(cp, name):
    dtype = DTYPES[name]
    a = bits(dtype, 100_000, 3)
    x = cp.asarray(a)
    scale(dtype, a, 1 / 3)
    scale(dtype, x, 1 / 3)
    same(dtype, a, x)


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_kernels_convert_as_the_host_does(cp, source, target):
    a = bits(DTYPES[source], 100_000, 4)
    b = np.empty(a.size, DTYPES[target].storage)
    x, y = cp.asarray(a), cp.empty(a.size, DTYPES[target].storage)
    convert(DTYPES[source], a, DTYPES[target], b)
    convert(DTYPES[source], x, DTYPES[target], y)
    same(DTYPES[target], b, y)
    assert kernels.kernel.cache_info().currsize < 64


WIDENED = [
    (wire, wide)
    for wide in ("float32", "float64")
    for wire in FLOATS
    if DTYPES[wire].itemsize < DTYPES[wide].itemsize
]


@pytest.mark.parametrize(("wire", "wide"), WIDENED)
@pytest.mark.parametrize("op", [op for op in OPS if op != "mean"])
@pytest.mark.parametrize("first", [True, False])
def test_kernels_combine_what_has_travelled_as_the_host_does(cp, wire, wide, op, first):
    wire, wide = DTYPES[wire], DTYPES[wide]
    a, b = bits(wide, 100_000, 5), bits(wire, 100_000, 6)
    x, y = cp.asarray(a), cp.asarray(b)
    with np.errstate(all="ignore"):
        combine_wire(op, wide, a, wire, b, first=first, scratch=Scratch())
    combine_wire(op, wide, x, wire, y, first=first, scratch=None)
    same(wide, a, x)


@pytest.mark.parametrize(("wire", "wide"), WIDENED)
def test_kernels_round_and_scale_as_the_host_does(cp, wire, wide):
    wire, wide = DTYPES[wire], DTYPES[wide]
    a, b = bits(wide, 100_000, 7), np.empty(100_000, wire.storage)
    x, y = cp.asarray(a), cp.asarray(b)
    round_both(wide, a, wire, b)
    round_both(wide, x, wire, y)
    same(wide, a, x)
    same(wire, b, y)
    for source, target in ((b, a), (a, b)):
        kinds = (wire, wide) if source is b else (wide, wire)
        x, y = cp.asarray(source), cp.asarray(target)
        scaled(kinds[0], x, kinds[1], y, 1 / 3)
        scaled(kinds[0], source, kinds[1], target, 1 / 3)
        same(kinds[1], target, y)


@pytest.mark.parametrize("name", FLOATS[:2])
def test_kernels_round_float64_once(cp, name):
    wide, nearest = halfway(DTYPES[name])
    y = cp.empty(nearest.size, nearest.dtype)
    convert(DTYPES["float64"], cp.asarray(wide), DTYPES[name], y)
    words = y.get().view(np.uint16)
    np.testing.assert_array_equal(words, nearest.view(np.uint16))


def test_tensors_share_their_memory(comm):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.int64):
        x = torch.arange(1000, device="cuda").to(dtype) % 8 + comm.rank
        expected = sum(torch.arange(1000) % 8 + rank for rank in range(comm.size))
        out = comm.allreduce(x)
        assert out.is_cuda and out.dtype == dtype
        assert (out.cpu().to(torch.int64) == expected).all()
        comm.allreduce(x, out=x)
        assert (x == out).all()


def test_a_tensor_is_ready_when_its_stream_has_written_it(comm):
    torch = pytest.importorskip("torch")
    stream = torch.cuda.Stream()
    for i in range(10):
        with torch.cuda.stream(stream):
            big = torch.full((4_000_000,), 0.0, device="cuda")
            for _ in range(20):  # still running when the collective is called
                big += 1
            out = comm.allreduce(big * (i + 1))
            big.zero_()
            first, last = float(out[0]), float(out[-1])  # of the stream that waits
        assert first == last == 20 * (i + 1) * comm.size


def test_one_rank_joins_nccl_alone(cp, mpi):
    nccl = pytest.importorskip("cupy.cuda.nccl")
    if not nccl.available:
        pytest.fail("CuPy finds no NCCL")
    alone = nccl.NcclCommunicator(1, nccl.get_unique_id(), 0)
    x, stream = cp.arange(100, dtype=np.float32), cp.cuda.Stream(non_blocking=True)
    cp.cuda.get_current_stream().synchronize()
    alone.allReduce(
        x.data.ptr, x.data.ptr, x.size, nccl.NCCL_FLOAT32, nccl.NCCL_SUM, stream.ptr
    )
    stream.synchronize()
    np.testing.assert_array_equal(x.get(), np.arange(100))
    alone.destroy()
