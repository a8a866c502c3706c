"""The other collectives: every algorithm that offers them, every root."""

import numpy as np
import pytest
import torch
from inputs import EVERY_DTYPE, EVERY_OP, array_of, bits, counts, plain, result, values

from collectives import algorithms
from collectives.chunk import Chunk

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("name", algorithms.names("reduce_scatter"))
def test_reduce_scatter_gives_each_rank_its_piece(layouts, name):
    for comm in layouts.values():
        for count in counts(comm.size)[:5]:
            piece = slice(*Chunk(0, count).split(comm.size)[comm.rank])
            x = values(comm.rank, comm.size, count)
            got = comm.reduce_scatter(x, algorithm=name)
            np.testing.assert_array_equal(got, result(comm.size, count)[piece])
            np.testing.assert_array_equal(x, values(comm.rank, comm.size, count))


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_the_others_take_every_dtype(comm, dtype):
    x = array_of(values(comm.rank, comm.size, 2 * comm.size + 1), dtype)
    root = comm.size // 2
    piece = slice(*Chunk(0, len(x)).split(comm.size)[comm.rank])
    expected = result(comm.size, len(x))
    np.testing.assert_array_equal(plain(comm.reduce_scatter(x)), expected[piece])
    reduced = comm.reduce(x, root=root)
    if comm.rank == root:
        assert reduced.dtype == x.dtype
        np.testing.assert_array_equal(plain(reduced), expected)
    else:
        assert reduced is None
    gathered = comm.allgather(x)
    assert tuple(gathered.shape) == (comm.size, len(x)) and gathered.dtype == x.dtype
    for rank in range(comm.size):
        np.testing.assert_array_equal(
            plain(gathered[rank]), values(rank, comm.size, len(x))
        )
    comm.broadcast(x, root=root)
    np.testing.assert_array_equal(plain(x), values(root, comm.size, len(x)))


@pytest.mark.parametrize("op", EVERY_OP)
def test_reducing_collectives_take_every_op(comm, op):
    count = comm.size + 2
    x = values(comm.rank, comm.size, count, op)
    expected = result(comm.size, count, op)
    piece = slice(*Chunk(0, count).split(comm.size)[comm.rank])
    np.testing.assert_allclose(comm.reduce_scatter(x, op), expected[piece], rtol=1e-15)
    reduced = comm.reduce(x, op)
    if comm.rank == 0:
        np.testing.assert_allclose(reduced, expected, rtol=1e-15)


@pytest.mark.parametrize("name", algorithms.names("allgather"))
def test_allgather_collects_rows_in_rank_order(layouts, name):
    for comm in layouts.values():
        for shape in ((), (1,), (0,), (3, 2)):
            got = comm.allgather(np.full(shape, comm.rank, np.int16), algorithm=name)
            assert got.shape == (comm.size, *shape) and got.dtype == np.int16
            for rank in range(comm.size):
                np.testing.assert_array_equal(got[rank], np.full(shape, rank))


@pytest.mark.parametrize("name", algorithms.names("reduce"))
def test_reduce_leaves_the_result_on_every_root(layouts, name):
    for comm in layouts.values():
        for root in range(comm.size):
            x = values(comm.rank, comm.size, 13)
            got = comm.reduce(x, root=root, algorithm=name)
            if comm.rank == root:
                np.testing.assert_array_equal(got, result(comm.size, 13))
            else:
                assert got is None


@pytest.mark.parametrize("name", algorithms.names("broadcast"))
def test_broadcast_copies_from_every_root(layouts, name):
    for comm in layouts.values():
        for root in range(comm.size):
            x = values(comm.rank, comm.size, 13)
            assert comm.broadcast(x, root=root, algorithm=name) is x
            np.testing.assert_array_equal(x, values(root, comm.size, 13))
        scalar = np.array(comm.rank)
        assert comm.broadcast(scalar, root=comm.size - 1) == comm.size - 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_alltoall_sends_a_row_to_every_rank(comm, dtype):
    for width in (0, 1, 3, 5000):
        x = array_of(np.full((comm.size, width), comm.rank % 100), dtype)
        x[...] = x + array_of(np.arange(comm.size) * 10, dtype)[:, None]
        got = comm.alltoall(x)
        assert tuple(got.shape) == (comm.size, width) and got.dtype == x.dtype
        expected = [[rank + 10 * comm.rank] * width for rank in range(comm.size)]
        np.testing.assert_array_equal(plain(got).tolist(), expected)


def test_rank_order_fixes_the_bits_of_reduce_and_reduce_scatter(layouts):
    ends = set()
    for comm in layouts.values():
        x = np.random.default_rng(comm.rank).normal(size=97).astype(np.float32)
        whole = comm.allreduce(x, deterministic=True)
        piece = slice(*Chunk(0, 97).split(comm.size)[comm.rank])
        mine = comm.reduce_scatter(x, algorithm="rank_order")
        assert bits(mine) == bits(whole[piece])
        last = comm.size - 1
        reduced = comm.reduce(x, root=last, algorithm="rank_order")
        assert comm.rank != last or bits(reduced) == bits(whole)
        ends.add(bits(whole))
    assert len(ends) == 1


def test_objects_of_any_kind_and_size_are_broadcast(comm):
    for root in {0, comm.size - 1}:
        for value in (None, {"a": [1, 2]}, "x" * 300_000, np.arange(4), b""):
            mine = value if comm.rank == root else "not this"
            got = comm.broadcast_object(mine, root=root)
            np.testing.assert_equal(got, value)


def test_objects_of_different_sizes_are_gathered(comm):
    for root in {0, comm.size - 1}:
        mine = [None, "x" * 200_000, {"rank": comm.rank}][comm.rank % 3]
        got = comm.gather_objects(mine, root=root)
        if comm.rank != root:
            assert got is None
            continue
        expected = [
            [None, "x" * 200_000, {"rank": rank}][rank % 3] for rank in range(comm.size)
        ]
        assert got == expected


class Poison:
    """Pickled on one rank, it cannot be read back on another."""

    def __reduce__(self):
        return (int, ("not a number",))


def test_an_object_that_cannot_be_read_back_leaves_the_communicator_usable(comm):
    from collectives import CollectiveError

    if comm.rank == 0:
        assert isinstance(comm.broadcast_object(Poison()), Poison)
    else:
        with pytest.raises(CollectiveError, match="cannot be unpickled"):
            comm.broadcast_object(None)
    assert comm.allreduce(torch.ones(2)).tolist() == [comm.size] * 2
