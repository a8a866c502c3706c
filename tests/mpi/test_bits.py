"""What ranks end with, bit by bit, for random floats."""

from functools import reduce

import numpy as np
import pytest
import torch
from inputs import ALGORITHMS, FLOATS, array_of, bits, can, plain

pytestmark = pytest.mark.mpi

OWN = [name for name in ALGORITHMS if name != "native"]


def random(rank, count):
    return np.random.default_rng(100 + rank).normal(size=count)


@pytest.mark.parametrize("wire", [None, "float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_ranks_end_with_the_same_bits(layouts, everywhere, name, wire):
    tolerance = {None: 0.06, "float32": 0.06, "float16": 0.01, "bfloat16": 0.08}[wire]
    for comm in [*layouts.values()][:4]:
        for dtype in FLOATS if wire is None else ("float32", "bfloat16"):
            if not can(name, dtype, wire=wire):
                continue
            x = array_of(random(comm.rank, 257), dtype)
            got = comm.allreduce(x, algorithm=name, wire=wire)
            assert got.dtype == x.dtype
            assert len(set(everywhere(bits(got)))) == 1
            expected = sum(random(rank, 257) for rank in range(comm.size))
            loose = tolerance if dtype != "bfloat16" else 0.08
            np.testing.assert_allclose(plain(got), expected, atol=loose * comm.size)


@pytest.mark.parametrize("name", OWN)
def test_a_wire_as_wide_as_the_array_changes_nothing(comm, name):
    x = random(comm.rank, 99).astype(np.float32)
    plain_sum = comm.allreduce(x, algorithm=name)
    assert bits(comm.allreduce(x, algorithm=name, wire="float32")) == bits(plain_sum)


@pytest.mark.parametrize("dtype", FLOATS)
def test_deterministic_bits_are_the_rank_order_sum_on_every_layout(layouts, dtype):
    for comm in layouts.values():
        count = 1009
        inputs = [array_of(random(rank, count), dtype) for rank in range(comm.size)]
        got = comm.allreduce(inputs[comm.rank], deterministic=True)
        assert bits(got) == bits(in_rank_order(inputs, dtype))
        mean = comm.allreduce(inputs[comm.rank], "mean", deterministic=True)
        assert bits(mean) == bits(in_rank_order(inputs, dtype, 1 / comm.size))


def in_rank_order(inputs, dtype, scale=1.0):
    """Sum one after the other; half types in float32, rounded once."""
    if dtype == "bfloat16":
        return (reduce(torch.add, [x.float() for x in inputs]) * scale).bfloat16()
    work = np.float32 if dtype == "float16" else np.dtype(dtype).type
    total = reduce(np.add, [x.astype(work) for x in inputs]) * work(scale)
    return total.astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_deterministic_bits_do_not_depend_on_how_the_buffer_is_cut(comm, dtype):
    x = array_of(random(comm.rank, 500), dtype)
    whole = bits(comm.allreduce(x, deterministic=True))
    for ends in ((0, 1, 500), (0, 250, 251, 500), (0, 100, 200, 300, 400, 500)):
        parts = [
            bits(comm.allreduce(x[a:b], deterministic=True))
            for a, b in zip(ends, ends[1:], strict=False)
        ]
        assert b"".join(parts) == whole


def test_deterministic_min_and_max_work(comm):
    for op in ("min", "max", "prod"):
        x = random(comm.rank, 77).astype(np.float32)
        inputs = [random(rank, 77).astype(np.float32) for rank in range(comm.size)]
        ufunc = {"min": np.minimum, "max": np.maximum, "prod": np.multiply}[op]
        got = comm.allreduce(x, op, deterministic=True)
        np.testing.assert_array_equal(got, reduce(ufunc, inputs), strict=True)


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n != "native"])
@pytest.mark.parametrize("op", ["min", "max", "sum", "prod"])
def test_signs_of_zeros_and_bits_of_nan_are_equal_everywhere(comm, name, op):
    """Where order shows though addition commutes: every rank must see the same."""
    zeros = np.full(9, -0.0 if comm.rank % 2 else 0.0, np.float32)
    words = np.full(9, 0x7FC00000 + 1 + comm.rank, np.uint32)  # NaN, by payload
    for x in (zeros, words.view(np.float32)):
        bits = comm.allreduce(x, op, algorithm=name).view(np.uint32)
        assert (comm.allgather(bits) == bits).all()


def test_an_input_that_cannot_be_written_is_only_read(comm):
    torch = pytest.importorskip("torch")
    assert torch is not None
    x = np.full(5, 1.5, np.float16)
    x.flags.writeable = False
    got = comm.allreduce(x, wire="float32", algorithm="ring")
    np.testing.assert_array_equal(got, np.float16(1.5 * comm.size))
    big = torch.full((5,), 3e38, dtype=torch.bfloat16)
    assert torch.isfinite(comm.allreduce(big, "mean", algorithm="ring")).all()
