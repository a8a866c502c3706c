import numpy as np
import pytest
import torch
from inputs import (
    ALGORITHMS,
    EVERY_DTYPE,
    EVERY_OP,
    array_of,
    bits,
    can,
    counts,
    plain,
    result,
    values,
)

from collectives import InvalidArgument, plan

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_ranks_get_the_exact_sum(comm, name, dtype):
    if not can(name, dtype):
        with pytest.raises(InvalidArgument, match="cannot combine"):
            comm.allreduce(array_of([1.0], dtype), algorithm=name)
        return
    for count in counts(comm.size):
        x = array_of(values(comm.rank, comm.size, count), dtype)
        before = bits(x)
        got = comm.allreduce(x, algorithm=name)
        assert type(got) is type(x) and got.dtype == x.dtype and bits(x) == before
        np.testing.assert_array_equal(plain(got), result(comm.size, count))


@pytest.mark.parametrize("op", EVERY_OP)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_op_combines_element_by_element(comm, name, op):
    count = 3 * comm.size + 1
    for dtype in ("float16", "bfloat16", "float64", "int16"):
        if op == "mean" and "float" not in dtype or not can(name, dtype, op):
            with pytest.raises(InvalidArgument):
                comm.allreduce(array_of([1.0], dtype), op, algorithm=name)
            continue
        x = array_of(values(comm.rank, comm.size, count, op), dtype)
        got = plain(comm.allreduce(x, op, algorithm=name))
        expected = result(comm.size, count, op)
        if op == "mean":
            np.testing.assert_allclose(got, expected, rtol=2.0**-7)
            expected = got.astype(float)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_the_result_goes_to_out_or_in_place(comm, dtype, kind):
    count = 2 * comm.size + 3
    expected = result(comm.size, count)
    x = array_of(values(comm.rank, comm.size, count), dtype, kind)
    out = array_of(np.zeros(count), dtype, kind)
    assert comm.allreduce(x, out=out) is out
    np.testing.assert_array_equal(plain(out), expected)
    np.testing.assert_array_equal(plain(x), values(comm.rank, comm.size, count))
    assert comm.allreduce(x, out=x) is x
    np.testing.assert_array_equal(plain(x), expected)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_in_place_gives_the_same_as_out_of_place(comm, name):
    x = np.random.default_rng(comm.rank).normal(size=1003).astype(np.float32)
    expected = comm.allreduce(x, algorithm=name)
    comm.allreduce(x, out=x, algorithm=name)
    assert bits(x) == bits(expected)


def test_shapes_are_kept_and_zero_dimensions_work(comm):
    for shape in ((), (0,), (2, 3), (3, 0), (1, 1, 5)):
        x = np.full(shape, comm.rank + 1.0)
        got = comm.allreduce(x)
        total = comm.size * (comm.size + 1) / 2
        np.testing.assert_array_equal(got, np.full(shape, total), strict=True)
        tensor = comm.allreduce(torch.from_numpy(np.asarray(x)))
        assert tuple(tensor.shape) == shape


def test_input_that_is_not_contiguous_is_packed(comm):
    x = np.arange(12.0).reshape(3, 4) + comm.rank
    extra = comm.size * (comm.size - 1) / 2
    for view in (x.T, x[:, ::2], x[::-1]):
        expected = (view - comm.rank) * comm.size + extra
        np.testing.assert_array_equal(comm.allreduce(view), expected, strict=True)
        got = comm.allreduce(torch.from_numpy(x).T)
    np.testing.assert_array_equal(got, (x.T - comm.rank) * comm.size + extra)


@pytest.mark.parametrize("op", ["min", "max", "sum", "prod", "mean"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_nan_and_infinity_reach_all_ranks(comm, everywhere, name, op):
    count = comm.size + 5
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        if not can(name, dtype, op):
            continue
        data = values(comm.rank, comm.size, count)
        data[comm.rank] = np.nan
        if comm.rank == 0:
            data[-1] = np.inf
        got = plain(comm.allreduce(array_of(data, dtype), op, algorithm=name))
        assert np.isnan(got).tolist() == [i < comm.size for i in range(count)]
        assert got[-1] == (
            np.min(values(0, 0, 0), initial=np.inf)
            if op != "min"
            else min(
                [
                    *(values(r, comm.size, count)[-1] for r in range(1, comm.size)),
                    np.inf,
                ]
            )
        )
        assert len(set(everywhere(np.nan_to_num(got).tobytes()))) == 1


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_layout_gives_the_exact_sum(layouts, name):
    for on_nodes in layouts.values():
        for count in (1, on_nodes.size - 1, 3 * on_nodes.size + 1):
            x = values(on_nodes.rank, on_nodes.size, count).astype(np.int32)
            got = on_nodes.allreduce(x, algorithm=name)
            np.testing.assert_array_equal(got, result(on_nodes.size, count))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_messages_above_the_largest_are_cut(comm, monkeypatch, name):
    monkeypatch.setattr(plan, "MAX_MESSAGE", 40)
    plan.plan_for.cache_clear()
    x = values(comm.rank, comm.size, 101)
    got = comm.allreduce(x, algorithm=name)
    np.testing.assert_array_equal(got, result(comm.size, 101))
    rows = comm.alltoall(np.full((comm.size, 23), comm.rank))
    np.testing.assert_array_equal(rows[:, 0], range(comm.size))
    assert comm.broadcast_object("x" * 99) == "x" * 99
    plan.plan_for.cache_clear()


def test_scales_by_powers_of_two_are_exact(comm):
    count = 101
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        x = array_of(values(comm.rank, comm.size, count), dtype)
        got = comm.allreduce(x, prescale=0.25, postscale=8)
        np.testing.assert_array_equal(plain(got), 2 * result(comm.size, count))


def test_the_mean_of_large_halves_does_not_overflow(comm):
    for name in [n for n in ALGORITHMS if n != "native"]:
        for dtype, big in (("float16", 60000.0), ("bfloat16", 60000.0)):
            x = array_of(np.full(33, big), dtype)
            got = plain(comm.allreduce(x, "mean", algorithm=name))
            np.testing.assert_allclose(got, big, rtol=0.01)
            got = plain(comm.allreduce(x, "mean", deterministic=True))
            np.testing.assert_allclose(got, big, rtol=0.004)
