"""What the communicator does with device arrays; ``cp`` is CuPy, or stands for it."""

import numpy as np
import pytest

from collectives import InvalidArgument, ShapeMismatch, UnsupportedArray

COUNTS = (1, 5, 1000, 300_001)


def mine(rank, count, dtype=np.float32):
    return ((np.arange(count) * 5 + rank) % 13 + 1).astype(dtype)


def total(comm, count):
    return sum(mine(rank, count, np.float64) for rank in range(comm.size))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("count", COUNTS)
def test_sums_are_right_and_in_order(comm, count, dtype, cp):
    x = cp.asarray(mine(comm.rank, count, dtype))
    out = comm.allreduce(x)
    assert isinstance(out, cp.ndarray)
    np.testing.assert_array_equal(out.get(), total(comm, count).astype(dtype))
    np.testing.assert_array_equal(x.get(), mine(comm.rank, count, dtype))
    assert comm.allreduce(x, "max", out=x) is x
    most = max(mine(rank, count).max() for rank in range(comm.size))
    assert x.get().max() == most


@pytest.mark.parametrize("wire", ["float16", "bfloat16"])
def test_other_types_travel(comm, wire, cp):
    x = cp.asarray(mine(comm.rank, 1000))
    np.testing.assert_array_equal(comm.allreduce(x, wire=wire).get(), total(comm, 1000))


def test_means_and_scales(comm, cp):
    x = cp.asarray(mine(comm.rank, 1000))
    mean = comm.allreduce(x, "mean", prescale=2.0).get()
    np.testing.assert_allclose(mean, 2 * total(comm, 1000) / comm.size, rtol=1e-6)
    halves = cp.asarray(mine(comm.rank, 1000, np.float16))
    mean = comm.allreduce(halves, "mean").get()
    np.testing.assert_allclose(mean, total(comm, 1000) / comm.size, rtol=2e-3)


def test_the_caller_may_work_on_any_stream_before_and_after(comm, cp):
    for _ in range(10):
        before, after = (cp.cuda.Stream(non_blocking=True) for _ in range(2))
        with before:
            x = cp.asarray(mine(comm.rank, 5000))
            work = comm.iallreduce(x)
        with after:
            x[:] = work.wait()
            np.testing.assert_array_equal(x.get(), total(comm, 5000))


def test_arrays_may_be_dropped_before_they_have_been_used(comm, cp):
    for _ in range(10):
        work = comm.iallreduce(cp.asarray(mine(comm.rank, 5000)))
        other = cp.asarray(np.zeros(5000, np.float32))
        np.testing.assert_array_equal(work.wait().get(), total(comm, 5000))
        assert not other.get().any()


def test_memory_of_the_communicator_can_be_reduced(comm, cp):
    x = comm.empty(300, np.float16, device="cuda")
    assert isinstance(x, cp.ndarray) and (x.size, x.dtype) == (300, np.float16)
    x.set(mine(comm.rank, 300, np.float16))
    np.testing.assert_array_equal(comm.allreduce(x, out=x).get(), total(comm, 300))
    with pytest.raises(InvalidArgument, match="choose from cpu, cuda"):
        comm.empty(1, device="gpu")


def test_several_are_under_way_at_once(comm, cp):
    arrays = [cp.asarray(mine(comm.rank, n)) for n in (3, 4000, 50_000)]
    works = [comm.iallreduce(x, out=x) for x in arrays]
    for x, work in zip(arrays, works, strict=True):
        assert work.wait() is x
        np.testing.assert_array_equal(x.get(), total(comm, x.size))


def test_the_other_collectives_take_device_arrays(comm, cp):
    p, me = comm.size, comm.rank
    x = cp.asarray(mine(me, 60))
    gathered = comm.allgather(x).get().reshape(p, 60)
    for rank in range(p):
        np.testing.assert_array_equal(gathered[rank], mine(rank, 60))
    summed = comm.reduce(x, root=p - 1)
    if me == p - 1:
        np.testing.assert_array_equal(summed.get(), total(comm, 60))
    pieces = np.array_split(total(comm, 60), p)
    np.testing.assert_array_equal(comm.reduce_scatter(x).get(), pieces[me])
    comm.broadcast(x, root=0)
    np.testing.assert_array_equal(x.get(), mine(0, 60))


def test_a_host_array_on_one_rank_is_told_on_all(comm, cp):
    if comm.size == 1:
        pytest.skip("one rank cannot differ")
    x = mine(comm.rank, 7)
    with pytest.raises(ShapeMismatch, match="on (a )?device"):
        comm.allreduce(x if comm.rank == 0 else cp.asarray(x))
    comm.barrier()


def test_output_on_the_host_of_a_device_array_is_refused(comm, cp):
    x = cp.asarray(mine(comm.rank, 7))
    with pytest.raises(UnsupportedArray, match="one lies on a device"):
        comm.allreduce(x, out=np.empty(7, np.float32))
    with pytest.raises(InvalidArgument, match="native"):
        comm.allreduce(x, algorithm="native")


def test_memory_is_bounded_by_what_is_under_way(comm, cp):
    x = cp.asarray(mine(comm.rank, 2_000_000))
    for _ in range(3):
        comm.allreduce(x, out=x, algorithm="ring")
    messages = comm._end.device.messages
    for slots in (messages.sending, messages.receiving):
        held = len(slots.free) + len(slots.copying)
        assert held <= 8
