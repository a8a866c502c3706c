"""The engine of a node: registered arrays directly, others through slots."""

import numpy as np
import pytest

from collectives import Communicator, InvalidArgument, Topology
from collectives.arrays import DTYPES
from collectives.ops import OPS, Accumulator
from collectives.patience import Patience
from collectives.step import KINDS, ROOTED, GroupCall

pytestmark = pytest.mark.mpi

COUNTS = (1, 2, 1000, 300_001)  # the last one takes several segments


def given(rank, count):
    return ((np.arange(count) + rank) % 5 + 1 + rank).astype(np.float32)


@pytest.fixture(scope="module")
def engine(comm):
    if comm.size == 1:
        pytest.skip("one rank needs no engine")
    return comm._end.shared


@pytest.fixture(scope="module")
def registered(comm):
    return comm.empty(max(COUNTS))


def run(engine, kind, data, root=None):
    call = GroupCall(kind, engine.group, None, root)
    request = engine.start(call, data, DTYPES[data.dtype.name], "sum")
    Patience(30).drive(iter(lambda: 0 if not request.Test() else None, None))


@pytest.mark.parametrize("direct", [True, False], ids=["registered", "slots"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_does_what_it_says(comm, engine, registered, kind, count, direct):
    from collectives import Chunk

    size, me = comm.size, comm.rank
    data = registered[:count] if direct else np.empty(count, np.float32)
    assert (engine.memory.place(data) > 0) == direct
    total = sum(given(rank, count) for rank in range(size))
    pieces = [slice(*piece) for piece in Chunk(0, count).split(size)]
    for root in range(size) if kind in ROOTED else [None]:
        data[:] = given(me, count)
        run(engine, kind, data, root)
        if kind == "allreduce" or (kind == "reduce" and me == root):
            np.testing.assert_array_equal(data, total)
        elif kind == "reduce_scatter":
            np.testing.assert_array_equal(data[pieces[me]], total[pieces[me]])
        elif kind == "broadcast":
            np.testing.assert_array_equal(data, given(root, count))
        elif kind == "allgather":
            for rank, piece in enumerate(pieces):
                np.testing.assert_array_equal(data[piece], given(rank, count)[piece])


def test_some_registered_and_some_not_take_the_slots(comm, engine, registered):
    for odd in range(comm.size):
        data = registered[:5000]
        if comm.rank == odd:
            data = np.empty(5000, np.float32)
        data[:] = given(comm.rank, 5000)
        run(engine, "allreduce", data)
        total = sum(given(rank, 5000) for rank in range(comm.size))
        np.testing.assert_array_equal(data, total)


@pytest.mark.parametrize("name", DTYPES)
def test_sums_are_made_in_rank_order(comm, name):
    """Another order would round differently; slots, segments and pieces don't show."""
    dtype, count = DTYPES[name], 70_001
    rng = np.random.default_rng(5)
    sources = []
    for _ in range(comm.size):
        words = rng.standard_normal(count) * 100
        data = np.empty(count, dtype.storage)
        if name == "bfloat16":
            data[:] = (words.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        else:
            data[:] = np.abs(words).astype(dtype.storage)
        sources.append(data)
    expected = sources[0].copy()
    if comm.size > 1:
        Accumulator("sum", dtype)(sources, [expected])
    mine = comm.empty(count, dtype.storage)
    for data in (mine, np.empty(count, dtype.storage)):
        data[:] = sources[comm.rank]
        x = data
        if name == "bfloat16":
            torch = pytest.importorskip("torch")
            x = torch.from_numpy(data).view(torch.bfloat16)
        comm.allreduce(x, out=x, algorithm="shared")
        np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("sizes", [[1, 9], [2, 1, 9]], ids=str)
def test_unequal_nodes_share_memory_each_on_its_own(mpi, comm, sizes, op):
    layout = [n for i, n in enumerate(sizes) if sum(sizes[:i]) < comm.size]
    layout[-1] = comm.size - sum(layout[:-1])
    with Communicator(topology=Topology.sized(layout), timeout_s=30) as nodes:
        assert (nodes._end.shared is None) == (max(layout) == 1)
        for name in ("split_rail", "hierarchical", "pipelined"):
            x = given(comm.rank, 1003) if op != "prod" else np.full(9, 2.0, np.float32)
            everybody = [
                given(rank, 1003) if op != "prod" else x for rank in range(comm.size)
            ]
            ufunc = {"prod": np.multiply, "min": np.minimum, "max": np.maximum}
            expected = ufunc.get(op, np.add).reduce(everybody)
            if op == "mean":
                expected = expected / np.float32(comm.size)
            got = nodes.allreduce(x, op, algorithm=name)
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_registered_arrays_outlive_their_communicator(comm):
    with Communicator() as other:
        array = other.empty((3, 4))
        array[:] = comm.rank
        other.allreduce(array, out=array)
    assert array.sum() == 12 * sum(range(comm.size))


def test_without_room_arrays_are_ordinary(comm, monkeypatch, caplog):
    from collectives.transports import window

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(window.os, "statvfs", lambda path: Full)
    array = comm.empty(10_000)
    array[:] = comm.rank
    if comm.size > 1:
        assert comm._end.shared.memory.place(array) == 0
        assert "/dev/shm has 4096 free" in caplog.text
    comm.allreduce(array, out=array, algorithm="split_rail")
    assert (array == sum(range(comm.size))).all()
    with Communicator() as without:
        assert without._end.shared is None
        got = without.allreduce(np.ones(3), algorithm="split_rail")
        np.testing.assert_array_equal(got, comm.size)


def test_ranks_that_ask_for_different_memory_all_raise(comm):
    from collectives import ShapeMismatch

    if comm.size == 1:
        pytest.skip("one rank has nobody to differ from")
    with pytest.raises(ShapeMismatch, match="empty"):
        comm.empty(10 + (comm.rank == 1))


def test_dropped_arrays_are_used_again_and_spare_ones_freed(comm):
    if comm.size == 1:
        pytest.skip("one rank has no shared memory")
    from collectives.transports.window import SPARE

    memory = comm._end.shared.memory
    for _ in range(50):
        comm.empty(100_000)
    before = len(memory.regions)
    for count in range(1, 12):  # no two fit the same region
        comm.empty(count * 1_000_000)
    assert len(memory.regions) <= before + SPARE + 2
    assert comm.shared_bytes == sum(r.nbytes for r in memory.regions.values())
    held = [comm.empty(5000) for _ in range(3)]
    for i, array in enumerate(held):
        array[:] = i
    for i, array in enumerate(held):
        assert (array == i).all()


@pytest.mark.parametrize("count", [1, 3, 255, 256, 257, 16_384, 16_385, 400_000])
def test_repeated_calls_take_new_slots_and_stay_right(comm, count):
    """More calls than there are places, in place and out of place, mixed kinds."""
    mine, out = np.empty(count, np.int32), np.empty(count, np.int32)
    p = comm.size
    for i in range(70 if count < 20_000 else 12):
        mine[:] = comm.rank + i
        comm.allreduce(mine, out=out, algorithm="shared")
        assert out[0] == out[-1] == p * i + p * (p - 1) // 2
        comm.allreduce(mine, "max", out=mine, algorithm="shared")
        assert mine[0] == mine[-1] == p - 1 + i


def test_a_mismatch_is_told_before_anything_is_written(comm):
    from collectives import ShapeMismatch

    if comm.size == 1:
        pytest.skip("one rank has nobody to differ from")
    for count in (5, 100_000):
        x = np.ones(count + (comm.rank == 1), np.float32)
        for _ in range(2):  # the second call takes the short way
            comm.allreduce(np.ones(count, np.float32), algorithm="shared")
            with pytest.raises(ShapeMismatch, match=f"count={count + 1}"):
                comm.allreduce(x, out=x, algorithm="shared")
        assert (x == 1).all()


def test_overflow_is_a_result_and_no_warning(comm):
    x = np.full(5, 3e38, np.float32)
    out = comm.allreduce(x, algorithm="shared")
    assert np.isinf(out).all() or comm.size == 1


def test_several_nodes_have_no_shared_algorithm(comm):
    from collectives import UnsupportedTopology

    if comm.size == 1:
        pytest.skip("one rank is one node")
    layout = Topology.sized([1, comm.size - 1])
    with Communicator(topology=layout, timeout_s=30) as nodes:
        with pytest.raises(UnsupportedTopology, match="choose split_rail"):
            nodes.allreduce(np.ones(3), algorithm="shared")
        assert nodes.allreduce(np.ones(3))[0] == comm.size


def test_bad_arguments_of_empty_are_refused_on_all_ranks(comm):
    for shape, dtype in ((3, "S"), (5, np.dtype(("f4", (3,)))), (-1, "f4"), (2, "O")):
        with pytest.raises(InvalidArgument, match="empty: "):
            comm.empty(shape, dtype)
    with pytest.raises(InvalidArgument, match="MemoryError"):
        comm.empty(10**15, np.uint8)
    comm.barrier()


def test_a_mistake_of_one_rank_in_a_known_call_is_told_on_all(comm):
    x = np.ones(3, np.float32)
    comm.allreduce(x)
    op = ["sum"] if comm.rank == comm.size - 1 else "sum"
    with pytest.raises(InvalidArgument, match="op|unhashable"):
        comm.allreduce(x, op)
    comm.barrier()


def test_waiting_for_a_long_group_call_is_no_stall(comm):
    x = np.ones(30_000_000, np.float32)
    with Communicator(timeout_s=0.1) as hasty:
        hasty.allreduce(x, out=x, algorithm="shared", prescale=2.0)
    assert x[0] == x[-1] == 2 * comm.size
